"""What every adapter does alike: builds the run, fires the hooks of its life, keeps its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.capabilities import Capabilities, asked_plugins
from diagan_plugin.hosts.loader import StreamLoader
from diagan_plugin.hosts.networks import HostNetworks
from diagan_plugin.hosts.run import HostRun
from diagan_plugin.hosts.settings import PLAIN, Settings
from diagan_plugin.hosts.updates import Updates
from diagan_plugin.loop import LoopDataset
from gan_registry.errors import PluginError, UserError, unknown_name
from gan_registry.evaluation.sources import collect
from gan_registry.plugins import PluginManager
from gan_registry.training.distributed import Group

FORMAT = 1


class Session:
    """One training of a host's, with plugins.

    Args:
        capabilities: The hooks that the adapter fires.
        settings: What was asked for.
        dataset: The host's dataset; an item is `x`, or a tuple or list that begins with `x`.
        batch_size: Samples of a batch in one process.
        total_steps: Generator steps to train.
        updates_per_step: D's updates in a step, each on a batch of its own.
        device: Where networks and batches are.
        num_classes: Number of classes.
        **loading: Arguments of the `DataLoader`, e.g. `num_workers`.

    Attributes:
        run: The run as plugins see it.
        loader: The host's batches.
        updates: Follows its updates.

    Raises:
        UserError: A name is unknown, an option has a value that it cannot have, or a plugin that
            was asked for needs a hook that the adapter does not fire.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        settings: Settings,
        dataset: Any,
        *,
        batch_size: int,
        total_steps: int,
        updates_per_step: int = 1,
        device: torch.device,
        num_classes: int = 1,
        **loading: Any,
    ) -> None:
        plugins = settings.plugins or PluginManager()
        host = capabilities.host
        catalogs = plugins.catalogs
        for catalog, name in ((catalogs.samplers, settings.sampler),
                              (catalogs.losses, settings.loss)):  # fmt: skip
            if name not in catalog:
                raise unknown_name(catalog.kind, name, catalog)
        options = plugins.options.resolve(settings.options, where=f"the options for {host}")
        asked = asked_plugins(
            plugins, options, {"samplers": settings.sampler, "losses": settings.loss}
        )
        capabilities.check(plugins, asked)
        if total_steps < 1:
            raise UserError(f"The adapter for {host} needs total_steps, the steps to train.")
        described = LoopDataset(
            dataset, settings.groups, settings.group_names, settings.value_range
        )
        described.num_classes = num_classes
        group = Group.current()
        config = SimpleNamespace(
            RUN=SimpleNamespace(sampler=settings.sampler, samples=PLAIN, seed=settings.seed),
            DATA=SimpleNamespace(name=described.name),
            MODEL=SimpleNamespace(backbone=host),
            LOSS=SimpleNamespace(adv_loss=settings.loss, objective="adversarial"),
            OPTIMIZATION=SimpleNamespace(
                total_steps=total_steps, batch_size=batch_size * group.world_size,
                d_updates_per_step=updates_per_step, g_updates_per_step=1, acml_steps=1,
            ),
            PLUGINS={},
        )  # fmt: skip
        folder = None if settings.folder is None else Path(settings.folder)
        run = HostRun(
            host, config, plugins, options, asked, dataset=described, total_steps=total_steps,
            batch_size=batch_size * group.world_size, updates_per_step=updates_per_step,
            seed=settings.seed, group=group, device=device, folder=folder,
        )  # fmt: skip
        self.run = run
        self._started = self._ended = False
        run.hooks.build(run)
        run.sampler = catalogs.samplers[settings.sampler](run)
        run.loader = self.loader = StreamLoader(
            dataset, run.sampler, batch_size, rank=group.rank, world_size=group.world_size,
            **loading,
        )  # fmt: skip
        self.updates = Updates(run)

    def networks(self, networks: HostNetworks) -> None:
        """The host's networks exist: fires `gan_models_ready`."""
        run = self.run
        run.backbone = networks
        run.loss = run.plugins.catalogs.losses[run.config.LOSS.adv_loss](networks.realness)
        run.hooks.models_ready(run)

    def start(
        self,
        discriminator: torch.optim.Optimizer,
        generator: torch.optim.Optimizer | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """The optimisers exist: restores a state and fires `gan_train_start`.

        Args:
            discriminator: D's optimiser.
            generator: G's, where the host has one of its own.
            state: What :meth:`state` returned.
        """
        run = self.run
        run.optimizers = {"discriminator": discriminator}
        if generator is not None:
            run.optimizers["generator"] = generator
        if state is not None:
            self.restore(state)
        self._started = True
        run.hooks.train_start(run)

    def step_end(self) -> None:
        """A step is done: fires `gan_step_end`."""
        run = self.run
        run.step += 1
        run.hooks.step_end(run)
        run.new_step()

    def end(self) -> None:
        """Training has ended: fires `gan_train_end`, and writes what plugins tell; once."""
        if self._ended:
            return
        self._ended = True
        run = self.run
        if run.folder is not None and run.rank == 0:
            run.folder.mkdir(parents=True, exist_ok=True)
        run.hooks.train_end(run)
        if run.folder is not None and run.rank == 0:
            self._write_outcome(run.folder)

    def sample(self, n: int, samples: str = PLAIN, seed: int = 0) -> Tensor:
        """Generates samples, corrected by a post-processor.

        Args:
            n: How many.
            samples: Name in the catalog of post-processors; "plain" takes them as they come.
            seed: Distinguishes several draws.

        Returns:
            Samples [n, ...] on the CPU.
        """
        catalog = self.run.plugins.catalogs.postprocessors
        if samples not in catalog:
            raise unknown_name(catalog.kind, samples, catalog)
        return collect(catalog[samples](self.run, seed), n)

    # ------------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """Returns tensors and plain values to go on from; every process calls it."""
        from gan_registry.training.checkpoint import check_plain

        run = self.run
        plugins = run.hooks.state(run)
        for plugin, part in plugins.items():
            check_plain(part, f"The state of plugin {plugin!r}")
        return {
            "format": FORMAT,
            "step": run.step,
            "seed": run.seed,
            "sampler_name": run.config.RUN.sampler,
            "fingerprint": run.fingerprint,
            "position": run.position,
            "sampler": run.sampler.state_dict(),
            "additions": {name: added.state_dict() for name, added in run.additions.items()},
            "plugins": plugins,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned; networks and optimisers must be there.

        Raises:
            UserError: The data or the sampler is another, or parts do not fit.
        """
        run = self.run
        for name, own in (
            ("format", FORMAT),
            ("sampler_name", run.config.RUN.sampler),
            ("fingerprint", run.fingerprint),
        ):
            if state.get(name) != own:
                raise UserError(
                    f"The plugins' state has another {name.replace('_name', '')} "
                    f"({state.get(name)}) than this training ({own}); start anew, or restore it."
                )
        run.step = run.first_step = int(state["step"])
        run.seed = int(state["seed"])
        if self._started:  # a host that goes back: plugins begin anew, and are given their state
            run.additions = {}
            run.hooks.models_ready(run)
        run.hooks.load_state(run, state["plugins"])
        saved = state["additions"]
        for name in sorted(set(saved) ^ set(run.additions)):
            side = "holds" if name in saved else "lacks"
            raise UserError(f"The checkpoint {side} {name!r}; use the options it was made with.")
        try:
            for name, added in run.additions.items():
                added.load_state_dict(saved[name])
            run.sampler.load_state_dict(state["sampler"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"The plugins' state does not fit: {reason}") from error
        run.loader.seek(int(state["position"]))

    def _write_outcome(self, folder: Path) -> None:
        from gan_registry.evaluation.results import write_result
        from gan_registry.report.document import Report

        run = self.run
        result: dict[str, Any] = {}
        for plugin, entries in run.hooks.result(run):
            taken = sorted(set(result) & set(entries))
            if taken:
                raise PluginError(
                    f"Plugin {plugin!r}: gan_result reports {taken[0]!r} a second time."
                )
            result.update(entries)
        described = {
            "config": run.config_name, "sampler": run.config.RUN.sampler, "seed": run.seed,
            "steps": run.step,
        }  # fmt: skip
        write_result(folder, {**described, **result})
        report = Report(
            f"{run.config_name} with the sampler {run.config.RUN.sampler}",
            f"{run.step} steps, seed {run.seed}",
        )
        run.hooks.report(run, report)
        report.write(folder / "report.html")


def optimizer_of(
    network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], name: str
) -> torch.optim.Optimizer:
    """Finds the optimiser that trains a network.

    Raises:
        UserError: None holds its parameters.
    """
    own = {id(parameter) for parameter in network.parameters()}
    for optimizer in optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if own & held:
            return optimizer
    raise UserError(f"None of the optimisers trains {name!r}.")
