"""Dia-GAN in a training loop of one's own: four lines, the same hooks as in the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from diagan_plugin.arguments import as_kind, as_whole, as_work, check_data
from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.options import NAME
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.kit.config import host_config
from diagan_plugin.hosts.kit.networks import is_probability
from diagan_plugin.hosts.own_loop.correction import corrected
from diagan_plugin.hosts.own_loop.dataset import IndexedDataset, describe
from diagan_plugin.hosts.own_loop.doubts import Doubts
from diagan_plugin.hosts.own_loop.draws import LoopSampler
from diagan_plugin.hosts.own_loop.keys import StreamKeys, loss_weights
from diagan_plugin.hosts.own_loop.options import read_options, steps_of
from diagan_plugin.hosts.own_loop.penalty import Penalty
from diagan_plugin.hosts.own_loop.reading import Reading, detached
from diagan_plugin.hosts.own_loop.run import Call, LoopRun, unwrapped
from diagan_plugin.hosts.own_loop.wording import LoopHooks
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.training.distributed import Group


class Dia:
    """Diagnoses a GAN in your own loop, and draws under-represented samples more often.

    Args:
        dataset: Your map-style dataset; an item is `x`, a tuple or list that begins with `x` (and
            the label `y`), or a mapping with such keys as "image" and "label". For a stream,
            :class:`~diagan_plugin.hosts.own_loop.keys.StreamKeys`.
        total_steps: The steps (calls of :meth:`step`) you will train; or give `epochs`.
        epochs: The passes over the dataset you will train, with one step a batch.
        batch_size: Your batch size, that of all processes together; sweeps use the same.
        seed: Seed of the draws.
        loss: The name of the loss D is trained with, which says how its output becomes a
            log-density ratio: logistic, vanilla, minimax, hinge, wasserstein, ….
        weighted: Draw by score in phase 2; otherwise only diagnose.
        sign: -1 where your D is low on real samples; that it is gets noticed.
        read: `D's output -> logits [B]` (or patches, which are averaged); by default
            :func:`~diagan_plugin.hosts.own_loop.reading.find_logits`.
        conditional: Whether D takes labels, as `D(x, y)`; or `(D, x, y) -> D's output`.
        penalty: `(discriminator, real_x, fake_x) -> scalar`, what you add to D's loss: the
            auxiliary discriminator gets the same.
        item: `an item of the dataset -> x` or `(x, y)`, as D gets them, for items of other forms.
        groups: The subgroup of each sample, int [N], where known; for the report alone.
        group_names: Their names.
        value_range: Smallest and largest value of an image, for the report's pictures.
        device: Where D is; by default where its parameters are.
        rank: This process, of `world_size`.
        world_size: The number of processes.
        shard: "self" gives each rank its share of the draw; "host" if your framework shards.
        **options: Any of :class:`diagan_plugin.dia.options.DiaOptions`, e.g. `k=1.0`.

    Attributes:
        dataset: Your dataset with the index of the sample appended to each item.
        sampler: Give it to your DataLoader.

    Raises:
        TypeError: An option is unknown, or the dataset is of a kind that has no indices or tensors.
        ValueError: A number is out of range, or not one of `total_steps` and `epochs` is given.
        UserError: An option has a value that its flag would not take, or options cannot work
            together.

    Example:
        >>> dia = Dia(data, epochs=100, batch_size=64)  # doctest: +SKIP
        >>> loader = DataLoader(dia.dataset, batch_size=64, sampler=dia.sampler)  # doctest: +SKIP
        >>> for x, y, index in loader:  # doctest: +SKIP
        ...     ...  # your step
        ...     dia.sweep(discriminator)  # costs nothing where no record is due
        ...     dia.step()
        >>> dia.report("report.html")  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: Any,
        *,
        total_steps: int | None = None,
        epochs: int | None = None,
        batch_size: int,
        seed: int = 0,
        loss: str = "logistic",
        weighted: bool = True,
        sign: int = 1,
        read: Callable[[Any], Tensor] | None = None,
        conditional: bool | Call = False,
        penalty: Penalty | None = None,
        item: Callable[[Any], Any] | None = None,
        groups: npt.ArrayLike | None = None,
        group_names: Sequence[str] = (),
        value_range: tuple[float, float] | None = (-1.0, 1.0),
        device: torch.device | str | None = None,
        rank: int = 0,
        world_size: int = 1,
        shard: Literal["self", "host"] = "self",
        **options: Any,
    ) -> None:
        as_kind("loss", loss, str), as_kind("weighted", weighted, bool)
        if not isinstance(conditional, bool):
            as_work("conditional", conditional)
        if groups is not None:
            check_data("groups", groups)
        batch_size, sign = as_whole("batch_size", batch_size), as_whole("sign", sign)
        self._keys = dataset if isinstance(dataset, StreamKeys) else None
        if self._keys is not None:
            options = {"record": "stream", **options}
        self._plugin = DiaPlugin()
        plugins = PluginManager(load_entry_points=False)
        plugins.register(self._plugin, NAME)
        settings = read_options(options, plugins, self._keys is not None)
        described = describe(dataset, item, groups, group_names, value_range)
        total_steps = steps_of(total_steps, epochs, batch_size, len(dataset))
        self.dataset = IndexedDataset(dataset)
        self.sampler = LoopSampler(
            len(dataset), seed, settings.draws, rank=rank, world_size=world_size, shard=shard,
            fingerprint=described.fingerprint(),
        )  # fmt: skip
        self._run = LoopRun(
            host_config({
                "RUN": {"sampler": NAME if weighted else "own", "seed": seed},
                "DATA": {"name": described.name},
                "LOSS": {"adv_loss": loss},
                "OPTIMIZATION": {"total_steps": total_steps, "batch_size": batch_size},
            }),
            plugins, {NAME: {**asdict(settings), "diagnose": True}}, described, self.sampler,
            plugins.catalogs.losses[loss](Reading(read, sign)), total_steps=total_steps,
            batch_size=batch_size, device=None if device is None else torch.device(device),
            group=Group(rank, world_size), conditional=conditional, penalty=penalty,
        )  # fmt: skip
        self._record, self._aux = settings.record, settings.aux
        self._updates = 0  # of D since the last step
        self._hooks = LoopHooks(plugins)
        self._doubts = Doubts(self._run, self.sampler, settings, weighted)
        self._started = False
        self._hooks.build(self._run)

    @property
    def step_count(self) -> int:
        """Steps done."""
        return self._run.step

    @property
    def phase(self) -> int:
        """1 under uniform sampling, 2 when drawing by score."""
        driver = self._plugin.driver(self._run)
        return 1 if driver is None else driver.phase

    @property
    def logged(self) -> dict[str, float]:
        """The latest numbers worth logging, e.g. the effective sample size of the weights."""
        return self._run.noted()

    @property
    def warnings(self) -> list[str]:
        """What was noticed that makes the diagnosis or the draws doubtful."""
        return list(self._doubts.warnings)

    def observe(
        self, indices: Tensor, output: Any, fake_output: Any = None, *, labels: Tensor | None = None
    ) -> None:
        """Records D's raw output on a training batch (`record="stream"`).

        Args:
            indices: Dataset indices [B], as the loader gave them (or a stream's, by its keys).
            output: D's raw output on the batch, in any form that is read.
            fake_output: Its output on generated samples, by which the sign is checked.
            labels: Labels [B] of the batch, for a loss that reads the ratio by them.

        Raises:
            TypeError: The indices are no whole numbers.
            ValueError: `Dia` was made to record sweeps; the indices are not those of the batch, or
                the output has been through a sigmoid or is not one logit a sample.
        """
        if self._record != "stream":
            raise ValueError('Dia.observe needs Dia(…, record="stream"); else call Dia.sweep.')
        loss, rows = self._run.loss, self._doubts.indices(indices)
        logits = loss.logits(output)
        if is_probability(logits):
            raise ValueError(
                "Argument `output` has been through a sigmoid, which saturates: give Dia.observe "
                "the logits that enter it, or record by Dia.sweep, which reads them itself."
            )
        if len(logits) != len(rows):
            raise ValueError(
                f"Argument `output` must hold a logit for each of {len(rows)} samples, but got "
                f"{len(logits)}."
            )
        self._run.find_device(logits)
        self._start()
        ratio = loss.log_density_ratio(detached(output), labels).float()
        self._hooks.real_logits(self._run, Real(rows, torch.empty(len(rows), 0), labels), ratio)
        if fake_output is not None:
            self._doubts.seen(logits, loss.logits(fake_output))

    def sweep(self, discriminator: nn.Module) -> None:
        """Says which D to record with; :meth:`step` sweeps the dataset when a record is due.

        Raises:
            ValueError: `Dia` was made to record training batches.
        """
        if self._record != "sweep":
            raise ValueError('Dia.sweep needs Dia(…, record="sweep"); else call Dia.observe.')
        self._show(discriminator)
        self._start()

    def show(self, discriminator: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Says which D is trained, and by what; with `aux` before :meth:`load_state_dict`."""
        self._show(discriminator, optimizer)

    def _show(
        self, discriminator: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        self._run.show(discriminator, optimizer)
        self._doubts.generated.watch(unwrapped(discriminator))

    def update(
        self,
        discriminator: nn.Module,
        optimizer: torch.optim.Optimizer,
        indices: Tensor,
        fake: Tensor,
        real: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        fake_labels: Tensor | None = None,
    ) -> None:
        """Notes that D was updated; trains the auxiliary discriminator where there is one.

        Needed with `aux`, after each step of D's optimiser. Otherwise it only counts the draws of
        each sample, for the report.

        Args:
            discriminator: D.
            optimizer: Its optimiser.
            indices: Dataset indices [B] of the batch, as the loader gave them.
            fake: The generated samples of the update [B, ...].
            real: Its training samples [B, ...]; needed with `aux="importance"`.
            labels: Their labels [B]; needed with `aux="importance"` where D takes labels.
            fake_labels: Those of the generated samples [B]; needed with `aux` where D takes labels.

        Raises:
            TypeError: The indices are no whole numbers.
            ValueError: The indices are not those of the batch, or something needed is not given.
        """
        rows = self._doubts.indices(indices)
        self._check_batch(real, labels, fake_labels)
        self._show(discriminator, optimizer)
        self._start()
        self._updates += 1
        none = torch.empty(len(rows), 0)
        x = none if real is None else real.detach()
        batch = MicroBatch(Real(rows, x, labels), Fake(fake.detach(), none, fake_labels))
        self._doubts.generated.note(fake, fake_labels)
        self._hooks.discriminator_updated(self._run, [batch])

    def _check_batch(
        self, real: Tensor | None, labels: Tensor | None, fake_labels: Tensor | None
    ) -> None:
        takes_labels, weighted = self._run.conditional, self._aux == "importance"
        for name, given, needed in (
            ("real", real, weighted),
            ("labels", labels, weighted and takes_labels),
            ("fake_labels", fake_labels, self._aux != "none" and takes_labels),
        ):
            if needed and given is None:
                raise ValueError(
                    f"Dia.update needs the argument `{name}` with Dia(…, aux={self._aux!r}"
                    f"{', conditional=…' if name != 'real' else ''})."
                )

    def weights(self, indices: Tensor) -> Tensor:
        """Returns the weights of a stream's samples in the loss, in the place of a sampler.

        Multiply the terms of D's loss on these training samples by them, before the mean.

        Args:
            indices: The indices [B] of the batch, by the stream's keys.

        Returns:
            float32 [B] on D's device: 1 in phase 1, then N times the sampling probabilities.

        Raises:
            ValueError: There is a dataset, of which the sampler draws by score already.
        """
        if self._keys is None:
            raise ValueError(
                "Dia.weights is for streams, Dia(StreamKeys(…), …): of a dataset, dia.sampler "
                "draws by score already."
            )
        rows = self._doubts.indices(indices)
        now = self.sampler.probabilities_at(self.sampler.position)
        return to_device(loss_weights(now, rows, self._keys.seen), self._run.device)

    def step(self) -> None:
        """Notes that a step is done; records and sets the sampler's weights when it is time.

        Raises:
            ValueError: `Dia` was made with `aux`, but :meth:`update` was not called.
        """
        self._start()
        if self._aux != "none" and not self._updates:
            raise ValueError("With Dia(…, aux=…) call Dia.update after each step of D's optimiser.")
        self._updates = 0
        self._run.step += 1
        self._doubts.after_step()
        self._hooks.step_end(self._run)

    def rejection(
        self,
        generate: Callable[[int], Tensor | tuple[Tensor, Tensor]],
        seed: int = 0,
        **options: Any,
    ) -> RejectionSampler:
        """Returns a source of samples that DRS has corrected (phase 3).

        They are judged by the auxiliary discriminator, or by D itself where there is none.

        Args:
            generate: `n -> samples [n, ...]`, or `(samples, labels [n])` where D takes labels.
            seed: Seed of the decisions.
            **options: More of :class:`diagan_plugin.RejectionSampler`, e.g. `burn_in`.
        """
        return corrected(self._run, generate, seed, options)

    def diagnosis(self) -> Diagnosis:
        """Returns the statistics of every sample as they stand.

        Raises:
            UserError: Nothing was recorded yet.
        """
        diagnosis = self._driver().diagnosis(self._run)
        if diagnosis is None:
            raise UserError("Dia has recorded nothing yet: train until the first record is due.")
        return diagnosis

    def report(self, path: str | Path) -> Path:
        """Writes the report, one self-contained HTML file.

        Raises:
            UserError: Nothing was recorded yet, or the file cannot be written.
        """
        from diagan_plugin.hosts.own_loop.loop_report import loop_report

        diagnosis = self.diagnosis()
        result = {
            "config": "own loop",
            "sampler": self._run.config.RUN.sampler,
            "steps": self.step_count,
            "seed": self._run.seed,
            **self._driver().result(self._run),
        }
        report = loop_report(
            self._run.dataset, result, diagnosis, seed=self._run.seed, warnings=self.warnings,
            inverted=bool(self._run.doubt), acted=not (self._doubts.draws or self._run.withheld),
        )  # fmt: skip
        report.write(Path(path))
        return Path(path)

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Returns tensors and plain values from which :class:`Dia` continues.

        Args:
            position: How many of the sampler's draws were trained on, of all processes together:
                `dia.sampler.position` before the loader was iterated, plus the samples of the
                batches since. By default all that were handed out, which with a loader's workers
                is more, as they read ahead.

        Raises:
            ValueError: The position was not handed out yet, or no discriminator was shown yet.
        """
        self._start()
        if position is not None and as_whole("position", position) > self.sampler.position:
            raise ValueError(
                f"Argument `position` must be at most {self.sampler.position}, as no more was "
                f"handed out, but got {position}."
            )
        return {
            "step": self.step_count,
            "sampler": self.sampler.state_dict(position),
            "plugin": self._driver().state(),
            "additions": {n: added.state_dict() for n, added in self._run.additions.items()},
            "keys": None if self._keys is None else self._keys.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned.

        Show the discriminator before, by :meth:`sweep` or, with `aux`, by :meth:`show`.

        Raises:
            ValueError: It belongs to another dataset, or no discriminator was shown yet.
        """
        self._run.step = int(state["step"])
        self._start()
        self._driver().load_state(self._run, state["plugin"])
        for name, added in self._run.additions.items():
            added.load_state_dict(state["additions"][name])
        self.sampler.load_state_dict(state["sampler"])
        if self._keys is not None:
            self._keys.load_state_dict(state["keys"])
        self._doubts.resumed()

    def _driver(self) -> DiaDriver:
        self._start()
        driver = self._plugin.driver(self._run)
        assert driver is not None
        return driver

    def _start(self) -> None:
        if self._started:
            return
        if self._record == "sweep" and not self._run.is_shown:
            raise ValueError(
                "Dia knows no discriminator yet: call Dia.sweep(D), or Dia.show(D, its optimiser), "
                "before Dia.step, Dia.state_dict and Dia.load_state_dict."
            )
        self._started = True
        self._hooks.models_ready(self._run)
        self._hooks.train_start(self._run)
