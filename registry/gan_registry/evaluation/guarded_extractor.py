"""A feature extractor that may be a plugin's: what it raises names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from gan_registry.catalogs import HOST, Catalogs
from gan_registry.errors import PluginError, UserError
from gan_registry.features.base import FeatureContext, FeatureExtractor, Features
from gan_registry.features.choose import extractor_for


class GuardedExtractor:
    """Builds and calls the extractor of a choice; see `features.choose.extractor_for`.

    Attributes:
        identity: The extractor's.
        num_features: The extractor's.
        keep: Whether features of real data are worth the disk.

    Raises:
        UserError: The extractor is unknown or can't be built.
        PluginError: It is a plugin's, and failed.
    """

    def __init__(self, choice: str, catalogs: Catalogs, context: FeatureContext) -> None:
        owner = catalogs.features.owner(choice) if choice in catalogs.features else HOST
        self._author = None if owner == HOST else f"The feature extractor {choice!r} of {owner!r}"
        with self._calling():
            self._extractor: FeatureExtractor = extractor_for(choice, catalogs, context)
            self.identity: str = self._extractor.identity
            self.num_features: int = self._extractor.num_features
            self.keep: bool = getattr(self._extractor, "keep", True)

    def __call__(self, samples: Tensor) -> Features:
        """Returns what the extractor does."""
        with self._calling():
            return self._extractor(samples)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if self._author is None:
                raise
            raise PluginError(f"{self._author} failed: {type(error).__name__}: {error}") from error
