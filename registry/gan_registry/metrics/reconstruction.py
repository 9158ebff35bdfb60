"""Reconstruction error (RE): how badly real samples fit what was learnt from generated ones.

Lee et al. (2021), section 5.1: train a convolutional autoencoder on generated samples, then take
the Euclidean distance between each training sample and its reconstruction. It is large for samples
unlike any generated one, so it tells what a generator leaves out; the paper's table 5 reports its
mean over the minority.

The paper's code divides the distance by 32 for its 32-px images (`train_cae.py`); that is done here
for any size of image, by √(H·W), so that RE doesn't grow with the resolution. Images are taken in
their own range, (-1, 1). The distance of points is not divided.

The code published with the paper trains on 50,000 images for 50 epochs, hours on a CPU. The default
here is a smaller network for 1,000 steps of 32 images, about 12 s of one core for 10,000 images of
32 px; `PublishedReconstructionError` has the published size and length. The numbers of the two are
not comparable. On MNIST digits (5,000 generated, 32 px; measured) the short one gives green digits
0.59 if all generated digits are red, 0.21 if 5 % are green, and red digits 0.13 in both cases.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.metrics.autoencoder import PUBLISHED, AutoencoderSettings, train_autoencoder
from gan_registry.metrics.base import (
    Batch,
    Directions,
    Metric,
    MetricContext,
    Needs,
    Progress,
    no_progress,
)
from gan_registry.metrics.fitting import check_count, check_finite, check_pair, count_bad
from gan_registry.metrics.reservoir import Reservoir
from gan_registry.seeding import derive_seed

MIN_GENERATED = 64


def reconstruction_errors(
    real: Tensor,
    fake: Tensor,
    *,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    settings: AutoencoderSettings | None = None,
    progress: Progress = no_progress,
) -> Tensor:
    """Computes the reconstruction error of each real sample.

    Args:
        real: [n, C, H, W] images or [n, ...] points, n ≥ 1.
        fake: Generated samples [m, ...] of the same shape, m ≥ 64.
        value_range: Smallest and largest value of an image; None takes those of `fake`.
        seed: Seed of the autoencoder.
        device: Where to compute.
        settings: The autoencoder's size and length; None takes the defaults.
        progress: Told of the autoencoder's steps.

    Returns:
        Float64 [n] on the CPU: the Euclidean distance, of images over √(H·W).

    Raises:
        UserError: There are too few samples, or NaN or infinity among them.
        ValueError: The two have different shapes.
    """
    check_pair(real, fake)
    for kind, samples, least in (("real", real, 1), ("generated", fake, MIN_GENERATED)):
        check_count("reconstruction_error", kind, len(samples), least)
        check_finite("reconstruction_error", kind, count_bad(samples), len(samples))
    model = train_autoencoder(
        fake,
        value_range=value_range,
        seed=seed,
        device=device,
        settings=settings,
        progress=progress,
    )
    positions = math.prod(real.shape[2:]) if real.dim() == 4 else 1
    return model.distances(real) / math.sqrt(positions)


def mean_by_group(values: Tensor, groups: Tensor) -> dict[int, float]:
    """Averages values over the members of each group.

    Args:
        values: [n].
        groups: int64 [n]; -1 belongs to none.

    Returns:
        Group number → mean, for groups that have members.
    """
    members = groups >= 0
    if not bool(members.any()):
        return {}
    numbers, values = groups[members].cpu(), values[members].cpu().double()
    counts = torch.bincount(numbers)
    sums = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, numbers, values)
    return {int(g): float(sums[g] / counts[g]) for g in torch.nonzero(counts).flatten()}


class ReconstructionError(Metric):
    """`reconstruction_errors` in streaming form: the mean over real samples, and by group.

    Reads the groups of real samples where a batch has them. Keeps up to 50,000 samples of each
    kind, at most 1 GiB of each, chosen uniformly.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({"samples"})
    directions: ClassVar[Directions] = {"reconstruction_error": "down"}
    settings: ClassVar[AutoencoderSettings] = AutoencoderSettings()

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        fields = ("samples", "groups")
        self._real = Reservoir(derive_seed(context.seed, "real"), fields=fields)
        self._fake = Reservoir(derive_seed(context.seed, "fake"))

    def update_real(self, batch: Batch) -> None:
        """Takes some real samples in, and their groups if there are any."""
        assert batch.samples is not None
        groups = batch.groups
        if groups is None:
            groups = torch.full((len(batch.samples),), -1, dtype=torch.int64)
        self._real.add(batch.samples, groups)

    def update_fake(self, batch: Batch) -> None:
        """Takes some generated samples in."""
        assert batch.samples is not None
        self._fake.add(batch.samples)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._fake.clear()

    def compute(self) -> dict[str, Any]:
        """Returns `reconstruction_error`, overall and for each group that has real samples.

        Raises:
            UserError: There is no real sample, there are fewer than 64 generated ones, or some
                samples are not finite.
        """
        for kind, stream, least in (
            ("real", self._real, 1),
            ("generated", self._fake, MIN_GENERATED),
        ):
            check_count("reconstruction_error", kind, stream.seen, least)
            check_finite("reconstruction_error", kind, stream.bad, stream.seen)
        errors = reconstruction_errors(
            self._real.get("samples"),
            self._fake.get("samples"),
            value_range=self.context.value_range,
            seed=self.context.seed,
            device=self.context.device,
            settings=self.settings,
            progress=self.context.progress,
        )
        result: dict[str, Any] = {"reconstruction_error": float(errors.mean())}
        names = self.context.group_names
        groups = mean_by_group(errors, self._real.get("groups"))
        if groups:
            result["groups"] = {
                names[g] if g < len(names) else f"group {g}": {"reconstruction_error": error}
                for g, error in groups.items()
            }
        return result


class PublishedReconstructionError(ReconstructionError):
    """The same with the autoencoder of the published code: 19,550 steps, hours on a CPU."""

    settings: ClassVar[AutoencoderSettings] = PUBLISHED
