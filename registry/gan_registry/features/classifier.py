"""What a classifier of the training data has learnt to see in an image."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.datasets.base import OTHER, Dataset
from gan_registry.datasets.labels import labels_of
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.classifier_network import (
    NUM_FEATURES,
    VERSION,
    ClassifierNetwork,
    train_classifier,
)
from gan_registry.features.kept import keep, key_of, read_kept
from gan_registry.features.samples import check_samples, image_range

_LOG = logging.getLogger(__name__)
_BATCH = 256  # images at once, in any step: bounds the memory


class Classifier:
    """Penultimate activations of a small network trained on the real data, and its classes.

    Its classes are the labels; where the data have groups, the combinations of label and group
    that occur. A classifier of the labels alone learns to ignore what sets a group apart, such as
    colour, and its features then cannot show that a generator has lost the group.

    The network is trained once and kept in `context.cache` by the data's `cache_key` and the seed.
    On the CPU, equal seeds give equal features.

    Args:
        context: `dataset`, `device`, `cache` and `seed` are read.

    Attributes:
        classes: (label, group) of each class, by number; group −1 where the data have none.
        accuracy: Share of held-out samples that it recognises, averaged over the classes; NaN if
            no class has enough samples to hold one out.

    Raises:
        UserError: The samples are no images, or all of one class.
    """

    num_features = NUM_FEATURES

    def __init__(self, context: FeatureContext) -> None:
        dataset = context.dataset
        low, high = image_range("classifier", dataset)
        self._scale = ((low + high) / 2.0, 2.0 / (high - low))
        self._shape = tuple(dataset.sample_shape)
        path = None
        if context.cache is not None:
            key = key_of("classifier", VERSION, dataset.cache_key(), context.seed, self._scale)
            path = context.cache / "classifiers" / f"{key}.safetensors"
        if path is None or not self._read(path):
            self._train(context)
            if path is not None:
                self._write(path)
        self._network.to(context.device)
        self.identity = f"classifier {VERSION} {_digest(self._network.state_dict())}"

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Features:
        """Returns activations, float32 [B, 128], and the probabilities of `classes`."""
        samples = check_samples(samples, self._shape)
        offset, factor = self._scale
        parts = [self._network((x - offset) * factor) for x in torch.split(samples, _BATCH)]
        features, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Features(features, logits.softmax(1))

    def _train(self, context: FeatureContext) -> None:
        pairs, numbers = _classes(context.dataset)
        self.classes = tuple((int(label), int(group)) for label, group in pairs)
        if len(self.classes) < 2:
            raise UserError(
                f"The features 'classifier' need at least two labels or groups to tell apart, but "
                f"all samples of the dataset {context.dataset.name!r} are of one; choose the "
                "features 'raw' or 'inception'."
            )
        _LOG.info("Training the classifier of %d classes for features.", len(self.classes))
        self._network, self.accuracy = train_classifier(
            context.dataset, numbers, self._scale, context.seed, context.device
        )
        if not all(torch.isfinite(weight).all() for weight in self._network.parameters()):
            raise UserError(
                f"The classifier for features did not learn from the dataset "
                f"{context.dataset.name!r}: its samples hold values that are not finite or far "
                f"outside their range; mend the data, or choose the features 'raw' or 'inception'."
            )
        _LOG.info("The classifier's accuracy on held-out samples is %.3f.", self.accuracy)

    def _read(self, path: Path) -> bool:
        """Takes the network from a file; False if there is none or it does not fit."""
        kept = read_kept(path)
        if kept is None:
            return False
        try:
            facts: dict[str, Any] = json.loads(kept[1]["classifier"])
            self.classes = tuple((int(label), int(group)) for label, group in facts["classes"])
            self.accuracy = float(facts["accuracy"])
            channels, height, width = self._shape
            # The weights come from the file: none are drawn.
            with torch.device("meta"):
                network = ClassifierNetwork(channels, height, width, len(self.classes))
            network.load_state_dict(kept[0], assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            _LOG.info("%s does not fit (%s) and is made anew.", path, type(error).__name__)
            return False
        self._network = network.eval().requires_grad_(False)
        return True

    def _write(self, path: Path) -> None:
        facts = {"classes": self.classes, "accuracy": self.accuracy, "version": VERSION}
        tensors = {k: v.to("cpu").contiguous() for k, v in self._network.state_dict().items()}
        keep(path, tensors, {"classifier": json.dumps(facts)})


def _classes(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the combinations of label and group that occur, [K, 2], and each sample's, [N]."""
    groups = np.full(len(dataset), OTHER, np.int64) if dataset.groups is None else dataset.groups
    several = dataset.num_classes > 1
    labels = labels_of(dataset) if several else np.zeros(len(dataset), np.int64)
    pairs, numbers = np.unique(np.stack([labels, groups], 1), axis=0, return_inverse=True)
    # NumPy 2.0 gives the numbers another shape than the versions around it.
    return pairs, numbers.reshape(-1).astype(np.int64)


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.to("cpu").contiguous().numpy().tobytes())
    return digest.hexdigest()
