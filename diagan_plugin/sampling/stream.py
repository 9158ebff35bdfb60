"""An endless stream of dataset indices, each a pure function of its position.

* Before any weights, positions [eN, (e+1)N) are a permutation: uniform without replacement.
* Weights begin a *segment* at a position. From there on, every N positions are one weighted draw of
  N indices, in random order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diagan_plugin.sampling.draws import DRAW_METHODS, normalized_weights
from gan_registry.samplers.base import epoch_permutation

__all__ = ["WeightedStream"]

# Up to this many samples two drawn epochs are kept, at most 128 MB each; beyond it one.
_SMALL = 1 << 24
# Last word of the seed of a weighted draw. SeedSequence([s, e]) equals SeedSequence([s, e, 0]), so
# without it draw 0 of segment e would share its random numbers with uniform epoch e.
_WEIGHTED = 1


@dataclass(frozen=True)
class _Segment:
    """Weights [N] with sum 1, active from a stream position; segments count from 1."""

    number: int
    start: int
    probabilities: npt.NDArray[np.float64]


class WeightedStream:
    """What is drawn at each position, for all ranks together.

    Args:
        num_samples: N.
        seed: Not negative.
        method: A key of :data:`diagan_plugin.sampling.draws.DRAW_METHODS`.
    """

    def __init__(self, num_samples: int, seed: int, method: str) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.method = method
        self._segments: list[_Segment] = []
        self._first_weighted: int | None = None  # where uniform sampling ended
        self._last_drawn = 0  # start of the last draw; only decides which segments to keep
        # Drawn epochs by (segment number, epoch), the latest last.
        self._drawn: dict[tuple[int, int], npt.NDArray[np.signedinteger[Any]]] = {}

    def draw(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns the dataset indices at positions [start, stop), as int64.

        Raises:
            ValueError: If the range is none, or lies where weights held that are no longer kept.
        """
        if not 0 <= start <= stop:
            raise ValueError(
                f"Arguments `start` and `stop` must be 0 ≤ start ≤ stop, but got {start}, {stop}."
            )
        self._last_drawn = start
        out = np.empty(stop - start, dtype=np.int64)
        position = start
        while position < stop:
            segment, end = self._segment_at(position)
            origin = 0 if segment is None else segment.start
            epoch, offset = divmod(position - origin, self.num_samples)
            size = min(self.num_samples - offset, min(stop, end or stop) - position)
            piece = self._epoch_indices(segment, epoch)[offset : offset + size]
            out[position - start : position - start + size] = piece
            position += size
        return out

    def set_weights(
        self, weights: npt.ArrayLike | torch.Tensor, start: int, reached: int | None
    ) -> None:
        """Draws by `weights` [N] from position `start` on; replaces those set for later.

        Args:
            weights: Real numbers, not negative, not all zero. Copied.
            start: Where they begin.
            reached: Weights that ended before this position and before the last draw may be
                forgotten; None if only draws count.

        Raises:
            TypeError: If the weights are not real numbers.
            ValueError: If they are out of range or of another length, or if what held before
                `start` is no longer kept.
        """
        if isinstance(weights, torch.Tensor):
            weights = weights.detach().cpu()
            weights = (weights.double() if weights.is_floating_point() else weights).numpy()
        probabilities = normalized_weights(weights, self.num_samples)
        used = self._last_drawn if reached is None else min(self._last_drawn, reached)
        earlier = [s for s in self._segments if s.start < start]
        later = self._segments[len(earlier) :]
        if earlier:
            number = earlier[-1].number + 1
        elif self._first_weighted is None or start <= self._first_weighted:
            number, self._first_weighted = 1, start
        elif start == later[0].start:
            number = later[0].number
        else:
            raise ValueError(
                f"Argument `start` must be at least {later[0].start}, since the weights set before "
                f"are no longer kept, but got {start}."
            )
        self._segments = _needed([*earlier, _Segment(number, start, probabilities)], used)
        self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] < number}

    def probabilities_at(self, position: int) -> npt.NDArray[np.float64] | None:
        """Returns a copy of the weights [N], with sum 1, at a position; None if uniform."""
        segment, _ = self._segment_at(position)
        return None if segment is None else segment.probabilities.copy()

    def _segment_at(self, position: int) -> tuple[_Segment | None, int | None]:
        """Returns the segment at a position (None: uniform), and where it ends (None: never)."""
        if self._first_weighted is None or position < self._first_weighted:
            return None, self._first_weighted
        end = None
        for segment in reversed(self._segments):
            if segment.start <= position:
                return segment, end
            end = segment.start
        raise ValueError(f"The weights active at stream position {position} are no longer kept.")

    def _epoch_indices(
        self, segment: _Segment | None, epoch: int
    ) -> npt.NDArray[np.signedinteger[Any]]:
        """Returns the N indices of an epoch of a segment (segment None: of the uniform part)."""
        key = (0 if segment is None else segment.number, epoch)
        if key in self._drawn:
            return self._drawn[key]
        # Two epochs are kept, for hosts that read ahead and look back around an epoch's end.
        # Where two would be large, even the old one goes before the new one is made.
        kept = list(self._drawn.items())[-1:] if self.num_samples <= _SMALL else []
        self._drawn = dict(kept)
        indices: npt.NDArray[np.signedinteger[Any]]
        if segment is None:
            indices = epoch_permutation(self.num_samples, self.seed, epoch)
        else:
            seed = np.random.SeedSequence([self.seed, segment.number, epoch, _WEIGHTED])
            rng = np.random.Generator(np.random.PCG64(seed))
            indices = DRAW_METHODS[self.method](segment.probabilities, self.num_samples, rng)
        self._drawn[key] = indices
        return indices

    def state_dict(self) -> dict[str, Any]:
        """Returns seed, method and weights: tensors and plain values."""
        return {
            "seed": self.seed,
            "method": self.method,
            "first_weighted": self._first_weighted,
            "segments": [
                {
                    "number": segment.number,
                    "start": segment.start,
                    "probabilities": torch.from_numpy(segment.probabilities.copy()),
                }
                for segment in self._segments
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned."""
        segments = [
            # Not normalised again: that could change the last bits, and with them the draws.
            _Segment(int(s["number"]), int(s["start"]), s["probabilities"].cpu().numpy().copy())
            for s in state["segments"]
        ]
        for segment in segments:
            weights = segment.probabilities
            if weights.dtype != np.float64 or weights.shape != (self.num_samples,):
                raise ValueError(
                    f"The state's probabilities must be float64 [{self.num_samples}], but are "
                    f"{weights.dtype} {list(weights.shape)}."
                )
            if not (weights >= 0).all() or not abs(weights.sum() - 1) < 1e-6:
                raise ValueError("The state's probabilities are negative or do not sum to 1.")
        first = state["first_weighted"]
        if first is not None and (type(first) is not int or first < 0):
            raise ValueError(f"The state's `first_weighted` is {first!r:.60}, and no position.")
        self.seed, self.method = int(state["seed"]), state["method"]
        self._first_weighted, self._segments = first, segments
        self._drawn = {}
        self._last_drawn = 0


def _needed(segments: list[_Segment], used: int) -> list[_Segment]:
    """Returns the last two segments, and those before that end after the last known use."""
    ended = [after.start <= used for after in segments[1:]]
    kept = [s for s, over in zip(segments[:-2], ended, strict=False) if not over]
    return [*kept, *segments[-2:]]
