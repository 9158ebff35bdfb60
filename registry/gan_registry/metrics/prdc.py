"""Precision, recall, density and coverage of generated samples, by nearest neighbours in features.

The manifold of a set is taken to be the union of balls around its samples, each of which reaches
to the sample's k-th nearest neighbour in the set. With B_k(x) that ball without its boundary, N
real samples r and M generated samples f:

    precision = share of the f in some B_k(r)          recall   = share of the r in some B_k(f)
    density   = Σ_r #{f in B_k(r)} / (k M)             coverage = share of the B_k(r) with some f

Precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991), k = 3. Density and coverage:
Naeem et al. 2020 (arXiv:2002.09797), k = 5. The balls lack their boundary as in the `prdc` package
of the latter, with which the numbers agree: exactly for integers as long as its own arithmetic is
exact, else but for pairs whose distance agrees with a radius up to rounding.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.metrics.balls import ball_counts
from gan_registry.metrics.base import Batch, Directions, MetricContext, Progress, no_progress
from gan_registry.metrics.collected_features import CollectedFeatures
from gan_registry.metrics.distances import as_points
from gan_registry.metrics.neighbours import Advance, count_pairs, squared_radii

FEW = 50
"""Samples of a kind, 10 for each neighbour that is asked, below which the balls say little."""

MANY_COPIES = 0.01
"""Share of the real samples from which on such as are repeated spoil the numbers."""

RESULTS = ("precision", "recall", "density", "coverage")


def prdc(
    real: object,
    fake: object,
    *,
    k: int = 3,
    k_density: int = 5,
    results: Iterable[str] = RESULTS,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Computes precision and recall (with k), density and coverage (with `k_density`).

    Args:
        real: Features of real samples, [N, D], a tensor or an array; N > k and N > `k_density`,
            but any N for recall alone.
        fake: Features of generated samples, [M, D]; M > k for recall.
        k: Neighbours for precision and recall.
        k_density: Neighbours for density and coverage.
        results: Those wanted; nothing is computed that none of them needs.
        progress: Told how many pairs of samples have been compared.

    Returns:
        Name → value. All are in [0, 1] except density, which is at most N / `k_density`.

    Raises:
        ValueError: There are too few samples, features that are not finite or of different D, or
            a result that does not exist.
    """
    real, fake = as_points(real, "real"), as_points(fake, "fake")
    samples = prdc_by_sample(
        real, fake, k=k, k_density=k_density, results=results, progress=progress
    )
    return averages(samples, k_density)


def prdc_by_sample(
    real: object,
    fake: object,
    *,
    k: int = 3,
    k_density: int = 5,
    results: Iterable[str] = RESULTS,
    real_radii: Tensor | None = None,
    progress: Progress = no_progress,
) -> dict[str, Tensor]:
    """Computes what :func:`prdc` takes the averages of; arguments and errors are those of that.

    `real_radii` is `squared_radii(real, real_ks(results, k, k_density))` where it is known.

    Returns:
        Those wanted of

        - `precision`: bool [M], whether a generated sample is in some real sample's ball;
        - `recall`: bool [N], whether a real sample is in some generated sample's ball;
        - `density`: int64 [M], the number of real samples' balls that a generated one is in;
        - `coverage`: bool [N], whether a real sample's ball holds a generated one.
    """
    results = tuple(results)
    if unknown := set(results) - set(RESULTS):
        raise ValueError(
            f"Argument `results` must hold some of {RESULTS}, but got {sorted(unknown)}."
        )
    real, fake = as_points(real, "real"), as_points(fake, "fake")
    if not len(real) or not len(fake):
        raise ValueError(
            "Arguments `real` and `fake` must have at least one row, "
            f"but got {len(real)} and {len(fake)}."
        )
    ks = real_ks(results, k, k_density)
    fake_ks = (k,) if "recall" in results else ()
    total = len(real) * len(fake)
    for points, wanted in ((real, ks if real_radii is None else ()), (fake, fake_ks)):
        total += math.comb(len(points) + 1, 2) * bool(wanted)
    advance = count_pairs(progress, total)
    if real_radii is None:
        real_radii = _radii(real, ks, advance, "real")
    fake_radii = _radii(fake, fake_ks, advance, "fake")
    counts = ball_counts(real, fake, real_radii, fake_radii, advance=advance)
    samples = {}
    if "precision" in results:
        samples["precision"] = counts.y_in_x[:, ks.index(k)] > 0
    if "recall" in results:
        samples["recall"] = counts.x_in_y[:, 0] > 0
    if "density" in results:
        samples["density"] = counts.y_in_x[:, ks.index(k_density)]
    if "coverage" in results:
        samples["coverage"] = counts.x_holds[:, ks.index(k_density)] > 0
    return samples


