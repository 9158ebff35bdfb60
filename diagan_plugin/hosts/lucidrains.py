"""`stylegan2-pytorch` (lucidrains): its own `Trainer`, with the hooks fired around its steps.

::

    trainer = Trainer(…)
    trainer.set_data_src(folder)
    session = attach(trainer, "dia", {"dia": {"k": 3.0}}, total_steps=100_000)
    for _ in range(100_000):
        trainer.train()
    session.end()

A step of the trainer is one function that looks its losses up in its module; during a step they are
this adapter's, and afterwards the module's own again. Its D gives *low* outputs to real images, so
the logit is the output with the other sign.

Importing the package takes a CUDA device and the tracker `aim`; see :func:`import_trainer`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diagan_plugin.hosts.kit.capabilities import FIRED, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, Spy, gaussian
from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.kit.seams import require
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.hosts.kit.state import SUFFIX, read_file, refuse_earlier, write_file
from diagan_plugin.hosts.lucidrains_package import (
    KNOWN,
    LOSS_SEAMS,
    NETWORK_SEAMS,
    TRAINER_SEAMS,
    StyleView,
    import_trainer,
    read_logits,
)
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError
from gan_registry.records import Fake, Real
from gan_registry.seeding import derive_seed

CAPABILITIES = Capabilities("stylegan2-pytorch", FIRED)


def attach(
    trainer: Any,
    sampler: str = "uniform",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    total_steps: int,
    **settings: Any,
) -> Session:
    """Gives a trainer of stylegan2-pytorch's plugins.

    Its loader is replaced by one over the same dataset that draws by `sampler`. The plugins' state
    is kept beside its models (`plugins_N.safetensors` beside `model_N.pt`) and restored by
    `trainer.load`.

    Args:
        trainer: The trainer, after `set_data_src`.
        sampler: How training samples are drawn, e.g. "dia".
        options: Plugin → option → value.
        total_steps: How often `trainer.train()` will be called.
        **settings: More of :class:`diagan_plugin.hosts.kit.settings.Settings`. `folder` is the
            trainer's folder of results by default.

    Returns:
        The training as plugins see it. Call its `end()` after the last step.

    Raises:
        UserError: The trainer differs from what is known, or cannot be joined with what was asked.
    """
    require("stylegan2-pytorch", KNOWN, trainer, TRAINER_SEAMS)
    module = _Globals(type(trainer).train)
    require("stylegan2-pytorch", KNOWN, module, LOSS_SEAMS)
    for option in ("rel_disc_loss", "dual_contrast_loss", "top_k_training", "is_ddp", "fp16"):
        if getattr(trainer, option):
            raise UserError(
                f"The adapter for stylegan2-pytorch does not support Trainer({option}=True)."
            )
    if getattr(trainer, "dataset", None) is None:
        raise UserError("Call trainer.set_data_src(folder) first.")
    if trainer.GAN is None:
        trainer.init_GAN()
    require("stylegan2-pytorch", KNOWN, trainer.GAN, NETWORK_SEAMS)
    chosen = {"value_range": (0.0, 1.0), "folder": Path(trainer.results_dir) / trainer.name}
    given = Settings(
        sampler=sampler, options=options or {}, loss="hinge", total_steps=total_steps,
        **{**chosen, **settings},
    )  # fmt: skip
    return _Adapter(trainer, module, given).session


class _Globals:
    """The names that a function looks up, as attributes."""

    def __init__(self, function: Any) -> None:
        vars(self)["names"] = function.__globals__

    def __getattr__(self, name: str) -> Any:
        try:
            return self.names[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.names[name] = value


class _Adapter:
    """What happens at each seam."""

    def __init__(self, trainer: Any, module: Any, settings: Settings) -> None:
        self.trainer = trainer
        self.module = module
        gan = trainer.GAN
        workers = trainer.num_workers
        self.session = Session(
            CAPABILITIES, settings, trainer.dataset, batch_size=trainer.batch_size,
            total_steps=int(settings.total_steps or 0), device=next(gan.D.parameters()).device,
            num_workers=multiprocessing.cpu_count() if workers is None else workers,
        )  # fmt: skip
        run = self.session.run
        accumulated = trainer.gradient_accumulate_every
        run.samples_per_step = run.batch_size * accumulated
        run.config.OPTIMIZATION.acml_steps = accumulated
        self._spies: list[Spy] = []
        self._latents: list[Tensor] = []
        self._fake: Fake | None = None
        self._is_stepping = False
        self._started = False
        self._networks()
        trainer.loader = self._batches()
        patches = Patches()
        for name, replacement in (("train", self.train), ("save", self.save), ("load", self.load)):
            patches.around(trainer, name, replacement)

    def _networks(self) -> None:
        """Shows plugins the networks that the trainer has now."""
        gan, seed = self.trainer.GAN, derive_seed(self.session.run.seed, "image noise")
        views = [StyleView(gan.S, gan.G, seed), StyleView(gan.SE, gan.GE, seed)]
        networks = HostNetworks(
            views[0], NetworkView(gan.D), gaussian(gan.G.latent_dim),
            read=read_logits, average=views[1],
        )  # fmt: skip
        if self._started:  # they are others, of the same form
            self.session.run.backbone = networks
            self.session.run.optimizers = {"discriminator": gan.D_opt, "generator": gan.G_opt}
        else:
            self.session.networks(networks)
        for spy in self._spies:
            spy.remove()
        self._spies = [Spy(gan.S, self._mapped), Spy(gan.G, self._generated)]
        own = gan.D_opt

        def stepped(optimizer: Any, *_: Any) -> None:
            if optimizer is own and self._is_stepping:
                self.session.updates.stepped()

        own.register_step_post_hook(stepped)

    def _start(self, state: Mapping[str, Any] | None) -> None:
        gan = self.trainer.GAN
        if self._started:
            if state is not None:
                self.session.restore(state)
            return
        self.session.start(gan.D_opt, gan.G_opt, state)
        self._started = True

    def _batches(self) -> Iterator[Tensor]:
        while True:
            yield from self.session.loader

    # ------------------------------------------------------------------ seams

    def train(self, original: Callable[[], None]) -> None:
        """Trains one step."""
        self._start(None)
        module = self.module
        own = module.hinge_loss, module.gen_hinge_loss
        self._is_stepping = True
        try:
            module.hinge_loss = lambda fake, real: self._discriminator_loss(own[0], fake, real)
            module.gen_hinge_loss = lambda fake, real: self._generator_loss(own[1], fake, real)
            original()
            self._end_step()
        finally:
            module.hinge_loss, module.gen_hinge_loss = own
            self._is_stepping = False
            self._fake = None
            self._latents = []
            self.session.updates.abandon()

    def save(self, original: Callable[..., None], num: int) -> None:
        """Writes the plugins' state beside a model; the trainer saves at the end of a step."""
        self._end_step()
        original(num)
        if not self._started:
            return
        write_file(self._path(num), self.session.state())

    def load(self, original: Callable[..., None], num: int = -1) -> None:
        """Loads a model, for which the trainer builds its networks anew, and the plugins' state."""
        self._is_stepping = False
        original(num)
        trainer = self.trainer
        self._networks()
        number = trainer.steps // trainer.save_every if num == -1 else num
        path = self._path(number)
        afresh = "load the model before attach(…), and plugins start afresh"
        try:
            state = read_file(path, afresh)
        except FileNotFoundError:
            refuse_earlier(path.with_suffix(".pt"), afresh)
            if Path(trainer.model_name(number)).exists():
                raise UserError(
                    f"{trainer.model_name(number)} was saved without plugins: {path} is missing. "
                    "Load it before attach(…), and plugins start afresh."
                ) from None
        else:
            self._start(state)

    def _end_step(self) -> None:
        if self._is_stepping:
            self._is_stepping = False
            self.session.step_end()

    def _path(self, num: int) -> Path:
        return Path(self.trainer.model_name(num)).with_name(f"plugins_{num}{SUFFIX}")

    # ------------------------------------------------------------------ what passes by

    def _mapped(self, args: tuple[Any, ...], output: Any) -> None:
        if self._is_stepping:
            self._latents.append(args[0].detach())

    def _generated(self, args: tuple[Any, ...], output: Tensor) -> None:
        if self._is_stepping and self._latents:
            # Two latents each, where styles are mixed.
            self._fake = Fake(output, torch.cat(self._latents, 1))
            self._latents = []

    def _discriminator_loss(
        self, own: Callable[..., Tensor], fake_out: Tensor, real_out: Tensor
    ) -> Tensor:
        session, fake = self.session, self._fake
        if not self._is_stepping or fake is None:
            return own(fake_out, real_out)
        x = to_device(session.loader.batch, session.run.device)
        return session.updates.discriminator_loss(
            lambda: own(fake_out, real_out), Real(session.loader.indices, x), fake,
            real_out, fake_out,
        )  # fmt: skip

    def _generator_loss(
        self, own: Callable[..., Tensor], fake_out: Tensor, real_out: Tensor | None
    ) -> Tensor:
        if not self._is_stepping or self._fake is None:
            return own(fake_out, real_out)
        return self.session.updates.generator_loss(
            lambda: own(fake_out, real_out), self._fake, fake_out
        )


__all__ = ["CAPABILITIES", "attach", "import_trainer"]
