"""The losses of the catalog by name, for tests that go through all of them."""

from __future__ import annotations

from gan_registry.backbones.base import realness
from gan_registry.catalogs import Catalog
from gan_registry.losses import BUILTIN
from gan_registry.losses.base import Loss


def make(name: str) -> Loss:
    """Makes a loss that reads one logit per sample."""
    catalog = Catalog("loss")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    loss = catalog[name](realness)
    assert isinstance(loss, Loss)
    return loss
