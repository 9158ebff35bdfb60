"""Features of many samples: checked, gathered in the main memory, those of real data kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import read_ahead
from gan_registry.errors import PluginError, UserError
from gan_registry.features.base import FeatureExtractor, Features
from gan_registry.features.kept import keep, key_of, read_kept
from gan_registry.metrics.base import Progress, no_progress

BATCH = 256
_VERSION = 1


def extract(extractor: FeatureExtractor, samples: Tensor) -> Features:
    """Extracts from a batch on the extractor's device, and checks what comes: it may be anybody's.

    Returns:
        Features, float32 [B, D], and probabilities, float32 [B, C] or None, on the CPU.

    Raises:
        PluginError: The extractor does not return what it should.
        UserError: Samples or features are not finite.
    """
    name = extractor.identity.split(" ")[0]
    found = extractor(samples)
    if not isinstance(found, Features):
        raise PluginError(
            f"The feature extractor {name!r} returned {type(found).__name__} instead of Features."
        )
    expected = (len(samples), extractor.num_features)
    if tuple(found.features.shape) != expected:
        raise PluginError(
            f"The feature extractor {name!r} returned features of shape "
            f"{list(found.features.shape)} instead of {list(expected)}."
        )
    probabilities = found.probabilities
    if probabilities is not None:
        if probabilities.dim() != 2 or len(probabilities) != len(samples):
            raise PluginError(
                f"The feature extractor {name!r} returned probabilities of shape "
                f"{list(probabilities.shape)} for {len(samples)} samples."
            )
        probabilities = probabilities.detach().to("cpu", torch.float32)
    features = found.features.detach().to("cpu", torch.float32)
    broken = int((~torch.isfinite(features)).any(1).sum())
    if broken:
        raise UserError(
            f"The feature extractor {name!r} gives {broken} of {len(samples)} samples features "
            "that are not finite; choose another with --features."
        )
    return Features(features, probabilities)


def real_features(
    extractor: FeatureExtractor,
    dataset: Dataset,
    indices: npt.ArrayLike | None = None,
    cache: Path | None = None,
    batch_size: int = BATCH,
    progress: Progress = no_progress,
    device: torch.device | None = None,
) -> Features:
    """Returns the features of real samples, from the disk if they were extracted before.

    They are kept in the folder `features` of the cache by the data's `cache_key`, the extractor's
    identity and the indices. What cannot be read is extracted again; a cache that cannot be
    written to is only warned of. An extractor with an attribute `keep` that is False is not worth
    the disk.

    Args:
        extractor: The extractor.
        dataset: The real data.
        indices: Dataset indices [n], which also give the order; None takes all.
        cache: Folder; None keeps nothing.
        batch_size: Samples in memory at once, beside the n·D features.
        progress: Told ("features of the real data", done, n) after each batch.
        device: The extractor's; the CPU by default.

    Returns:
        float32 [n, D], and probabilities [n, C] or None, on the CPU.

    Raises:
        ValueError: `indices` is not a list of whole numbers, or `batch_size` is below 1.
        UserError: Samples or features are not finite.
    """
    if batch_size < 1:
        raise ValueError(f"Argument `batch_size` must be at least 1, but got {batch_size}.")
    chosen = np.asarray(np.arange(len(dataset)) if indices is None else indices)
    if chosen.ndim != 1 or (len(chosen) and not np.issubdtype(chosen.dtype, np.integer)):
        raise ValueError(
            f"Argument `indices` must be integers [n], but got {chosen.dtype} {list(chosen.shape)}."
        )
    chosen = chosen.astype(np.int64)
    path = None
    if cache is not None and getattr(extractor, "keep", True):
        order = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()
        key = key_of("features", _VERSION, dataset.cache_key(), extractor.identity, order)
        path = cache / "features" / f"{key}.safetensors"
        found = _read(path, len(chosen), extractor.num_features)
        if found is not None:
            return found
    features = torch.empty(len(chosen), extractor.num_features)
    probabilities: Tensor | None = None
    device = device or torch.device("cpu")
    starts = range(0, len(chosen), batch_size)
    read = read_ahead(dataset, (chosen[start : start + batch_size] for start in starts), device)
    if not len(chosen):  # a batch too: it tells whether there are probabilities
        none = torch.empty(0, *dataset.sample_shape, device=device)
        starts, read = range(1), iter([(none, None)])
    for start, (x, _) in zip(starts, read, strict=True):
        stop = start + len(x)
        part = extract(extractor, x)
        features[start:stop] = part.features
        if part.probabilities is not None:
            if probabilities is None:
                probabilities = torch.empty(len(chosen), part.probabilities.shape[1])
            probabilities[start:stop] = part.probabilities
        progress("features of the real data", stop, len(chosen))
    if path is not None:
        tensors = {"features": features}
        if probabilities is not None:
            tensors["probabilities"] = probabilities
        keep(path, tensors, {"dataset": dataset.name, "extractor": extractor.identity})
    return Features(features, probabilities)


def _read(path: Path, count: int, num_features: int) -> Features | None:
    kept = read_kept(path)
    if kept is None:
        return None
    features, probabilities = kept[0].get("features"), kept[0].get("probabilities")
    if features is None or tuple(features.shape) != (count, num_features):
        return None
    if probabilities is not None and len(probabilities) != count:
        return None
    return Features(features, probabilities)
