"""Compares what D says of training samples with what it says of those kept out (`DATA.holdout`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.recording.holdout import HoldoutGap, holdout_gap, is_memorised
from diagan_plugin.recording.logit_modes import depends_on_batch
from gan_registry.errors import UserError
from gan_registry.training.health import OVERFIT, Finding

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset
    from gan_registry.live_run import LiveRun


class HoldoutWatch:
    """The comparisons of a run.

    Args:
        run: The run, with networks; one that holds nothing out is never compared.
        mode: In which mode D is asked; None where it is not shown.
        choose: Number of samples → which of them are compared, so that the cost is bounded.

    Attributes:
        gaps: The last two comparisons, fewer before there were as many: no more are asked for.

    Raises:
        UserError: D's answer depends on the batch, and the held-out samples are fewer than one.
    """

    def __init__(
        self, run: LiveRun, mode: str | None, choose: Callable[[int], NDArray[np.int64]]
    ) -> None:
        self.gaps: list[HoldoutGap] = []
        size = 0 if run.holdout is None else len(run.holdout)
        self.indices = choose(size)
        if not size or mode is None or size >= run.batch_size:
            return
        if depends_on_batch(run.discriminator, mode):
            raise UserError(
                f"DATA.holdout keeps {size} samples, fewer than a batch of {run.batch_size}, on "
                f"which D's logits depend in the mode {mode!r}; raise it, or use --dia-logits eval."
            )

    def compare(
        self,
        run: LiveRun,
        training: Tensor,
        sweep: Callable[[Dataset, NDArray[np.int64]], Tensor],
    ) -> None:
        """Compares ratios of training samples [S] with those of held-out ones, swept for it."""
        if run.holdout is None:
            return
        gap = holdout_gap(run.step, training, sweep(run.holdout, self.indices))
        if gap is None:
            return
        self.gaps = [*self.gaps[-1:], gap]
        run.log({"dia/holdout_gap": gap.gap, "dia/holdout_gap_error": gap.standard_error})
        if is_memorised(self.gaps):
            run.find(_finding(gap))

    def result(self) -> dict[str, Any]:
        """Returns the entry `holdout` of `result.json`, the last comparison; empty without any."""
        if not self.gaps:
            return {}
        return {"holdout": {"samples": len(self.indices), **dataclasses.asdict(self.gaps[-1])}}

    def state(self) -> list[tuple[Any, ...]]:
        """Returns this part of a checkpoint."""
        return [dataclasses.astuple(gap) for gap in self.gaps]

    def load_state(self, state: Sequence[Sequence[Any]]) -> None:
        """Restores what :meth:`state` returned."""
        self.gaps = [HoldoutGap(*gap) for gap in state[-2:]]


def _finding(gap: HoldoutGap) -> Finding:
    return Finding(
        OVERFIT,
        gap.step,
        f"The discriminator has memorised training samples: their mean log-density ratio is "
        f"{gap.gap:.3g} ± {gap.standard_error:.2g} above that of held-out samples "
        f"({gap.effect:.2g} standard deviations).",
        "More data, MODEL.d_dropout, a smaller D (MODEL.d_conv_dim) or LOSS.apply_lecam may help.",
    )
