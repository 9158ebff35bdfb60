"""What makes a loop's diagnosis or draws doubtful, noticed while it trains and said once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.hosts.own_loop.draws import DrawCheck, LoopSampler, as_indices
from diagan_plugin.hosts.own_loop.keys import StreamKeys
from diagan_plugin.hosts.own_loop.run import LoopRun
from diagan_plugin.hosts.own_loop.sign import COMPARED, INVERTED, GeneratedInputs, SignCheck
from diagan_plugin.recording.logit_modes import logit_mode
from gan_registry.datasets.fetching import fetch_to
from gan_registry.seeding import derive_seed, seeded_rng

_LOG = logging.getLogger(__name__)


class Doubts:
    """Follows a loop: whether its loader draws by Dia's sampler, and which way D is read.

    Args:
        run: The loop's run.
        sampler: Dia's sampler.
        options: Dia's options.
        weighted: Whether the run draws by score in phase 2.

    Attributes:
        warnings: What was said.
        draws: What is wrong with the loader, or "".
    """

    def __init__(
        self, run: LoopRun, sampler: LoopSampler, options: DiaOptions, weighted: bool
    ) -> None:
        self.warnings: list[str] = []
        self.draws = ""
        self._run = run
        self._options = options
        self._streams = isinstance(run.dataset, StreamKeys)
        self._follows_draws = weighted and not self._streams
        self._draws = DrawCheck(sampler, run.batch_size)
        self._sign = SignCheck()
        self.generated = GeneratedInputs()

    def resumed(self) -> None:
        """Starts anew after a saved state was taken up."""
        self._draws.forget()

    def indices(self, indices: Any) -> Tensor:
        """Returns a batch's indices, int64 [B] on the CPU, where they are those of its samples.

        Raises:
            TypeError: They are no whole numbers.
            ValueError: They are not what was handed out.
        """
        if self._streams:
            return as_indices(indices, len(self._run.dataset))
        return self._draws.check(indices)

    def seen(self, real: Tensor, fake: Tensor) -> None:
        """Compares logits that the loop gave, of real and of generated samples."""
        if self._sign.due(self._run.step, self._options.record_every):
            self._sign.compare(real, fake)
            self._judge_sign()

    def after_step(self) -> None:
        """Looks at the loader, and at D where a comparison is due."""
        if self._follows_draws and (wrong := self._draws.after_step()):
            self.draws = wrong
            self._say(wrong)
        due = self._sign.due(self._run.step, self._options.record_every)
        if due and self.generated.latest is not None and not self._streams:
            self._sign.compare(*self._logits(*self.generated.latest))
            self.generated.wanted = True
            self._judge_sign()

    def _judge_sign(self) -> None:
        self._run.doubt = INVERTED if self._sign.is_inverted else ""
        if self._run.doubt:
            self._say(INVERTED)

    @torch.no_grad()
    def _logits(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns D's logits on as many training samples, and on the generated ones."""
        run = self._run
        rng = np.random.Generator(np.random.PCG64(derive_seed(run.seed, "sign", run.step)))
        rows = rng.integers(len(run.dataset), size=min(COMPARED, max(len(x), 2)))
        with (
            logit_mode(run.discriminator, self._options.logits),
            seeded_rng(run.device, run.seed, "sign", run.step),
        ):
            return run.logits(*fetch_to(run.dataset, rows, run.device)), run.logits(x, y)

    def _say(self, text: str) -> None:
        if text.split(":")[0] not in {said.split(":")[0] for said in self.warnings}:
            self.warnings.append(text)
            _LOG.warning("step %d: %s", self._run.step, text)