def real_ks(results: Iterable[str], k: int, k_density: int) -> tuple[int, ...]:
    """Returns the k for which results need radii of the real samples; none for recall alone."""
    needed = {"precision": k, "density": k_density, "coverage": k_density}
    return tuple(sorted({needed[name] for name in results if name in needed}))


def averages(samples: Mapping[str, Tensor], k_density: int) -> dict[str, float]:
    """Averages over the samples; density is divided by `k_density` as well."""
    values = {name: int(sample.sum()) / len(sample) for name, sample in samples.items()}
    if "density" in values:
        values["density"] *= 1 / k_density
    return values


def _radii(points: Tensor, ks: Sequence[int], advance: Advance, name: str) -> Tensor:
    if not ks:
        return torch.empty(len(points), 0, dtype=torch.float64, device=points.device)
    return squared_radii(points, ks, advance=advance, name=name)


class PRDC(CollectedFeatures):
    """Precision and recall with k = 3, density and coverage with k = 5, from one comparison.

    Subclasses restrict it to some of the results, and it computes only what these need.

    Attributes:
        results: What it computes.
        k: Neighbours for precision and recall.
        k_density: Neighbours for density and coverage.
    """

    directions: ClassVar[Directions] = dict.fromkeys(RESULTS, "up")
    title: ClassVar[str] = "precision, recall, density and coverage"
    results: ClassVar[tuple[str, ...]] = RESULTS
    k: ClassVar[int] = 3
    k_density: ClassVar[int] = 5

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._real_radii: Tensor | None = None

    def update_real(self, batch: Batch) -> None:
        """Keeps the features of some real samples."""
        super().update_real(batch)
        self._real_radii = None

    def minimum(self, side: str) -> int:
        """Returns k + 1 where k-th neighbours on that side are needed, else 1."""
        if side == "real":
            return max(self._real_ks, default=0) + 1
        return self.k + 1 if "recall" in self.results else 1

    def compute(self) -> dict[str, Any]:
        """Returns the results by name.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        return averages(self.by_sample(), self.k_density)

    def by_sample(self) -> dict[str, Tensor]:
        """Returns what :func:`prdc_by_sample` does."""
        real, fake = self.features("real"), self.features("generated")
        if self._real_radii is None and self._real_ks:
            # Found here, to be kept for other generated samples; a progress of its own.
            advance = count_pairs(self.context.progress, math.comb(len(real) + 1, 2))
            self._real_radii = squared_radii(real, self._real_ks, advance=advance)
        self._warn(len(real), len(fake))
        return prdc_by_sample(
            real,
            fake,
            k=self.k,
            k_density=self.k_density,
            results=self.results,
            real_radii=self._real_radii,
            progress=self.context.progress,
        )

    def _warn(self, real: int, fake: int) -> None:
        """Says where the balls are no picture of the data: too few samples, or copies."""
        if min(real, fake) < FEW:
            warnings.warn(
                f"Of {real:,} real and {fake:,} generated samples {self.title} say little: among "
                f"fewer than {FEW} a sample's nearest neighbours are far away, and its ball holds "
                "what does not resemble it.",
                stacklevel=3,
            )
        radii = self._real_radii
        copied = 0 if radii is None else int((radii == 0).any(1).sum())
        if copied > MANY_COPIES * real:
            warnings.warn(
                f"{copied:,} of {real:,} real samples have {min(self._real_ks)} exact copies or "
                "more, by their features: balls around them are empty, so that precision, density "
                "or coverage are too low, whatever the generator makes. Measure without copies.",
                stacklevel=3,
            )

    @property
    def _real_ks(self) -> tuple[int, ...]:
        return real_ks(self.results, self.k, self.k_density)


class Precision(PRDC):
    """Share of the generated samples inside the manifold of the real ones (k = 3)."""

    directions: ClassVar[Directions] = {"precision": "up"}
    title = "precision"
    results = ("precision",)


class Recall(PRDC):
    """Share of the real samples inside the manifold of the generated ones (k = 3)."""

    directions: ClassVar[Directions] = {"recall": "up"}
    title = "recall"
    results = ("recall",)


class Density(PRDC):
    """In how many real samples' balls a generated one is on average, divided by k = 5."""

    directions: ClassVar[Directions] = {"density": "up"}
    title = "density"
    results = ("density",)


class Coverage(PRDC):
    """Share of the real samples' balls that hold a generated sample (k = 5)."""

    directions: ClassVar[Directions] = {"coverage": "up"}
    title = "coverage"
    results = ("coverage",)
