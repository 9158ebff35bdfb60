"""From features to a diagnosis: the scores, the dense modes, and how sure both are.

The samples are cut in two halves. Dense modes are looked for in the first and measured in the
second: the densest of thousands of anchors is partly the luckiest, and in the samples in which it
was found its score would be too high. The population's scores are over both halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.blackbox.bootstrap import (
    LEVEL,
    RESAMPLES,
    Interval,
    mccs_interval,
    population_intervals,
    share_interval,
)
from diagan_plugin.blackbox.mccs import (
    angular_distances,
    collapse_score,
    compare,
    similarity,
)
from diagan_plugin.blackbox.modes import find_modes, nearest_samples
from diagan_plugin.blackbox.thresholds import share_of, typical_radius
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.seeding import derive_seed

BLOCKS = 20
MIN_ANCHORS = 10
MIN_SAMPLES = 20
SEPARATION = 2.0
"""Modes are this many radii apart, or more."""


@dataclass(frozen=True)
class DenseMode:
    """One dense mode.

    Attributes:
        anchor: Its anchor's row.
        share: Share of the samples (of the second half) within r of it.
        share_interval: Interval of that.
        times_typical: `share` over that of the median anchor; infinite if that is 0.
        mccs: MCCS of the anchor (over the second half).
        mccs_interval: Interval of that.
        neighbors: Rows of the nearest samples, of both halves, the nearest first.
        distances: Their distances.
    """

    anchor: int
    share: float
    share_interval: Interval
    times_typical: float
    mccs: float
    mccs_interval: Interval
    neighbors: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class BlackBoxDiagnosis:
    """What the features of generated samples say of collapse.

    Attributes:
        theta: θ.
        radius: r.
        num_samples: N.
        scores: MCCS of each anchor over all samples, float64 [M].
        mean: Their mean (paper, eq. 8).
        mean_interval: Interval of that.
        std: Their standard deviation, unbiased variance.
        std_interval: Interval of that.
        typical_mccs: MCCS of the median anchor.
        typical_share: Share of the samples within r of the median anchor.
        modes: The worst-case dense mode first.
        level: Confidence of the intervals.
    """

    theta: float
    radius: float
    num_samples: int
    scores: NDArray[np.float64]
    mean: float
    mean_interval: Interval
    std: float
    std_interval: Interval
    typical_mccs: float
    typical_share: float
    modes: tuple[DenseMode, ...]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values, without the single scores."""
        return {
            "theta": self.theta,
            "radius": self.radius,
            "num_anchors": len(self.scores),
            "num_samples": self.num_samples,
            "level": self.level,
            "mccs_mean": self.mean,
            "mccs_mean_interval": list(self.mean_interval),
            "mccs_std": self.std,
            "mccs_std_interval": list(self.std_interval),
            "typical_mccs": self.typical_mccs,
            "typical_share": self.typical_share,
            "modes": [
                {
                    "anchor": mode.anchor,
                    "mccs": mode.mccs,
                    "mccs_interval": list(mode.mccs_interval),
                    "share": mode.share,
                    "share_interval": list(mode.share_interval),
                    "times_typical": mode.times_typical
                    if np.isfinite(mode.times_typical)
                    else None,
                    "neighbors": list(mode.neighbors),
                    "distances": [round(distance, 6) for distance in mode.distances],
                }
                for mode in self.modes
            ],
        }


def diagnose(
    anchors: Tensor,
    samples: Tensor,
    *,
    theta: float | None = None,
    radius: float | None = None,
    share: float | None = None,
    modes: int = 5,
    shown: int = 12,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> BlackBoxDiagnosis:
    """Diagnoses a generator from the features of its samples.

    Args:
        anchors: float32 [M, D], rows of length 1 (see `mccs.unit_vectors`), M ≥ 10.
        samples: float32 [N, D], likewise, in random order, and none of them an anchor; N ≥ 20.
        theta: θ; by default the rule of `thresholds`.
        radius: r; likewise.
        share: The share of that rule; by default that of `thresholds.share_of`.
        modes: How many dense modes to find, at most.
        shown: How many neighbours of each to name.
        level: Confidence of the intervals.
        resamples: How often to draw for them.
        seed: What they follow from.
        progress: Told how far it is.

    Raises:
        ValueError: There are too few anchors or samples, or an argument is out of its range.
    """
    if len(anchors) < MIN_ANCHORS:
        raise ValueError(
            f"Argument `anchors` must have at least {MIN_ANCHORS} rows, but got {len(anchors)}."
        )
    if len(samples) < MIN_SAMPLES:
        raise ValueError(
            f"Argument `samples` must have at least {MIN_SAMPLES} rows, but got {len(samples)}."
        )
    if theta is None or radius is None:
        share = share_of(len(samples)) if share is None else share
        typical = typical_radius(anchors, samples, share)
        theta = typical if theta is None else theta
        radius = typical if radius is None else radius
    rng = np.random.default_rng(derive_seed(seed, "bootstrap"))
    blocks = min(BLOCKS, len(samples) // 4 * 2)  # even, and of two samples at least
    settings: dict[str, Any] = {"level": level, "resamples": resamples}
    comparison = compare(anchors, samples, theta, radius, blocks=blocks, progress=progress)
    scores = comparison.scores
    mean_interval, std_interval = population_intervals(comparison, rng, **settings)
    half = blocks // 2
    rest = samples[int(comparison.sizes[:half].sum()) :]
    typical_share = float(np.median(comparison.neighbors.sum(1))) / len(samples)
    rows = find_modes(
        anchors,
        comparison.neighbors[:, :half].sum(1),
        modes,
        min(SEPARATION * radius, 0.5),
        ties=comparison.similarities[:, :half].sum(1),
    )
    found = []
    for row in rows:
        distances = angular_distances(anchors[row : row + 1], rest)[0]
        similar = similarity(distances, theta).cpu().numpy().astype(np.float64)
        near = int((distances <= radius).sum())
        neighbors, far = nearest_samples(anchors[row], samples, shown)
        found.append(
            DenseMode(
                row,
                near / len(rest),
                share_interval(near, len(rest), rng, **settings),
                near / len(rest) / typical_share if typical_share else float("inf"),
                float(collapse_score(similar.mean())),
                mccs_interval(similar, rng, **settings),
                tuple(neighbors),
                tuple(far),
            )
        )
    return BlackBoxDiagnosis(
        theta,
        radius,
        len(samples),
        scores,
        float(scores.mean()),
        mean_interval,
        float(scores.std(ddof=1)),
        std_interval,
        float(np.median(scores)),
        typical_share,
        tuple(found),
        level,
    )
