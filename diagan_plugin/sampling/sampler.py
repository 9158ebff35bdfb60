"""A weighted sampler for training: exact at any size, with weights that may change on the way.

All indices come from one endless *stream* (:mod:`diagan_plugin.sampling.stream`). Position p of the
stream is a pure function of the seed, of p and of the weights active there, so any part of it can
be drawn again, by any process.

A host that makes its own batches reads the stream by `draw(start, stop)`. A
:class:`torch.utils.data.DataLoader` iterates: one epoch of N positions an iteration, strided over
the ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from diagan_plugin.arguments import as_array, as_kind, as_state, as_whole, check_data
from diagan_plugin.sampling.draws import DRAW_METHODS
from diagan_plugin.sampling.stream import WeightedStream

__all__ = ["DiaBatchSampler", "DiaSampler"]

_STATE_VERSION = 1
_SHARDS = ("self", "host")
# Indices become Python integers in blocks of this many: small enough to stay in the CPU's cache.
_BLOCK = 8192


@dataclass
class _Pass:
    """An iteration over an epoch, or the rest of one, up to stream position `stop`."""

    own: int  # position of this rank's next index
    lead: int  # by how much it lies ahead of the position that all ranks have reached
    stop: int
    reweighted: bool = False  # new weights were set since this rank's indices were last drawn

    @property
    def position(self) -> int:
        """The stream position all ranks have reached when each has taken as many as this one."""
        return self.own - self.lead if self.own < self.stop else self.stop


class DiaSampler(Sampler[int]):
    """Uniform sampling until weights are set, then weighted by them.

    **Ranks.** With `shard="self"` rank r of R takes positions r, r+R, r+2R, … of each epoch. The
    union over the ranks is what a single process draws, for any R; nothing is padded or dropped, so
    where R does not divide N some ranks have one index more than others. With `shard="host"`
    every process iterates over the whole draw and the host shards it (Lightning, Accelerate).

    **New weights while iterating.** `set_weights(w)` takes effect from the next index not yet
    handed out. A DataLoader with workers asks ahead, by up to `num_workers × prefetch_factor`
    batches, so how many indices have been handed out depends on its settings. For a result that
    does not, name the position: `set_weights(w, start=p)` with p at least that far ahead of the
    samples trained on (in stream positions: samples of all ranks), or between two epochs. All
    ranks must set the same weights at the same position. A start that was already handed out is
    refused.

    **Resuming.** `state_dict(position=p)` with p the number of samples trained on, over all
    ranks; without it, the state is of all that was handed out, prefetched or not. After
    `load_state_dict` the next iteration goes on from that position to its epoch's end, also with
    another number of ranks. An iteration that was abandoned is not taken up again: the next one is
    the next epoch.

    Memory: 8 bytes a sample for the weights of each segment kept (the last two), 4 for a drawn
    epoch (8 when uniform), of which two are kept unless they are large, and about 20 more for a
    moment while an epoch is drawn.

    Args:
        num_samples: N, the length of the dataset and of an epoch.
        seed: Not negative. The same on all ranks.
        method: `"systematic"`: each sample's count in an epoch differs from its expectation by
            less than 1. `"iid"`: independent draws with replacement.
        rank: This process, in [0, world_size).
        world_size: R, the number of processes.
        shard: Who divides the draw among the ranks, `"self"` or `"host"`.
        fingerprint: Identifies the dataset; kept in the state and compared on loading.

    Raises:
        TypeError: If a number isn't whole.
        ValueError: If an argument is out of range.

    Example:
        >>> sampler = DiaSampler(num_samples=4, seed=0)
        >>> sorted(sampler)
        [0, 1, 2, 3]
        >>> sampler.set_weights([0.0, 1.0, 1.0, 2.0])
        >>> sorted(sampler)
        [1, 2, 3, 3]
    """

    def __init__(
        self,
        num_samples: int,
        seed: int = 0,
        method: str = "systematic",
        rank: int = 0,
        world_size: int = 1,
        shard: str = "self",
        fingerprint: str | None = None,
    ) -> None:
        num_samples, seed = as_whole("num_samples", num_samples, 1), as_whole("seed", seed, 0)
        rank, world_size = as_whole("rank", rank), as_whole("world_size", world_size, 1)
        _check_choice("method", method, tuple(DRAW_METHODS))
        _check_choice("shard", shard, _SHARDS)
        if not 0 <= rank < world_size:
            raise ValueError(f"Argument `rank` must be in [0, {world_size}), but got {rank}.")
        self.num_samples = num_samples
        self.rank = rank
        self.world_size = world_size
        self.shard = shard
        self.fingerprint = fingerprint
        self._stream = WeightedStream(num_samples, seed, method)
        self._pass = _Pass(0, 0, 0)

    @classmethod
    def from_weights(cls, weights: npt.ArrayLike | torch.Tensor, **options: Any) -> DiaSampler:
        """Returns a sampler that draws by weights from the start, as those of an export.

        Args:
            weights: [N], as :meth:`set_weights` takes them.
            **options: Further arguments of the class.

        Raises:
            TypeError: If the weights are not real numbers.
            ValueError: If the weights are out of range or not [N], or an option is refused.

        Example:
            >>> sorted(DiaSampler.from_weights([0.0, 1.0, 1.0, 2.0], seed=0))
            [1, 2, 3, 3]
        """
        array = as_array("weights", weights)
        sampler = cls(array.size, **options)
        sampler.set_weights(array)
        return sampler

    # ------------------------------------------------------------------ the stream

    @property
    def seed(self) -> int:
        """Seed of all draws."""
        return self._stream.seed

    @property
    def method(self) -> str:
        """How an epoch is drawn by weights."""
        return self._stream.method

    def draw(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop), for all ranks, as int64.

        Does not move the position of the iteration.

        Raises:
            ValueError: If the range is none, or lies where weights held that are no longer kept.
        """
        return self._stream.draw(as_whole("start", start), as_whole("stop", stop))

    def set_weights(self, weights: npt.ArrayLike | torch.Tensor, start: int | None = None) -> None:
        """Draws by `weights` from a stream position on.

        Weights set before for the same position or a later one are replaced.

        Args:
            weights: [N] real numbers, not negative, not all zero; need not sum to 1. Copied.
            start: Stream position; default the next one that the iteration has not handed out. A
                host that uses `draw` names it.

        Raises:
            TypeError: If the weights are not real numbers.
            ValueError: If the weights are out of range or of another length, or the position was
                already handed out.
        """
        check_data("weights", weights)
        reached = self.position
        start = reached if start is None else as_whole("start", start)
        if start < reached:
            raise ValueError(
                f"Argument `start` must be at least {reached}, since the indices before were "
                f"already handed out, but got {start}. A DataLoader with workers asks ahead."
            )
        # Where the iteration has begun, it says what is still needed; else only draws do.
        self._stream.set_weights(weights, start, reached or None)
        self._pass.reweighted = True

    def probabilities_at(self, position: int) -> npt.NDArray[np.float64] | None:
        """Returns a copy of the weights [N], with sum 1, at a stream position; None if uniform."""
        return self._stream.probabilities_at(position)

    # ------------------------------------------------------------------ iterating

    @property
    def position(self) -> int:
        """Stream position of the next index to hand out, counted over all ranks."""
        return self._pass.position

    @property
    def epoch(self) -> int:
        """The epoch that `position` lies in."""
        return self.position // self.num_samples

    def __len__(self) -> int:
        """Returns this rank's number of indices in a whole epoch."""
        if self.shard == "host":
            return self.num_samples
        return len(range(self.rank, self.num_samples, self.world_size))

    def __iter__(self) -> Iterator[int]:
        """Yields one epoch of this rank's indices, or the rest of one after `load_state_dict`."""
        now, stride = self._begin()
        while now.own < now.stop:
            now.reweighted = False
            stop = min(now.own + _BLOCK * stride, now.stop)
            for index in self.draw(now.own, stop)[::stride].tolist():
                now.own += stride
                yield index
                if now.reweighted:
                    break  # the rest of the block was drawn by the weights before

    def _begin(self) -> tuple[_Pass, int]:
        """Begins the next iteration; returns it and the distance of this rank's indices."""
        rank, stride = (0, 1) if self.shard == "host" else (self.rank, self.world_size)
        # One that was abandoned is not taken up again, and moves the sampler no longer.
        start = self._pass.stop
        offset = start % self.num_samples
        lead = (rank - offset) % stride
        self._pass = _Pass(start + lead, lead, start - offset + self.num_samples)
        return self._pass, stride

    def set_epoch(self, epoch: int) -> None:
        """Lets the next iteration be that of an epoch, from its start.

        After `load_state_dict` the epoch that the state lies in is not started anew, so a loop
        that calls `set_epoch` before every epoch resumes as well.

        Raises:
            ValueError: If the epoch is negative.
        """
        epoch = as_whole("epoch", epoch, 0)
        if self.position != self._pass.stop or self.epoch != epoch:
            self._seek(epoch * self.num_samples)

    def _seek(self, position: int) -> None:
        """Lets the next iteration begin at a position, as after one that has ended there."""
        self._pass = _Pass(position, 0, position)

    # ------------------------------------------------------------------ saving

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Returns what `load_state_dict` needs: tensors and plain values, with a version.

        Args:
            position: Stream position to resume the iteration from; default `self.position`.
        """
        position = self.position if position is None else as_whole("position", position, 0)
        return {
            "version": _STATE_VERSION,
            "num_samples": self.num_samples,
            "fingerprint": self.fingerprint,
            "position": position,
            **self._stream.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; seed and method become those of the state.

        Rank, world size and who shards are not part of it and may differ.

        Raises:
            ValueError: If the state is of another version or of another dataset (number of samples
                or fingerprint).
        """
        if as_state(state).get("version") != _STATE_VERSION:
            raise ValueError(
                f"The sampler's state has version {state.get('version')!r}, "
                f"but this release reads version {_STATE_VERSION}."
            )
        as_state(state, self.state_dict())
        if state["num_samples"] != self.num_samples:
            raise ValueError(
                f"The sampler's state is of another dataset: it has {state['num_samples']} "
                f"samples, but this one has {self.num_samples}."
            )
        theirs = state["fingerprint"]
        if theirs is not None and self.fingerprint is not None and theirs != self.fingerprint:
            raise ValueError(
                f"The sampler's state is of another dataset: its fingerprint is {theirs}, "
                f"but this one's is {self.fingerprint}."
            )
        _check_choice("method", state["method"], tuple(DRAW_METHODS))
        self._stream.load_state_dict(state)
        self._seek(int(state["position"]))


