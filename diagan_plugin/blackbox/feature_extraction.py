"""From samples to unit feature vectors, batch by batch."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from diagan_plugin.blackbox.generators import BATCH
from gan_registry.catalogs import Catalogs
from gan_registry.datasets.base import Dataset, Ints
from gan_registry.errors import PluginError, UserError
from gan_registry.features.base import FeatureContext, FeatureExtractor
from gan_registry.features.choose import AUTO, extractor_for
from gan_registry.features.store import real_features
from gan_registry.files import cache_folder
from gan_registry.metrics.base import Progress, no_progress

INCEPTION, PIXELS = "inception", "raw"


def choose_extractor(
    choice: str, catalogs: Catalogs, dataset: Dataset, device: torch.device
) -> FeatureExtractor:
    """Builds the extractor of `--features`; "auto" is `inception` for images, `raw` for points.

    Raises:
        UserError: There is no such one, or it is not for these samples.
    """
    hint = ""
    if choice == AUTO:
        choice = INCEPTION if dataset.kind == "image" else PIXELS
        hint = " Or choose other features: --features raw, or a file."
    try:
        context = FeatureContext(dataset, device, cache_folder())
        return extractor_for(choice, catalogs, context)
    except PluginError:
        raise
    except UserError as error:
        if choice == "classifier":
            hint = " They are of labelled data; a black box has none."
        raise UserError(f"{str(error).rstrip('.')}.{hint}") from error


def best_for_images(
    catalogs: Catalogs, dataset: Dataset, device: torch.device
) -> tuple[str, FeatureExtractor]:
    """Builds `inception`, or where that cannot be, with a warning, what needs no download.

    Returns:
        The name of the features, and the extractor.
    """
    try:
        return INCEPTION, choose_extractor(INCEPTION, catalogs, dataset, device)
    except PluginError:
        raise
    except UserError as error:
        warnings.warn(
            f"Pixels are compared, less their mean (--features {PIXELS} --center), which sees less "
            f"than learnt features do: {error}", stacklevel=2,
        )  # fmt: skip
        return PIXELS, choose_extractor(PIXELS, catalogs, dataset, device)


def features_of(
    extractor: FeatureExtractor,
    dataset: Dataset,
    indices: Ints | None = None,
    *,
    device: torch.device | None = None,
    what: str = "features",
    progress: Progress = no_progress,
) -> Tensor:
    """Extracts the features of samples, which are held one batch at a time.

    `indices` say which of the samples, in which order; None takes all. `progress` is told (what,
    done, n), and `device` is the extractor's, by default the CPU.

    Returns:
        float32 [n, D] on the CPU.

    Raises:
        UserError: Samples or features are not finite.
    """
    found = real_features(
        extractor, dataset, indices, batch_size=BATCH, device=device,
        progress=lambda _, done, n: progress(what, done, n),
    )  # fmt: skip
    return found.features
