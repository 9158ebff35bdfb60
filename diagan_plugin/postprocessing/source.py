"""A stream of accepted samples as a source of samples for the host."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from diagan_plugin.postprocessing.streaming import SampleStream
from gan_registry.records import Fake


class StreamSource:
    """What the host's catalog `postprocessors` builds, around a stream.

    Args:
        stream: The stream; its proposals have latents.
    """

    def __init__(self, stream: SampleStream) -> None:
        self.stream = stream

    def batches(self, n: int) -> Iterator[Tensor]:
        """Yields exactly n accepted samples."""
        return (batch.x for batch in self.stream.sample(n))

    def labelled_batches(self, n: int) -> Iterator[Fake]:
        """Yields the same with the latents and the class labels that they were made from."""
        for batch in self.stream.sample(n):
            assert batch.z is not None
            yield Fake(batch.x, batch.z, batch.y)

    def statistics(self) -> dict[str, float]:
        """Returns the share of the proposals that were accepted."""
        return {"acceptance_rate": self.stream.acceptance_rate}
