"""Which of the three trainers a checkout is, and what the adapter expects of it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diagan_plugin.hosts.kit.capabilities import FIRED, Capabilities
from diagan_plugin.hosts.kit.seams import Seam
from gan_registry.errors import UserError

MODULES = ("torch_utils.misc", "torch_utils.training_stats", "training.training_loop", "legacy")
"""What is imported first."""

_OF_LOSSES = {
    f"gan_{network}_{what}"
    for network in ("discriminator", "generator")
    for what in ("weights", "penalty")
}
_OF_PAIRS = "its loss is of pairs, and its logits tell a ratio only up to a constant"

_LOOP = Seam(
    "training_loop.training_loop",
    "run_dir training_set_kwargs data_loader_kwargs G_kwargs D_kwargs loss_kwargs random_seed "
    "num_gpus rank batch_size total_kimg network_snapshot_ticks resume_pkl abort_fn",
    "dnnlib util construct_class_by_name misc InfiniteSampler torch utils data DataLoader copy "
    "deepcopy pickle dump training_stats report0 accumulate_gradients",
)
_SAMPLER = Seam("misc.InfiniteSampler", "dataset rank num_replicas seed")
_STYLE_LOSS = Seam("loss.StyleGAN2Loss.accumulate_gradients", "phase real_img real_c gen_z gain")
_STYLE = (_LOOP, _SAMPLER, _STYLE_LOSS, Seam("loss.StyleGAN2Loss.run_D", "img c"))


@dataclass(frozen=True)
class Trainer:
    """One of the trainers.

    Attributes:
        name: What it is called.
        commit: The commit that the seams were read from, and that the adapter is tested with.
        marks: Files by which a checkout is told.
        seams: What the adapter expects, from :func:`.launcher.looked_at`.
        loss: The loss D is trained with.
        batches: Batches that an iteration reads.
        is_pairwise: Whether D is trained on pairs of a real and a generated sample.
        moves_average: Whether a call of G in training mode moves the average of its latents.
    """

    name: str
    commit: str
    marks: tuple[str, ...]
    seams: tuple[Seam, ...] = _STYLE
    loss: str = "logistic"
    batches: int = 1
    is_pairwise: bool = False
    moves_average: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """The hooks that are fired."""
        if not self.is_pairwise:
            return Capabilities(self.name, FIRED)
        reasons = dict.fromkeys(_OF_LOSSES, _OF_PAIRS)
        return Capabilities(self.name, FIRED - _OF_LOSSES, reasons)


TRAINERS = (
    Trainer(
        "R3GAN", "19a7ddf", ("R3GAN/Trainer.py",),
        (
            _LOOP, _SAMPLER,
            Seam("loss.R3GANLoss.accumulate_gradients", "phase real_img real_c gen_z gamma"),
            Seam("loss.AdversarialTraining.AccumulateDiscriminatorGradients",
                 uses="Generator Discriminator"),
        ),
        loss="relativistic", batches=2, is_pairwise=True,
    ),
    Trainer("stylegan3", "c233a91", ("training/networks_stylegan3.py",)),
    Trainer("stylegan2-ada-pytorch", "d72cc7d", ("training/networks.py",), moves_average=True),
)  # fmt: skip
"""In the order in which a checkout is compared with them."""


def trainer_of(checkout: Path) -> Trainer:
    """Tells which trainer a folder holds.

    Raises:
        UserError: None of them.
    """
    if not checkout.is_dir():
        raise UserError(f"--repo {checkout}: there is no such folder.")
    needed = ("train.py", "legacy.py", "training/training_loop.py")
    for trainer in TRAINERS:
        if all((checkout / name).is_file() for name in (*trainer.marks, *needed)):
            return trainer
    known = ", ".join(trainer.name for trainer in TRAINERS)
    raise UserError(f"--repo {checkout} is no checkout of {known}.")
