"""What every adapter does alike: builds the run, fires the hooks of its life, keeps its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.capabilities import Capabilities
from diagan_plugin.hosts.kit.config import host_config
from diagan_plugin.hosts.kit.dataset import AbsentDataset, HostDataset
from diagan_plugin.hosts.kit.loader import StreamLoader
from diagan_plugin.hosts.kit.networks import HostNetworks
from diagan_plugin.hosts.kit.outcome import write_plugins_result, write_report
from diagan_plugin.hosts.kit.run import HostRun
from diagan_plugin.hosts.kit.settings import PLAIN, Settings
from diagan_plugin.hosts.kit.state import FORMAT, check_state, collect_state, restore_parts
from diagan_plugin.hosts.kit.updates import Updates
from gan_registry.errors import UserError, unknown_name
from gan_registry.evaluation.sources import collect
from gan_registry.integrity import DamagedError
from gan_registry.plugins import PluginManager, asked_plugins
from gan_registry.training.distributed import Group
from gan_registry.training.lock import held_folder


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
        run_class: What plugins see.
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
        run_class: type[HostRun] = HostRun,
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
        chosen = [("samplers", settings.sampler), ("losses", settings.loss)]
        asked = asked_plugins(plugins, options, chosen)
        capabilities.check(plugins, asked)
        if total_steps < 1:
            raise UserError(f"The adapter for {host} needs total_steps, the steps to train.")
        described = (
            dataset
            if isinstance(dataset, AbsentDataset)
            else HostDataset(
                dataset, settings.groups, settings.group_names, settings.value_range, num_classes
            )
        )
        group = Group.current()
        shape = described.sample_shape
        data = {"img_size": shape[-1]} if described.kind == "image" else {}
        config = host_config({
            "RUN": {"sampler": settings.sampler, "samples": PLAIN, "seed": settings.seed},
            "DATA": {"name": described.name, "num_classes": num_classes, **data},
            "MODEL": {"backbone": host},
            "LOSS": {"adv_loss": settings.loss, "objective": "adversarial"},
            "OPTIMIZATION": {
                "total_steps": total_steps, "batch_size": batch_size * group.world_size,
                "d_updates_per_step": updates_per_step, "g_updates_per_step": 1, "acml_steps": 1,
            },
        })  # fmt: skip
        folder = None if settings.folder is None else Path(settings.folder)
        run = run_class(
            host, config, plugins, options, asked, total_steps=total_steps,
            batch_size=batch_size * group.world_size, batches_per_step=updates_per_step,
            seed=settings.seed, group=group, device=device, folder=folder,
        )  # fmt: skip
        run.dataset = described
        self.run = run
        self._started = self._ended = False
        self._held = ExitStack()  # one that never ends lets go of the folder with its process
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
        self._held.enter_context(held_folder(run.folder, run.group))
        if state is not None:
            self.restore(state)
        self._started = True
        run.hooks.train_start(run)

    def step_end(self) -> None:
        """A step is done: fires `gan_step_end`."""
        run = self.run
        run.step += 1
        run.hooks.step_end(run)
        run.health.step_end()
        run.new_step()

    def end(self) -> None:
        """Training has ended: fires `gan_train_end`, and writes what plugins tell; once."""
        if self._ended:
            return
        self._ended = True
        run = self.run
        with self._held:
            if run.folder is not None and run.rank == 0:
                run.folder.mkdir(parents=True, exist_ok=True)
            run.hooks.train_end(run)
            if run.folder is not None and run.rank == 0:
                write_plugins_result(run, run.folder, run.hooks.result(run))
                write_report(run, run.folder)

    def sample(self, n: int, samples: str = PLAIN, seed: int = 0) -> Tensor:
        """Generates samples, corrected by a post-processor.

        Args:
            n: How many.
            samples: Name in the catalog of post-processors; "plain" takes them as they come.
            seed: Distinguishes several draws.

        Returns:
            Samples [n, ...] on the CPU.
        """
        return collect(self.run.plugins.catalogs.postprocessors[samples](self.run, seed), n)

    # ------------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """Returns tensors and plain values to go on from; every process calls it."""
        return collect_state(self.run)

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
        try:
            check_state(state)
        except DamagedError as error:
            raise UserError(f"The plugins' state {error}; start anew, or restore it.") from error
        run.step = run.first_step = int(state["step"])
        run.seed = int(state["seed"])
        if self._started:  # a host that goes back: plugins begin anew, and are given their state
            run.additions = {}
            run.hooks.models_ready(run)
        restore_parts(run, state)
        run.loader.seek(int(state["position"]))


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
