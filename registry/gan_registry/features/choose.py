"""From what a user writes after `--features` to an extractor."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np

from gan_registry.catalogs import Catalogs
from gan_registry.config.trust import is_file
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext, FeatureExtractor

AUTO = "auto"


_SMALL = 4096
"""Numbers of an image up to which they serve as its features: FIDs by more take too long."""

_LOG = logging.getLogger(__name__)


def _automatic(catalogs: Catalogs, context: FeatureContext) -> str | FeatureExtractor:
    """Returns a name; or an extractor where only building it tells whether it can be had."""
    dataset = context.dataset
    if dataset.kind != "image":
        return "raw"
    groups = () if dataset.groups is None else np.unique(dataset.groups)
    if dataset.num_classes > 1 or len(groups) > 1:
        return "classifier"
    try:
        extractor: FeatureExtractor = catalogs.features["inception"](context)
        return extractor
    except UserError as error:
        if math.prod(dataset.sample_shape) > _SMALL:
            raise
        _LOG.warning("Pixels serve as features, as others are not at hand. %s", error)
        return "raw"


def extractor_for(choice: str, catalogs: Catalogs, context: FeatureContext) -> FeatureExtractor:
    """Builds the extractor of a choice.

    Args:
        choice: A name from the catalog `features`; the path of a TorchScript file; or "auto":
            `classifier` for images and `raw` for points. Images of one class only, which no
            classifier tells apart: `inception` where it can be had, else `raw` if they are small.
        catalogs: The catalogs, with those of plugins.
        context: What an extractor may know.

    Raises:
        UserError: There is no extractor of that name and no such file (the message lists the known
            names), or it cannot be built for this dataset.
    """
    if choice == AUTO:
        chosen = _automatic(catalogs, context)
        if not isinstance(chosen, str):
            return chosen
        choice = chosen
    if choice not in catalogs.features and is_file(choice):
        from gan_registry.features.torchscript import TorchScript

        path = Path(choice).expanduser()
        return TorchScript(dataclasses.replace(context, path=path))
    extractor: FeatureExtractor = catalogs.features[choice](context)
    return extractor
