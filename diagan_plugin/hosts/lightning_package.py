"""Which Lightning is installed, and whether the callback can work with it. Free of torch."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

from diagan_plugin.hosts.kit.seams import Seam, require
from gan_registry.errors import UserError

KNOWN = "2.5.5"
MALICIOUS = frozenset({"2.6.2", "2.6.3"})
"""Releases that were not Lightning's: they stole credentials on import."""

SEAMS = (
    Seam("Callback.on_fit_start", "trainer pl_module"),
    Seam("Callback.on_train_start", "trainer pl_module"),
    Seam("Callback.on_train_batch_start", "trainer pl_module batch batch_idx"),
    Seam("Callback.on_train_batch_end", "trainer pl_module outputs batch batch_idx"),
    Seam("Callback.on_train_end", "trainer pl_module"),
    Seam("Callback.on_exception", "trainer pl_module exception"),
    Seam("Callback.teardown", "trainer pl_module stage"),
    Seam("Callback.state_dict"),
    Seam("Callback.load_state_dict", "state_dict"),
    Seam("LightningDataModule.train_dataloader"),
)  # fmt: skip


def find_lightning() -> Any:
    """Returns the module `lightning.pytorch`.

    Raises:
        UserError: It is missing, a release that must not be imported, or its seams differ.
    """
    try:
        version = metadata.version("lightning")
    except metadata.PackageNotFoundError:
        raise UserError(
            "Lightning is not installed: pip install 'diagan-plugin[lightning]'."
        ) from None
    if version in MALICIOUS:
        raise UserError(
            f"lightning {version} was a malicious release and is not imported. Remove it, change "
            "the credentials of this machine, and install another: "
            "pip install 'diagan-plugin[lightning]'."
        )
    module = importlib.import_module("lightning.pytorch")
    require("Lightning", KNOWN, module, SEAMS)
    return module
