"""Lightning: a callback and a data module, for a module that trains its GAN by manual optimisation.

The callback watches the module's networks. A batch that D sees is either the batch of the step or
what G made just before; when D's optimiser steps, an update is done. What plugins weight acts on
the gradient of D's output: for a loss that is a mean of per-sample terms, as all usual ones are,
that is the weighted loss. Nothing can be added to a loss that the module computes for itself.

Lightning is looked for when :class:`DiaCallback` is first asked for, and its version is read before
anything of it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from diagan_plugin.hosts.kit.capabilities import FIRED, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, LogitView, NetworkView
from diagan_plugin.hosts.kit.session import Session, optimizer_of
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.hosts.lightning_package import find_lightning
from diagan_plugin.hosts.lightning_watch import Watch
from gan_registry.backbones.base import realness
from gan_registry.errors import UserError

_REASONS = dict.fromkeys(
    ("gan_discriminator_penalty", "gan_generator_penalty"), "the module computes its loss itself"
)
CAPABILITIES = Capabilities("Lightning", FIRED - set(_REASONS), _REASONS)

if TYPE_CHECKING:
    DiaCallback: Any
    IndexedDataModule: Any


class CallbackMethods:
    """What :class:`DiaCallback` adds to Lightning's `Callback`.

    Args:
        sampler: How training samples are drawn, e.g. "dia".
        options: Plugin → option → value, e.g. `{"dia": {"k": 1.0}}`.
        generator: Attribute of the module that is G.
        discriminator: Attribute of the module that is D.
        read: Reads one logit per sample, [B], from D's output; higher for more real. A sigmoid
            module at D's end is seen and need not be told.
        latent: `(n, generator, device) -> latents` for plugins that generate; standard Gaussian of
            the width that G was seen to take, by default.
        conditional: Whether both networks take labels as a second argument.
        num_classes: Number of classes.
        **settings: More of :class:`diagan_plugin.hosts.kit.settings.Settings`: `loss`, `seed`,
            `total_steps`, `groups`, `group_names`, `value_range`, `folder`, `plugins`.

    Attributes:
        session: The training as plugins see it, from the beginning of `fit` on.

    Raises:
        TypeError: A setting is unknown.
    """

    def __init__(
        self,
        sampler: str = "uniform",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        generator: str = "generator",
        discriminator: str = "discriminator",
        read: Callable[[Any], Tensor] = realness,
        latent: Callable[..., Tensor] | None = None,
        conditional: bool = False,
        num_classes: int = 1,
        **settings: Any,
    ) -> None:
        self.settings = Settings(sampler=sampler, options=options or {}, **settings)
        self.names = {"generator": generator, "discriminator": discriminator}
        self.session: Session | None = None
        self._read = read
        self._latent = latent
        self._conditional = conditional
        self._num_classes = num_classes
        self._watch: Watch | None = None
        self._state: Mapping[str, Any] | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Builds the run: networks are on the device, processes are joined."""
        data = trainer.datamodule
        if not isinstance(data, DataMethods):
            raise UserError(
                "DiaCallback draws the training samples: give trainer.fit(…, datamodule="
                "IndexedDataModule(dataset, batch_size=…))."
            )
        if pl_module.automatic_optimization:
            raise UserError(
                "DiaCallback needs manual optimisation, as Lightning does for a GAN: set "
                "self.automatic_optimization = False in the module."
            )
        networks = []
        for role, name in self.names.items():
            network = getattr(pl_module, name, None)
            if not isinstance(network, torch.nn.Module):
                raise UserError(
                    f"{type(pl_module).__name__} has no network {name!r}; say which it is: "
                    f"DiaCallback({role}='…')."
                )
            networks.append(network)
        generator, discriminator = networks
        self.close()
        session = Session(
            CAPABILITIES, self.settings, data.dataset, batch_size=data.batch_size,
            total_steps=_total_steps(trainer, data, self.settings), device=pl_module.device,
            num_classes=self._num_classes, **data.loading,
        )  # fmt: skip
        data.loader = session.loader
        watch = Watch(session, generator, discriminator)
        session.networks(
            HostNetworks(
                NetworkView(generator, self._conditional),
                LogitView(discriminator, self._conditional),
                self._latent or watch.latent,
                read=self._read, conditional=self._conditional, num_classes=self._num_classes,
            )
        )  # fmt: skip
        self.session, self._watch = session, watch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Optimisers and a resumed state are in place."""
        assert self.session is not None
        assert self._watch is not None
        found = {
            role: optimizer_of(getattr(pl_module, name), trainer.optimizers, name)
            for role, name in self.names.items()
        }
        self.session.start(found["discriminator"], found["generator"], self._state)
        self._state = None
        self._watch.follow(found["discriminator"])

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step begins."""
        assert self.session is not None
        assert self._watch is not None
        self._watch.begin(batch, self.session.loader.indices)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done."""
        assert self.session is not None
        assert self._watch is not None
        self._watch.end(type(pl_module).__name__)
        self.session.step_end()
        run = self.session.run
        numbers = {k: float(v) for k, v in run.take_log().items() if isinstance(v, (int, float))}
        if numbers:
            pl_module.log_dict(numbers)
        if run.stopped is not None:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Training has ended."""
        if self.session is not None:
            self.session.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """An exception has ended the training."""
        if self._watch is not None and self._watch.is_following:
            self.on_train_end(trainer, pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leaves the module as it was."""
        self.close()

    def close(self) -> None:
        """Stops watching the networks."""
        if self._watch is not None:
            self._watch.close()
        self._watch = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the plugins' part of Lightning's checkpoint."""
        return {} if self.session is None else self.session.state()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Keeps it until the training starts."""
        self._state = dict(state_dict) or None


class DataMethods:
    """What :class:`IndexedDataModule` adds to Lightning's `LightningDataModule`.

    It gives the batches that a `DataLoader` over the dataset would, drawn by the callback's
    sampler. Processes share them out by themselves, and Lightning, which replaces samplers of
    `DataLoader` objects only, shards nothing a second time.

    Args:
        dataset: A map-style dataset; an item is `x`, or a tuple that begins with `x`.
        batch_size: Samples of a batch in one process.
        **loading: More arguments of the `DataLoader`, e.g. `num_workers`, `collate_fn`.

    Raises:
        TypeError: An argument would say a second time how samples are drawn.
    """

    def __init__(self, dataset: Any, batch_size: int, **loading: Any) -> None:
        super().__init__()
        for name in ("shuffle", "sampler", "batch_sampler", "drop_last"):
            if name in loading:
                raise TypeError(
                    f"IndexedDataModule takes no argument {name!r}: the callback draws."
                )
        self.dataset = dataset
        self.batch_size = batch_size
        self.loading = loading
        self.loader: Any = None

    def train_dataloader(self) -> Any:
        """Returns the batches; without a callback those of a plain, shuffled loader."""
        if self.loader is None:
            return DataLoader(
                self.dataset, self.batch_size, shuffle=True, drop_last=True, **self.loading
            )
        return self.loader


def _total_steps(trainer: Any, data: DataMethods, settings: Settings) -> int:
    """Works out how many batches will be trained on.

    Lightning's `max_steps` counts the steps of all optimisers, hence is divided by their number.
    """
    if settings.total_steps is not None:
        return settings.total_steps
    batches = max(len(data.dataset) // (data.batch_size * trainer.world_size), 1)
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    bounds = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        bounds.append(batches * trainer.max_epochs)
    if trainer.max_steps >= 0:
        bounds.append(trainer.max_steps // max(len(trainer.optimizers), 1))
    if not bounds:
        raise UserError(
            "The trainer has neither max_epochs nor max_steps: say how long it will train, "
            "DiaCallback(total_steps=…)."
        )
    return int(min(bounds))


def __getattr__(name: str) -> Any:
    """Makes the two classes when one of them is first asked for, as they derive from Lightning's.

    Raises:
        AttributeError: There is no such name.
        UserError: Lightning cannot be used.
    """
    bases = {
        "DiaCallback": (CallbackMethods, "Callback"),
        "IndexedDataModule": (DataMethods, "LightningDataModule"),
    }
    if name not in bases:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    methods, base = bases[name]
    made = type(
        name, (methods, getattr(find_lightning(), base)),
        {"__module__": __name__, "__qualname__": name, "__doc__": methods.__doc__},
    )  # fmt: skip
    globals()[name] = made
    return made


__all__ = ["CAPABILITIES", "DiaCallback", "IndexedDataModule", "find_lightning"]
