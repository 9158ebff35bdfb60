"""The small convolutional network behind the features `classifier`, and how it learns."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, silu

from gan_registry.backbones.base import seeded_weights
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import fetch_to, to_device
from gan_registry.seeding import derive_seed

NUM_FEATURES = 128
VERSION = 1
"""Counts the changes to network or training that change the features."""

_BATCH = 64
_EPOCHS = 5
_MIN_STEPS, _MAX_STEPS = 300, 1500
_RATE = 2e-3
_SMALLEST, _FINE, _LARGEST = 4, 16, 64  # pixels
_WIDTHS = (32, 64, 96, 128, 128)


class ClassifierNetwork(nn.Module):
    """Maps images [B, C, H, W] to penultimate activations and logits.

    Images of more than 64 px are averaged down; then come convolutions (3×3) with group norm and
    ReLU, each but the first halving the size until no side has more than 4 px, and one hidden
    layer. Group norm, as it makes an image's features independent of its batch; SiLU at the end,
    as units that are never active would be features without variance.
    """

    def __init__(self, channels: int, height: int, width: int, num_classes: int) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        factor = math.ceil(max(height, width) / _LARGEST)
        if factor > 1:
            modules.append(nn.AvgPool2d(factor, ceil_mode=True))
            height, width = math.ceil(height / factor), math.ceil(width / factor)
        narrow = channels
        for number, wide in enumerate(_WIDTHS):
            # In small images a stroke is one pixel wide: they are seen whole first.
            stride = 1 if number == 0 and max(height, width) <= _FINE else 2
            conv = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
            modules += [conv, nn.GroupNorm(8, wide), nn.ReLU()]
            height, width = math.ceil(height / stride), math.ceil(width / stride)
            narrow = wide
            if max(height, width) <= _SMALLEST:
                break
        self.body = nn.Sequential(*modules, nn.Flatten())
        self.hidden = nn.Linear(narrow * height * width, NUM_FEATURES)
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features, [B, 128], and logits, [B, num_classes]."""
        features = silu(self.hidden(self.body(images)))
        return features, self.head(features)


def train_classifier(
    dataset: Dataset,
    classes: NDArray[np.int64],
    scale: tuple[float, float],
    seed: int,
    device: torch.device,
) -> tuple[ClassifierNetwork, float]:
    """Trains a network to tell classes apart, each of which counts the same.

    In a batch of 64 first a class is drawn, then one of its samples, so that a class of a handful
    is seen as often as one of thousands. Training lasts five epochs, but 300 steps at least and
    1,500 at most (Adam, falling rate). Weights and draws follow from the seed; torch's global
    random state is not touched.

    Args:
        dataset: Images.
        classes: The class of each sample, [N], from 0 on without gaps.
        scale: (offset, factor) that bring samples to [-1, 1]: (x − offset) · factor.
        seed: What all randomness follows from.
        device: Where to train.

    Returns:
        The network in evaluation mode, and its accuracy on samples held out: the mean over the
        classes that have any, NaN if none has.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, VERSION])))
    taught, held = split(classes, rng)
    channels, height, width = dataset.sample_shape
    # A caller that evaluates may well have switched gradients off.
    with torch.inference_mode(False), torch.enable_grad():
        with seeded_weights(derive_seed(seed, "classifier")):
            network = ClassifierNetwork(channels, height, width, len(taught))
        network.to(device).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
        sizes = np.array([len(members) for members in taught])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        order = np.concatenate(taught)
        steps = min(max(_EPOCHS * len(order) // _BATCH, _MIN_STEPS), _MAX_STEPS)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            y = rng.integers(len(taught), size=_BATCH)
            x, _ = fetch_to(dataset, order[starts[y] + rng.integers(sizes[y])], device)
            _, logits = network((x.float() - scale[0]) * scale[1])
            loss = cross_entropy(logits, to_device(torch.from_numpy(y), device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval().requires_grad_(False)
    return network, _accuracy(network, dataset, held, scale, device)


def split(
    classes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Splits the samples of each class, `classes` [N], into those to learn from and those held out.

    A tenth of a class is held out, at least one and at most 100; of fewer than five, none.

    Returns:
        For each class, the indices of either part.
    """
    taught, held = [], []
    for number in range(int(classes.max()) + 1):
        members = rng.permutation(np.flatnonzero(classes == number))
        count = 0 if len(members) < 5 else min(max(len(members) // 10, 1), 100)
        taught.append(members[count:])
        held.append(members[:count])
    return taught, held


@torch.no_grad()
def _accuracy(
    network: ClassifierNetwork,
    dataset: Dataset,
    held: list[NDArray[np.int64]],
    scale: tuple[float, float],
    device: torch.device,
) -> float:
    shares = []
    for number, members in enumerate(held):
        if len(members):
            x, _ = fetch_to(dataset, members, device)
            _, logits = network((x.float() - scale[0]) * scale[1])
            shares.append(float((logits.argmax(1) == number).float().mean()))
    return float(np.mean(shares)) if shares else math.nan
