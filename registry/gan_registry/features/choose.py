"""From what a user writes after `--features` to an extractor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gan_registry.catalogs import Catalogs
from gan_registry.config.trust import is_file
from gan_registry.features.base import FeatureContext, FeatureExtractor

AUTO = "auto"


def extractor_for(choice: str, catalogs: Catalogs, context: FeatureContext) -> FeatureExtractor:
    """Builds the extractor of a choice.

    Args:
        choice: A name from the catalog `features`; the path of a TorchScript file; or "auto":
            `classifier` for images and `raw` for points.
        catalogs: The catalogs, with those of plugins.
        context: What an extractor may know.

    Raises:
        UserError: There is no extractor of that name and no such file (the message lists the known
            names), or it cannot be built for this dataset.
    """
    if choice == AUTO:
        choice = "classifier" if context.dataset.kind == "image" else "raw"
    if choice not in catalogs.features and is_file(choice):
        from gan_registry.features.torchscript import TorchScript

        path = Path(choice).expanduser()
        return TorchScript(dataclasses.replace(context, path=path))
    extractor: FeatureExtractor = catalogs.features[choice](context)
    return extractor
