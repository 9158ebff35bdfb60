"""Datasets as a run would open them, by their names in the catalog."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gan_registry.catalogs import Catalog
from gan_registry.config.schema import Config
from gan_registry.datasets import BUILTIN
from gan_registry.datasets.base import Dataset

_CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DIAGAN_TEST_DATA", _CHECKOUT.parent / "shared" / "data"))
"""Where data lie that some tests need."""


def make(
    name: str, data_dir: Path | None, img_size: int = 8, cache: str = "auto", **options: Any
) -> Any:
    """Opens a dataset of the host's with options of its own."""
    catalog = Catalog("dataset")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    data = {
        "name": name,
        "img_size": img_size,
        "options": options,
        "max_pixels": 10**6,
        "cache": cache,
    }
    config = Config.model_validate({"DATA": data})
    dataset = catalog[name](config, data_dir)
    assert isinstance(dataset, Dataset)
    assert dataset.name == name
    return dataset
