"""Mode seeking: G is rewarded for distant samples from distant latents (Mao et al., 2019).

Mao, Lee, Tseng, Ma and Yang, *Mode Seeking Generative Adversarial Networks for Diverse Image
Synthesis*, arXiv:1903.05628. Where modes are missing, latents far apart give samples close
together, so G maximises the ratio of the two distances. As in the published code it minimises

    1 / (mean |G(z₁) − G(z₂)| / mean |z₁ − z₂| + 1e-5).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.flags import at_least
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.timing import CallsInStep, epoch_of
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.live_run import LiveRun
    from gan_registry.records import Fake

NAME = "mode_seeking"


def mode_seeking_term(x1: Tensor, x2: Tensor, z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """Computes the inverse of the ratio of distances between samples and between latents.

    Both distances are mean absolute differences over the batch and all values.

    Args:
        x1: Samples [B, ...], with their graph.
        x2: As many others, made for the same classes.
        z1: Latents of `x1`, [B, ...].
        z2: Latents of `x2`.
        eps: Bounds the result by 1/eps.

    Returns:
        A scalar, in float32 at least; the smaller, the more diverse the samples.

    Raises:
        ValueError: There are no pairs, or shapes differ.
    """
    if x1.shape != x2.shape or z1.shape != z2.shape or len(x1) != len(z1) or not len(x1):
        shapes = [list(part.shape) for part in (x1, x2, z1, z2)]
        raise ValueError(
            "Arguments `x1` and `x2`, `z1` and `z2` must be of equal shapes and hold at least one "
            f"pair, but got {shapes}."
        )
    of_samples = (x1.float() - x2.float()).abs().mean()
    of_latents = (z1.float() - z2.float()).abs().mean()
    # 1/(a/b + eps), written so that nothing divides by a distance of 0.
    return of_latents / (of_samples + eps * of_latents).clamp(min=1e-30)


def mode_seeking_weight(weight: float, increase: float, every: int, epoch: int) -> float:
    """Returns λ in an epoch (from 0): `weight`, and `increase` more after each `every` epochs."""
    return weight + increase * (epoch // every)


class ModeSeekingPlugin:
    """Mode seeking as hooks."""

    def __init__(self) -> None:
        self._drawn = CallsInStep()

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--mode-seeking` and its schedule."""
        add = argument_group(
            parser, NAME, "Mode seeking", "reward G for distant samples from distant latents"
        )
        add("--mode-seeking", "weight", type=at_least(float, 0.0), default=0.0, metavar="LAMBDA",
            help="weight of the term in G's loss, at the start; 0 and no increase leave it "
            "out")  # fmt: skip
        add("--mode-seeking-increase", "increase", type=at_least(float, 0.0), default=0.0,
            metavar="STEP", help="what is added to LAMBDA at regular intervals")  # fmt: skip
        add("--mode-seeking-every", "every", type=at_least(int, 1), default=10, metavar="EPOCHS",
            help="epochs between two increases")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses batches without a pair, and warns of options that do nothing."""
        if not self._is_active(run):
            warn_of_unused(run, NAME, "--mode-seeking")
        elif run.batch_size < 2 * run.world_size:
            raise UserError(
                "--mode-seeking compares two samples of a batch: OPTIMIZATION.batch_size must be "
                f"at least {2 * run.world_size}, but is {run.batch_size}."
            )

    @hookimpl
    def gan_generator_penalty(self, run: LiveRun, fake: Fake) -> Tensor | None:
        """Adds λ times the term to G's loss."""
        options = run.options[NAME]
        weight = mode_seeking_weight(
            options["weight"], options["increase"], options["every"], epoch_of(run)
        )
        if not self._is_active(run) or not weight:
            return None
        term = mode_seeking_term(*self._pairs(run, fake))
        run.log({"mode_seeking/weight": weight, "mode_seeking/term": term.detach()})
        return weight * term

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how λ grows."""
        if not self._is_active(run):
            return None
        options = run.options[NAME]
        schedule = options["weight"], options["increase"], options["every"]
        epochs = run.total_steps * run.samples_per_step // run.sampler.num_samples
        last = mode_seeking_weight(*schedule, epochs)
        return {"λ": f"{options['weight']:g} to {last:.3g}, in {epochs} epochs"}

    def _pairs(self, run: LiveRun, fake: Fake) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns x₁, x₂, z₁, z₂: the halves of the batch, or new samples of the same classes."""
        if fake.y is None:
            half = len(fake.x) // 2
            return fake.x[:half], fake.x[half : 2 * half], fake.z[:half], fake.z[half : 2 * half]
        z = run.latents(len(fake.z), NAME, run.rank, run.step, self._drawn.number(run))
        with run.precision.autocast():
            x = run.generator(z, fake.y).float()
        return fake.x, x, fake.z, z

    @staticmethod
    def _is_active(run: LiveRun) -> bool:
        options = run.options[NAME]
        return bool(options["weight"] or options["increase"])
