"""gan_registry: a small, StudioGAN-style GAN framework whose methods come as plugins.

Public names resolve lazily, so that importing the package (and `--help`) stays free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_registry.lazy import lazy_names

if TYPE_CHECKING:
    from gan_registry.backbones.base import Backbone as Backbone
    from gan_registry.catalogs import Catalog as Catalog
    from gan_registry.catalogs import Catalogs as Catalogs
    from gan_registry.config.load import load_config as load_config
    from gan_registry.config.schema import Config as Config
    from gan_registry.datasets.base import Dataset as Dataset
    from gan_registry.errors import UserError as UserError
    from gan_registry.hookspecs import HOOK_API_VERSION as HOOK_API_VERSION
    from gan_registry.hookspecs import hookimpl as hookimpl
    from gan_registry.losses.base import Loss as Loss
    from gan_registry.plugins import PluginManager as PluginManager
    from gan_registry.records import Fake as Fake
    from gan_registry.records import MicroBatch as MicroBatch
    from gan_registry.records import Real as Real
    from gan_registry.training.run import Run as Run
    from gan_registry.training.trainer import train as train

__version__ = "0.1.0"

_HOME = {
    "Backbone": "gan_registry.backbones.base",
    "Catalog": "gan_registry.catalogs",
    "Catalogs": "gan_registry.catalogs",
    "Config": "gan_registry.config.schema",
    "Dataset": "gan_registry.datasets.base",
    "Fake": "gan_registry.records",
    "HOOK_API_VERSION": "gan_registry.hookspecs",
    "Loss": "gan_registry.losses.base",
    "MicroBatch": "gan_registry.records",
    "PluginManager": "gan_registry.plugins",
    "Real": "gan_registry.records",
    "Run": "gan_registry.training.run",
    "UserError": "gan_registry.errors",
    "hookimpl": "gan_registry.hookspecs",
    "load_config": "gan_registry.config.load",
    "train": "gan_registry.training.trainer",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
