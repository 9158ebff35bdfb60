"""Records the log-density ratios of a run: sweeps or training batches, and the heat map's history.

When to record is in :mod:`diagan_plugin.dia.schedule`, how a sweep is made in
:mod:`diagan_plugin.recording.sweep`, and the statistics in :mod:`diagan_plugin.recording.tracker`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.dia.centring import Centring
from diagan_plugin.dia.holdout import HoldoutWatch
from diagan_plugin.dia.options import NAME, DiaOptions
from diagan_plugin.dia.schedule import HISTORY_SAMPLES, Schedule, thin_history
from diagan_plugin.recording.logit_modes import has_batch_norm, logit_mode, resolve_logit_mode
from diagan_plugin.recording.ratio_head import RatioHead
from diagan_plugin.recording.sweep import random_part, sweep
from diagan_plugin.recording.tracker import LDRTracker
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError
from gan_registry.seeding import seeded_rng
from gan_registry.state_checks import tensor, wholes

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch, Real

RATIO_HEAD = f"{NAME}.ratio_head"
"""The name under which the run keeps the logistic layer of `--dia-aux-ratio`."""


class Recorder:
    """What a run has recorded of its training samples.

    Args:
        run: The run, with dataset and networks.
        options: The plugin's options.

    Attributes:
        logit_mode: "eval", "train" or "batchstat"; None where the discriminator is not shown.
        tracker: The statistics of every sample.
        steps: The steps of the sweeps that count.
        history: Records of the heat map's samples, float32 [S] each.
        history_steps: Their steps.
        history_indices: The heat map's samples, int64 [S].
        centring: What is taken off the records.
        holdout: Compares the heat map's samples with held-out ones.
    """

    def __init__(self, run: LiveRun, options: DiaOptions) -> None:
        self._options = options
        # A loop of one's own that streams need not show its discriminator; then there is no sweep.
        discriminator: nn.Module | None = getattr(run, "discriminator", None)
        self.logit_mode = (
            None if discriminator is None else resolve_logit_mode(options.logits, discriminator)
        )
        # Statistics are float64, which MPS does not have.
        device = torch.device("cpu") if run.device.type == "mps" else run.device
        self.tracker = LDRTracker(len(run.dataset), options.window, device=device)
        self.steps: list[int] = []
        self.history: list[Tensor] = []
        self.history_steps: list[int] = []
        self.history_indices = _subset(len(run.dataset), run.seed)
        self.holdout = HoldoutWatch(run, self.logit_mode, lambda n: _subset(n, run.seed))
        self._ratio_head = self._add_ratio_head(run) if options.aux_ratio else None
        is_ratio = run.loss.is_density_ratio or self._ratio_head is not None
        self.centring = Centring(options, is_ratio)

    def start(self, run: LiveRun) -> None:
        """Makes the record of step 0 for the heat map."""
        if run.step == 0:
            self._record_history(run)

    def observe(self, run: LiveRun, real: Real, logits: Tensor, schedule: Schedule) -> None:
        """Records the logits of a training batch, when streaming."""
        if self._options.record != "stream" or not schedule.observes_at(run.step):
            return
        centred = self.centring.of_batch(logits)
        if centred is None:
            return
        indices = to_device(real.indices, self.tracker.device)
        self.tracker.record(run.group.gather(indices), run.group.gather(centred))

    def train_ratio_head(self, run: LiveRun, batches: Sequence[MicroBatch]) -> None:
        """Trains the logistic layer on the batches of D's update, where there is one.

        They have to follow the data: in phase 2 the layer rests, as the statistics do.
        """
        if self._ratio_head is None:
            return
        x = torch.cat([b.real.x for b in batches]), torch.cat([b.fake.x for b in batches])
        real, fake = (self._features(run, samples) for samples in x)
        loss = self._ratio_head.update(real, fake, run.group.average_gradients)
        run.log({"loss/ratio head": loss})

    def step_end(self, run: LiveRun, schedule: Schedule) -> None:
        """Makes the records that the schedule asks for after this step."""
        swept: Tensor | None = None
        if self._options.record == "sweep" and schedule.records_at(run.step):
            swept = self._record(run)
            self.steps = [*self.steps, run.step][-self._options.window :]
        if schedule.history_at(run.step):
            self._record_history(run, swept)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns LDRM and LDRV of every sample, each [N]."""
        mean, variance = self.tracker.statistics()
        return mean.cpu().numpy(), variance.cpu().numpy()

    def history_table(self) -> NDArray[np.float32]:
        """Returns the heat map's records, float32 [R, S]."""
        if not self.history:
            return np.zeros((0, len(self.history_indices)), np.float32)
        table: NDArray[np.float32] = torch.stack([r.float().cpu() for r in self.history]).numpy()
        return table

    def describe(self, run: LiveRun) -> dict[str, Any]:
        """Returns what a reader of the statistics has to know about how they were recorded."""
        described: dict[str, Any] = {
            "record": self._options.record,
            "logits": self.logit_mode if self._options.record == "sweep" else "training batches",
            "is_density_ratio": run.loss.is_density_ratio or self._ratio_head is not None,
        }
        discriminator: nn.Module | None = getattr(run, "discriminator", None)
        if discriminator is not None:
            described["batch_norm"] = has_batch_norm(discriminator)
        if self.steps:
            described |= {"first_step": self.steps[0], "last_step": self.steps[-1]}
            passes = self.steps[-1] * run.samples_per_step / len(run.dataset)
            described["epochs"] = f"{passes:.4g}"
        return described

    def warnings(self) -> list[str]:
        """Returns what is wrong with the records as they stand, a sentence each."""
        found = []
        if self.tracker.non_finite_count:
            first = ", ".join(map(str, self.tracker.non_finite_indices))
            found.append(
                f"{self.tracker.non_finite_count} logits were NaN or infinite and were not "
                f"recorded; the first belong to the samples {first}."
            )
        if self.centring.is_missing:
            found.append(
                "D's output is no density ratio, and no generated samples were shown with its "
                "updates: the scores depend on its constant, which means nothing."
            )
        return found

    def state(self) -> dict[str, Any]:
        """Returns this part of a checkpoint; the host keeps the logistic layer itself."""
        return {
            "tracker": self.tracker.state_dict(),
            "record_steps": self.steps,
            "history": torch.stack(self.history).cpu() if self.history else None,
            "history_steps": self.history_steps,
            "centre": self.centring.constant,
            "holdout": self.holdout.state(),
        }

    def load_state(self, run: LiveRun, state: Mapping[str, Any], schedule: Schedule) -> None:
        """Restores what :meth:`state` returned."""
        self.tracker.load_state_dict(state["tracker"])
        self.steps = wholes(state, "record_steps")
        self.holdout.load_state(state.get("holdout", ()))
        constant = state["centre"]
        self.centring.constant = None if constant is None else constant.to(run.device)
        steps = wholes(state, "history_steps")
        kept = thin_history(steps, schedule.history_every)
        self.history_steps = [steps[position] for position in kept]
        if steps:
            size = len(self.history_indices)
            history = tensor(state, "history", None, (len(steps), size))
            self.history = [history[position].to(run.device) for position in kept]

    def _record(self, run: LiveRun) -> Tensor | None:
        """Records the whole dataset, or a random share of it that follows from (seed, step).

        Returns:
            The logits of the whole dataset [N]; None of a share.
        """
        fraction = self._options.record_fraction
        if fraction == 1.0:
            swept = self._sweep(run, run.dataset)
            self.tracker.record_all(self._centred(run, swept))
            return swept
        indices = random_part(len(run.dataset), fraction, run.seed, "fraction", run.step)
        recorded = self._centred(run, self._sweep(run, run.dataset, indices))
        self.tracker.record(torch.from_numpy(indices), recorded)
        return None

    def _record_history(self, run: LiveRun, swept: Tensor | None = None) -> None:
        """Records the heat map's samples, from a sweep of the dataset where these are all."""
        if self.logit_mode is None:
            return
        if swept is not None and len(self.history_indices) == len(swept):
            record = swept
        else:
            record = self._sweep(run, run.dataset, self.history_indices)
        self.history.append(self._centred(run, record))
        self.history_steps.append(run.step)
        self.holdout.compare(run, record, partial(self._sweep, run))

    def _sweep(
        self,
        run: LiveRun,
        dataset: Dataset,
        indices: NDArray[np.int64] | None = None,
    ) -> Tensor:
        assert self.logit_mode is not None
        head = self._ratio_head

        def ratios(x: Tensor, y: Tensor | None) -> Tensor:
            return run.logits(x, y) if head is None else head(run.backbone.features(x))

        return sweep(
            ratios,
            dataset,
            discriminator=run.discriminator,
            mode=self.logit_mode,
            batch_size=run.batch_size,
            seed=run.seed,
            step=run.step,
            device=run.device,
            indices=indices,
            ranks=run.group,
        )

    def _centred(self, run: LiveRun, recorded: Tensor) -> Tensor:
        return self.centring.of_sweep(run, recorded, self._as_in_a_sweep(run, "generated"))

    def _add_ratio_head(self, run: LiveRun) -> RatioHead:
        sample = torch.zeros(2, *run.dataset.sample_shape, device=run.device)
        try:
            with torch.no_grad(), logit_mode(run.discriminator, "eval"):
                size = run.backbone.features(sample).shape[1]
        except NotImplementedError as error:
            raise UserError(
                f"--dia-aux-ratio reads the features of the discriminator, but "
                f"MODEL.backbone {run.config.MODEL.backbone!r} gives none: {error}"
            ) from error
        head = RatioHead(size).eval()
        run.add(RATIO_HEAD, head)
        run.add(f"{RATIO_HEAD}_optimizer", head.optimizer)
        return head

    def _features(self, run: LiveRun, samples: Tensor) -> Tensor:
        """Returns D's features [B, F] as a sweep would see them, leaving no trace in D."""
        with self._as_in_a_sweep(run, "ratio head"):
            return run.backbone.features(samples)

    @contextmanager
    def _as_in_a_sweep(self, run: LiveRun, purpose: str) -> Iterator[None]:
        """Puts D in the mode of the sweeps inside; no gradients, no trace in any random state."""
        assert self.logit_mode is not None
        with (
            torch.no_grad(),
            logit_mode(run.discriminator, self.logit_mode),
            seeded_rng(run.device, run.seed, purpose, run.step, run.rank),
        ):
            yield


def _subset(num_samples: int, seed: int) -> NDArray[np.int64]:
    """Chooses the samples of the heat map: all of a small dataset, else a fixed random subset."""
    if num_samples <= HISTORY_SAMPLES:
        return np.arange(num_samples)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, HISTORY_SAMPLES])))
    return np.sort(rng.choice(num_samples, HISTORY_SAMPLES, replace=False))
