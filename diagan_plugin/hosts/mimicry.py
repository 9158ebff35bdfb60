"""mimicry (`torch-mimicry`): its own `Trainer`, with the hooks fired at the seams of one instance.

::

    trainer = Trainer(netD=…, netG=…, optD=…, optG=…, dataloader=…, num_steps=…)
    session = attach(trainer, "dia", {"dia": {"k": 0.3}})
    trainer.train()

Nothing of the package is replaced: only attributes of this trainer, its networks, its scheduler and
its logger, all of which are checked before the first one is.

The package is abandoned, and its `__init__` imports tensorflow and `torch._six`, which torch no
longer has; :func:`import_mimicry` imports its modules without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diagan_plugin.hosts.kit.capabilities import FIRED, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.kit.seams import require
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.hosts.kit.state import SUFFIX, read_file, refuse_earlier, write_file
from diagan_plugin.hosts.mimicry_package import KNOWN, TRAINER_SEAMS, import_mimicry
from gan_registry.errors import UserError
from gan_registry.records import Fake, Real

CAPABILITIES = Capabilities("mimicry", FIRED)

LOSSES = {"gan": "minimax", "ns": "logistic", "hinge": "hinge", "wasserstein": "wasserstein"}
"""mimicry's `loss_type` → the name here."""


