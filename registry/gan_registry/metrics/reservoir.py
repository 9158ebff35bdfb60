"""Keeps a bounded, uniform choice of a stream of samples, and metrics that need no more."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.metrics.base import Batch, Metric, MetricContext, Needs
from gan_registry.metrics.fitting import check_count, check_finite, count_bad
from gan_registry.seeding import derive_seed

MAX_SAMPLES = 50_000
MAX_FEATURES = 25_600  # as many samples as Tang (2020, section IV-C) judges by
MAX_BYTES = 1 << 30


class Reservoir:
    """A uniform choice without replacement of up to so many samples, kept on the CPU.

    Each set of samples of the full size is kept with the same chance (Vitter's algorithm R, 1985).
    What is kept depends on the seed and on the order of the stream, not on how it was cut into
    batches; a stream that fits is kept whole and in order.

    Args:
        seed: Seed of the choice.
        max_samples: How many samples are kept at most.
        max_bytes: How much memory they take at most, 1 GiB: 50,000 images of 3×32×32 or 21,845 of
            3×64×64 in float32. At least one sample is kept.
        fields: What belongs to a sample, e.g. ("samples", "groups"); the first one decides how
            many fit into `max_bytes`.

    Attributes:
        seen: Length of the stream so far.
        bad: How many of the stream's samples held NaN or infinity in the first field.
    """

    def __init__(
        self,
        seed: int,
        max_samples: int = MAX_SAMPLES,
        max_bytes: int = MAX_BYTES,
        fields: tuple[str, ...] = ("samples",),
    ) -> None:
        if max_samples < 1:
            raise ValueError(f"Argument `max_samples` must be at least 1, but got {max_samples}.")
        self._seed = seed
        self._max_samples = max_samples
        self._max_bytes = max_bytes
        self._fields = fields
        self.clear()

    def __len__(self) -> int:
        """Returns how many samples are kept."""
        return min(self.seen, self._capacity)

    def clear(self) -> None:
        """Forgets the stream, as if new."""
        self.seen = 0
        self.bad = 0
        self._capacity = self._max_samples
        self._kept: dict[str, Tensor] = {}
        self._rng = np.random.Generator(np.random.PCG64(derive_seed(self._seed, "reservoir")))

    def add(self, *values: Tensor) -> None:
        """Takes the next samples of the stream in.

        Args:
            *values: A tensor [b, ...] for each field, on any device; floating types become float32.

        Raises:
            ValueError: There is another number of tensors than of fields, their lengths differ, or
                a shape is another than before.
        """
        if len(values) != len(self._fields) or len({len(value) for value in values}) != 1:
            raise ValueError(
                f"Argument `values` must be {len(self._fields)} tensors of equal length, but got "
                f"lengths {[len(value) for value in values]}."
            )
        count = len(values[0])
        if count == 0:
            return
        rows = [_plain(value) for value in values]
        if not self._kept:
            self._allocate(rows)
        for field, value in zip(self._fields, rows, strict=True):
            if value.shape[1:] != self._kept[field].shape[1:]:
                raise ValueError(
                    f"Argument `values` must hold {field} of shape "
                    f"{list(self._kept[field].shape[1:])} as before, but got "
                    f"{list(value.shape[1:])}."
                )
        self.bad += count_bad(rows[0])
        source, slots = self._choose(count)
        self.seen += count
        if len(source):
            chosen, places = torch.from_numpy(source), torch.from_numpy(slots)
            for field, value in zip(self._fields, rows, strict=True):
                self._kept[field].index_copy_(0, places, value.index_select(0, chosen))

    def get(self, field: str) -> Tensor:
        """Returns one field of what is kept, [len(self), ...], as a view: not to be changed.

        Raises:
            KeyError: Nothing was added yet, or there is no such field.
        """
        return self._kept[field][: len(self)]

    def _allocate(self, rows: list[Tensor]) -> None:
        size = max(rows[0][0].numel() * rows[0].element_size(), 1)
        self._capacity = max(min(self._max_samples, self._max_bytes // size), 1)
        # Pages that no sample was written to cost nothing, and a normal tensor can be written to
        # outside inference mode later on.
        with torch.inference_mode(False):
            for field, value in zip(self._fields, rows, strict=True):
                self._kept[field] = torch.empty(
                    (self._capacity, *value.shape[1:]), dtype=value.dtype
                )

    def _choose(self, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns which of the next samples are kept, and in which slots."""
        positions = np.arange(self.seen, self.seen + count, dtype=np.int64)
        # Drawn for every sample, also where it isn't needed: so the choice can't depend on batches.
        slots = (self._rng.random(count) * (positions + 1)).astype(np.int64)
        slots = np.where(positions < self._capacity, positions, slots)
        source = np.flatnonzero(slots < self._capacity)
        # If several samples fall on one slot, the last of them stays.
        places, last = np.unique(slots[source][::-1], return_index=True)
        return source[::-1][last], places


def _plain(value: Tensor) -> Tensor:
    """Returns a tensor on the CPU, in float32 if it is of a floating type."""
    value = value.detach()
    return value.to("cpu", torch.float32) if value.is_floating_point() else value.cpu()


class KeptFeatures(Metric):
    """A metric that is computed at the end, from a choice of the features of both kinds.

    Keeps up to `max_samples` of each kind, and at most 1 GiB of each.

    Attributes:
        name: Its name in messages.
        min_samples: How many samples of each kind it takes at least.
        max_samples: How many of each kind it keeps at most.
        stream: Sets its choice apart from that of other metrics; those without one share a choice.
    """

    name: ClassVar[str]
    min_samples: ClassVar[int]
    max_samples: ClassVar[int] = MAX_FEATURES
    stream: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Needs]] = frozenset({"features"})

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._real, self._fake = (
            Reservoir(derive_seed(context.seed, *self.stream, kind), self.max_samples)
            for kind in ("real", "fake")
        )

    def update_real(self, batch: Batch) -> None:
        """Takes the features of some real samples in."""
        assert batch.features is not None
        self._real.add(batch.features)

    def update_fake(self, batch: Batch) -> None:
        """Takes the features of some generated samples in."""
        assert batch.features is not None
        self._fake.add(batch.features)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._fake.clear()

    def kept(self) -> tuple[Tensor, Tensor]:
        """Returns what was kept of the real and of the generated samples, float32 [n, D].

        Raises:
            UserError: There are too few samples of a kind, or some of them are not finite.
        """
        for kind, stream in (("real", self._real), ("generated", self._fake)):
            check_count(self.name, kind, stream.seen, self.min_samples)
            check_finite(self.name, kind, stream.bad, stream.seen)
        return self._real.get("samples"), self._fake.get("samples")
