"""Says that the clip made one weight of all scores, as a finding of the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.doubts import is_uniform
from gan_registry.training.health import Finding

CLIPPED = "clipped_scores"


def clipped_finding(
    step: int, score: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> Finding | None:
    """Words that all scores were clipped to one weight; None if they were not.

    Args:
        step: Steps done.
        score: Scores [N], NaN where unknown.
        probabilities: What they became [N].
    """
    if not is_uniform(probabilities):
        return None
    low, high = np.nanmin(score), np.nanmax(score)
    return Finding(
        CLIPPED,
        step,
        f"All scores are clipped to one weight (they are {low:.4g} to {high:.4g}), so that nothing "
        "is emphasised.",
        "See whether D is dead; if not, raise max_ratio or lower min_clip.",
    )
