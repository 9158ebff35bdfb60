"""Sampling weights in a closed loop: pressed until what was missed is generated, then let go.

The paper scores once and presses until the end (§4.4), which takes a group from far too few to far
too many. Here the scores only say where to begin. An auxiliary discriminator that goes on learning
the *unweighted* data estimates r_i = log p_data(x_i)/p_g(x_i) while the weights act, and these
follow it:

1. **Press.** The weights of the scores hold until the emphasised mass is over-represented enough,
   Σ w_i (r_i + a·e_i) < 0, where e_i in [0, 1] is how much the scores emphasise a sample and a the
   *aim*: p_g is to exceed p_data by up to e^a there, as a generator that makes just enough of a
   group still makes few of its variants. The aim is no larger than what was missing in phase 1,
   the mean of LDRM under the weights: where nothing was, nothing is overdone. Where next to nothing
   was, the weights stay uniform, so that a healthy generator is left alone; between that and enough
   they begin nearer to uniform and the steps are smaller. At the latest they are let go where the
   landing begins.
2. **Steer.** log w_i ← (1 − λ) log w_i + γ · clip(r_i + a(t)·e_i), an integrator: with weights
   proportional to the ratio the loop would swing, as the generator follows late.
3. **Land.** a(t) falls to 0 on the way. The fixed point is then r_i = λ/γ · log w_i: p_g = p_data
   up to a small share of what the weights have to hold up.

The leak λ takes back what noise adds up, and lets samples go that stay hard for good. No weight
becomes much larger than the largest that the scores asked for: a generator that has not learnt a
group under that pressure makes bad copies of it under more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagan_plugin.arguments import as_array

__all__ = ["UPDATES", "FeedbackRule", "FeedbackWeights"]

Floats = NDArray[np.float64]

UPDATES = 100
"""How often the weights follow in phase 2; the gains below are those of one update."""


@dataclass(frozen=True)
class FeedbackRule:
    """The constants of the loop.

    Attributes:
        gain: γ, how much of the ratio is added to a log-weight in an update.
        leak: λ, the share of a log-weight that is taken back.
        clip: Ratios count up to this size.
        smoothing: The share of the ratios so far in the mean over updates.
        aim: Largest a, by how much more than p_data (in logarithms) the emphasised samples are to
            be generated before the landing.
        healthy: What may be missing of the emphasised mass in phase 1, in logarithms, without the
            rule doing anything: as much seems to be for any generator, by the noise of the scores.
        missed: What must be missing for it to act in full; between the two it begins nearer to
            uniform, and γ is smaller.
        landing: Where the aim begins to fall and where it is 0, as shares of phase 2.
        low: Smallest weight, where 1 is the mean.
        high: Largest one, unless the scores ask for a larger.
    """

    gain: float = 0.025
    leak: float = 0.005
    clip: float = 3.0
    smoothing: float = 0.8
    aim: float = 0.7
    healthy: float = 0.05
    missed: float = 0.2
    landing: tuple[float, float] = (0.3, 0.6)
    low: float = math.exp(-3)
    high: float = 10.0

    def height(self, progress: float) -> float:
        """Returns which part of the aim is left after a share of phase 2, from 1 to 0."""
        begin, end = self.landing
        return min(max((end - progress) / (end - begin), 0.0), 1.0)


class FeedbackWeights:
    """The weights of one phase 2.

    Args:
        probabilities: The sampling probabilities that the scores ask for, positive, [N].
        missing: The log ratios that they rest on, LDRM [N]; what is not finite is left out.
        rule: The constants.

    Attributes:
        emphasis: e, [N].
        ratio: The smoothed log ratios r, [N]; NaN where none is known yet.
        pressing: Whether the weights are still those that it began with.
        aim: a before the landing.
        strength: From 0, where next to nothing was missed in phase 1, to 1.

    Raises:
        ValueError: The probabilities are not positive and finite, or the shapes differ.
    """

    def __init__(
        self, probabilities: ArrayLike, missing: ArrayLike, rule: FeedbackRule | None = None
    ) -> None:
        p = as_array("probabilities", probabilities).astype(np.float64)
        if p.ndim != 1 or not p.size or not np.isfinite(p).all() or not (p > 0).all():
            raise ValueError("Argument `probabilities` must be positive and finite, [N].")
        ldrm = as_array("missing", missing).astype(np.float64)
        if ldrm.shape != p.shape:
            raise ValueError(f"Argument `missing` must be of shape {p.shape}, not {ldrm.shape}.")
        self.rule = rule or FeedbackRule()
        known = np.isfinite(ldrm)
        found = float(np.average(ldrm[known], weights=p[known])) if known.any() else 0.0
        self.aim = min(max(found, 0.0), self.rule.aim)
        # Where nothing was missed, the scores rank noise, and what is steered by would be noise.
        healthy, missed = self.rule.healthy, self.rule.missed
        self.strength = min(max((found - healthy) / (missed - healthy), 0.0), 1.0)
        p = np.power(p, self.strength)
        self._log_w: Floats = np.log(p / p.mean())
        self._high = max(float(np.exp(self._log_w.max())), self.rule.high)
        above = np.maximum(self._log_w - self._log_w.mean(), 0.0)
        self.emphasis: Floats = above / max(float(above.max()), np.finfo(np.float64).tiny)
        self.ratio: Floats = np.full(p.size, np.nan)
        self._age = np.zeros(p.size, np.int64)  # updates since the last record
        self.pressing = True

    @property
    def weights(self) -> Floats:
        """The weights [N], of mean 1."""
        w: Floats = np.exp(self._log_w)
        w /= w.mean()
        return w

    def update(
        self, ratio: ArrayLike, progress: float, indices: NDArray[np.int64] | None = None
    ) -> None:
        """Takes new log ratios and follows them.

        Args:
            ratio: Estimates of log p_data/p_g for the unweighted data, [n]; what is not finite
                counts as not recorded.
            progress: The share of phase 2 that is done.
            indices: Which samples they are of, [n]; all by default.

        Raises:
            ValueError: The shapes differ.
        """
        self._record(as_array("ratio", ratio).astype(np.float64), indices)
        known = ~np.isnan(self.ratio)
        if not known.any():
            return
        rule, ratio = self.rule, np.where(known, self.ratio, 0.0)
        error = ratio + self.aim * rule.height(progress) * np.where(known, self.emphasis, 0.0)
        if self.pressing:
            self.pressing = float(self.weights @ error) >= 0 and progress < rule.landing[0]
        if self.pressing:
            return
        gain = rule.gain * self.strength
        step = gain * np.clip(error, -rule.clip, rule.clip) - rule.leak * self._log_w
        w = np.exp(self._log_w + step)
        w = np.clip(w / w.mean(), rule.low, self._high)
        self._log_w = np.log(w / w.mean())

    def _record(self, ratio: Floats, indices: NDArray[np.int64] | None) -> None:
        """Averages over updates; a sample that was left out for some counts with more weight."""
        where = np.arange(self.ratio.size) if indices is None else indices
        if ratio.shape != where.shape:
            raise ValueError(
                f"Argument `ratio` must be of shape {where.shape}, but got {ratio.shape}."
            )
        self._age += 1
        finite = np.isfinite(ratio)
        where, ratio = where[finite], ratio[finite]
        kept = np.where(np.isnan(self.ratio[where]), 0.0, self.rule.smoothing ** self._age[where])
        self.ratio[where] = kept * np.nan_to_num(self.ratio[where]) + (1 - kept) * ratio
        self._age[where] = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns what changes, as arrays and plain values."""
        return {
            "log_weights": self._log_w,
            "ratio": self.ratio,
            "age": self._age,
            "pressing": self.pressing,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned.

        Raises:
            ValueError: It is of another number of samples.
        """
        parts = {name: np.array(state[name]) for name in ("log_weights", "ratio", "age")}
        for name, part in parts.items():
            if part.shape != self.ratio.shape:
                raise ValueError(
                    f"Argument `state` must hold {name!r} of shape {self.ratio.shape}, "
                    f"but got {part.shape}."
                )
        self._log_w, self.ratio = parts["log_weights"], parts["ratio"]
        self._age, self.pressing = parts["age"], bool(state["pressing"])