def attach(
    trainer: Any,
    sampler: str = "uniform",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Session:
    """Gives a trainer of mimicry's plugins.

    Its loader is replaced by one over the same dataset that draws by `sampler`. The plugins' state
    is kept beside mimicry's checkpoints and restored with them; what plugins have found is written
    to `log_dir`.

    Args:
        trainer: The trainer, not yet run.
        sampler: How training samples are drawn, e.g. "dia".
        options: Plugin → option → value.
        **settings: More of :class:`diagan_plugin.hosts.kit.settings.Settings`. `loss`,
            `total_steps` and `folder` are the trainer's own by default.

    Returns:
        The training as plugins see it.

    Raises:
        UserError: The trainer differs from what is known, or cannot be joined with what was asked.
    """
    require("mimicry", KNOWN, trainer, TRAINER_SEAMS)
    kind = trainer.netG.loss_type
    if kind not in LOSSES:
        raise UserError(f"mimicry's loss_type {kind!r} has no counterpart here.")
    chosen = {"loss": LOSSES[kind], "total_steps": trainer.num_steps, "folder": trainer.log_dir}
    given = Settings(sampler=sampler, options=options or {}, **{**chosen, **settings})
    return _Adapter(trainer, given).session


class _Adapter:
    """What happens at each seam."""

    def __init__(self, trainer: Any, settings: Settings) -> None:
        self.trainer = trainer
        loader, generator = trainer.dataloader, trainer.netG
        classes = int(getattr(generator, "num_classes", 0) or 0)
        loading = {
            name: getattr(loader, name, None)
            for name in ("num_workers", "collate_fn", "pin_memory")
        }
        self.session = Session(
            CAPABILITIES, settings, loader.dataset, batch_size=loader.batch_size,
            total_steps=int(settings.total_steps or 0), updates_per_step=trainer.n_dis,
            device=torch.device(trainer.device), num_classes=max(classes, 1),
            **{name: value for name, value in loading.items() if value is not None},
        )  # fmt: skip
        self.session.networks(
            HostNetworks(
                NetworkView(generator, classes > 0), NetworkView(trainer.netD, classes > 0),
                gaussian(generator.nz), conditional=classes > 0, num_classes=max(classes, 1),
            )
        )  # fmt: skip
        self._real: Real | None = None
        self._fake: Fake | None = None
        self._z: Tensor | None = None
        self._is_training = False
        trainer.dataloader = self.session.loader
        patches = Patches()
        for owner, name, replacement in (
            (trainer, "_restore_models_and_step", self.restore),
            (trainer, "_save_model_checkpoints", self.save),
            (trainer.netD, "train_step", self.train_discriminator),
            (trainer.netD, "compute_gan_loss", self.discriminator_loss),
            (generator, "forward", self.forward_generator),
            (generator, "generate_images", self.generate),
            (generator, "train_step", self.train_generator),
            (generator, "compute_gan_loss", self.generator_loss),
            (trainer.scheduler, "step", self.step_done),
            (trainer.logger, "close_writers", self.end),
        ):
            patches.around(owner, name, replacement)

    def restore(self, original: Callable[[], int]) -> int:
        """Goes on: mimicry has loaded its checkpoint, if there is one; training begins."""
        step = original()
        trainer, state = self.trainer, None
        if step:
            path = self._path(step)
            try:
                state = read_file(path, "train into another log_dir")
            except FileNotFoundError:
                refuse_earlier(path.with_suffix(".pth"), "train into another log_dir")
                raise UserError(
                    f"mimicry goes on from step {step}, but the plugins' state {path} is missing; "
                    "train into another log_dir."
                ) from None
        self._is_training = True
        self.session.start(trainer.optD, trainer.optG, state)
        own = trainer.optD

        def stepped(optimizer: Any, *_: Any) -> None:
            if optimizer is own:
                self.session.updates.stepped()

        own.register_step_post_hook(stepped)
        return step

    def save(self, original: Callable[..., None], global_step: int) -> None:
        """Writes the plugins' state beside mimicry's checkpoints."""
        original(global_step)
        write_file(self._path(global_step), self.session.state())

    def train_discriminator(self, original: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Trains D on the batch that was read last."""
        batch = given["real_batch"] if "real_batch" in given else args[0]
        self._real = Real(self.session.loader.indices, batch[0], batch[1])
        try:
            return original(*args, **given)
        finally:
            self._real = None
            self.session.updates.abandon()

    def discriminator_loss(
        self, original: Callable[..., Tensor], output_real: Tensor, output_fake: Tensor, **rest: Any
    ) -> Tensor:
        """Computes D's adversarial loss."""

        def own() -> Tensor:
            return original(output_real=output_real, output_fake=output_fake, **rest)

        real, fake = self._real, self._fake
        if real is None or fake is None:  # not an update of training
            return own()
        return self.session.updates.discriminator_loss(own, real, fake, output_real, output_fake)

    def forward_generator(self, original: Callable[..., Any], x: Tensor, *rest: Any) -> Any:
        """Notes the latents."""
        self._z = x
        return original(x, *rest)

    def generate(self, original: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Notes what was generated; a conditional generator gives labels, too."""
        made = original(*args, **given)
        if self._is_training and self._z is not None:
            x, y = made if isinstance(made, tuple) else (made, None)
            self._fake = Fake(x, self._z, y)
        return made

    def train_generator(self, original: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Trains G."""
        result = original(*args, **given)
        self._fake = self._z = None  # and with them the graph
        return result

    def generator_loss(
        self, original: Callable[..., Tensor], output: Tensor, **rest: Any
    ) -> Tensor:
        """Computes G's adversarial loss."""
        fake = self._fake

        def own() -> Tensor:
            return original(output, **rest)

        if fake is None or not self._is_training:
            return own()
        return self.session.updates.generator_loss(own, fake, output)

    def step_done(self, original: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Ends a step, which mimicry has counted; what plugins log joins its log line."""
        session = self.session
        session.step_end()
        log = original(*args, **given)
        for name, value in session.run.take_log().items():
            if isinstance(value, (int, float)):
                log.add_metric(name, float(value), group="plugins")
        if session.run.stopped is not None:
            raise KeyboardInterrupt(session.run.stopped)  # which mimicry ends in good order
        return log

    def end(self, original: Callable[[], None]) -> None:
        """Training has ended, after the last step or by an exception."""
        self._is_training = False
        try:
            self.session.end()
        finally:
            original()

    def _path(self, step: int) -> Path:
        folder = Path(self.trainer.log_dir) / "checkpoints" / "plugins"
        return folder / f"plugins_{step}_steps{SUFFIX}"


__all__ = ["CAPABILITIES", "attach", "import_mimicry"]
