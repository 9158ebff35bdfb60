"""Dia-GAN in a training loop of one's own: four lines, the same hooks as in the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.options import NAME
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.kit.config import host_config
from diagan_plugin.hosts.kit.dataset import HostDataset
from diagan_plugin.hosts.own_loop.run import IndexedDataset, LoopRun, corrected, read_options
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.backbones.base import realness
from gan_registry.dispatch import Dispatcher
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.report.document import Report
from gan_registry.training.distributed import Group


class Dia:
    """Diagnoses a GAN in your own loop, and draws under-represented samples more often.

    Args:
        dataset: Your map-style dataset; an item is `x`, or a tuple or list that begins with `x`.
        total_steps: The generator steps you will train.
        batch_size: Your batch size; sweeps use the same.
        seed: Seed of the draws.
        loss: The name of the loss D is trained with, which says how its output becomes a
            log-density ratio: logistic, vanilla, minimax or hinge.
        weighted: Draw by score in phase 2; otherwise only diagnose.
        groups: The subgroup of each sample, int [N], where known; for the report alone.
        group_names: Their names.
        value_range: Smallest and largest value of an image, for the report's pictures.
        device: Where D is.
        rank: This process, of `world_size`.
        world_size: The number of processes.
        shard: "self" gives each rank its share of the draw; "host" if your framework shards.
        **options: Any of :class:`diagan_plugin.dia.options.DiaOptions`, e.g. `k=1.0`.

    Attributes:
        dataset: Your dataset with the index of the sample appended to each item.
        sampler: Give it to your DataLoader.
        step_count: Steps done.

    Raises:
        TypeError: An option is unknown.
        ValueError: `total_steps` or `batch_size` is below 1.
        UserError: An option has a value that its flag would not take, or options cannot work
            together.

    Example:
        >>> dia = Dia(data, total_steps=10_000, batch_size=64)  # doctest: +SKIP
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
        total_steps: int,
        batch_size: int,
        seed: int = 0,
        loss: str = "logistic",
        weighted: bool = True,
        groups: npt.ArrayLike | None = None,
        group_names: Sequence[str] = (),
        value_range: tuple[float, float] | None = (-1.0, 1.0),
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        shard: Literal["self", "host"] = "self",
        **options: Any,
    ) -> None:
        for name, value in (("total_steps", total_steps), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"Argument `{name}` must be at least 1, but got {value}.")
        self._plugin = DiaPlugin()
        plugins = PluginManager(load_entry_points=False)
        plugins.register(self._plugin, NAME)
        settings = read_options(options, plugins)
        described = HostDataset(dataset, groups, group_names, value_range)
        self.dataset = IndexedDataset(dataset)
        self.sampler = DiaSampler(
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
            plugins.catalogs.losses[loss](realness), total_steps=total_steps,
            batch_size=batch_size, device=torch.device(device), group=Group(rank, world_size),
        )  # fmt: skip
        self._record, self._aux = settings.record, settings.aux
        self._updates = 0  # of D since the last step
        self._hooks = Dispatcher(plugins)
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

    def observe(self, indices: Tensor, logits: Tensor) -> None:
        """Records D's raw output on a training batch (`record="stream"`).

        Args:
            indices: Dataset indices [B], as the loader gave them.
            logits: D's raw output, [B] or [B, 1].

        Raises:
            ValueError: `Dia` was made to record sweeps.
        """
        if self._record != "stream":
            raise ValueError('Dia.observe needs Dia(…, record="stream"); else call Dia.sweep.')
        self._start()
        ratio = self._run.loss.log_density_ratio(logits.detach(), None).float()
        real = Real(indices.to("cpu", torch.int64), torch.empty(len(indices), 0))
        self._hooks.real_logits(self._run, real, ratio)

    def sweep(self, discriminator: nn.Module) -> None:
        """Says which D to record with; :meth:`step` sweeps the dataset when a record is due.

        Raises:
            ValueError: `Dia` was made to record training batches.
        """
        if self._record != "sweep":
            raise ValueError('Dia.sweep needs Dia(…, record="sweep"); else call Dia.observe.')
        self._run.show(discriminator)
        self._start()

    def show(self, discriminator: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Says which D is trained, and by what; with `aux` before :meth:`load_state_dict`."""
        self._run.show(discriminator, optimizer)

    def update(
        self,
        discriminator: nn.Module,
        optimizer: torch.optim.Optimizer,
        indices: Tensor,
        fake: Tensor,
        real: Tensor | None = None,
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
        """
        self._run.show(discriminator, optimizer)
        self._start()
        self._updates += 1
        none = torch.empty(len(indices), 0)
        batch = MicroBatch(
            Real(indices.to("cpu", torch.int64), none if real is None else real.detach()),
            Fake(fake.detach(), none),
        )
        self._hooks.discriminator_updated(self._run, [batch])

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
        self._hooks.step_end(self._run)

    def rejection(
        self, generate: Callable[[int], Tensor], seed: int = 0, **options: Any
    ) -> RejectionSampler:
        """Returns a source of samples that DRS has corrected (phase 3).

        They are judged by the auxiliary discriminator, or by D itself where there is none.

        Args:
            generate: `n -> samples [n, ...]`.
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
        from diagan_plugin.report.dia_sections import add_dia_sections

        diagnosis = self.diagnosis()
        result = {
            "config": "own loop",
            "sampler": self._run.config.RUN.sampler,
            "steps": self.step_count,
            "seed": self._run.seed,
            **self._driver().result(self._run),
        }
        report = Report("Self-diagnosis of a GAN", f"{self.step_count} steps")
        add_dia_sections(report, self._run.dataset, result, diagnosis, seed=self._run.seed)
        report.write(Path(path))
        return Path(path)

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values from which :class:`Dia` continues."""
        self._start()
        return {
            "step": self.step_count,
            "sampler": self.sampler.state_dict(),
            "plugin": self._driver().state(),
            "additions": {n: added.state_dict() for n, added in self._run.additions.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned.

        Raises:
            ValueError: It belongs to another dataset.
        """
        self._run.step = int(state["step"])
        self._start()
        self._driver().load_state(self._run, state["plugin"])
        for name, added in self._run.additions.items():
            added.load_state_dict(state["additions"][name])
        self.sampler.load_state_dict(state["sampler"])

    def _driver(self) -> DiaDriver:
        self._start()
        driver = self._plugin.driver(self._run)
        assert driver is not None
        return driver

    def _start(self) -> None:
        if self._started:
            return
        if self._record == "sweep" and not self._run.is_shown:
            raise ValueError("Call Dia.sweep(discriminator) before the first Dia.step().")
        self._started = True
        self._hooks.models_ready(self._run)
        self._hooks.train_start(self._run)