class DiaBatchSampler(Sampler[list[int]]):
    """The batches of a :class:`DiaSampler` as lists, for `DataLoader(batch_sampler=…)`.

    The sampler's position and state move by whole batches. With `drop_last` the rest of an epoch
    is left out of that epoch.

    Args:
        sampler: Where the indices come from; set its weights, epoch and state there.
        batch_size: This rank's batch, at least 1.
        drop_last: Leave out a last batch that is smaller.

    Raises:
        ValueError: If the batch size is below 1.
    """

    def __init__(self, sampler: DiaSampler, batch_size: int, drop_last: bool = False) -> None:
        batch_size = as_whole("batch_size", batch_size, 1)
        self.sampler = as_kind("sampler", sampler, DiaSampler)
        self.batch_size = batch_size
        self.drop_last = bool(drop_last)

    def __len__(self) -> int:
        """Returns this rank's number of batches in a whole epoch."""
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + int(rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields one epoch of batches, or the rest of one after the sampler's `load_state_dict`."""
        now, stride = self.sampler._begin()
        while now.own < now.stop:
            start = now.own
            now.own += self.batch_size * stride
            batch = self.sampler.draw(start, min(now.own, now.stop))[::stride].tolist()
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`DiaSampler.set_epoch`."""
        self.sampler.set_epoch(epoch)


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if as_kind(name, value, str) not in known:
        raise ValueError(f"Argument `{name}` must be one of {known}, but got {value!r}.")
