"""Top-k training: G learns from its most realistic samples only (Sinha et al., 2020).

Sinha, Zhao, Goyal, Raffel and Odena, *Top-k Training of GANs: Improving GAN Performance by Throwing
Away Bad Samples*, arXiv:2002.06224: on samples far from every mode, D's gradient often points away
from the nearest one, so that leaving them out of G's update makes the average step better. Early in
the training D's opinion is worth little, and all samples count.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.options import follows_published_code
from diagan_plugin.flags import AUTO, share
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.timing import DISCRIMINATOR, GENERATOR, epoch_of
from diagan_plugin.unused import warn_of_unused
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun

NAME = "top_k"


def top_k_share(epoch: int, gamma: float = 0.99, nu: float = 0.5) -> float:
    """Returns the share of a batch that counts in an epoch, max(γ^epoch, ν).

    Args:
        epoch: Epochs done, from 0.
        gamma: Factor of each epoch, in (0, 1].
        nu: Smallest share, in (0, 1].

    Raises:
        ValueError: An argument is out of range.
    """
    for name, value in (("gamma", gamma), ("nu", nu)):
        if not 0.0 < value <= 1.0:
            raise ValueError(f"Argument `{name}` must be in (0, 1], but got {value}.")
    if epoch < 0:
        raise ValueError(f"Argument `epoch` must be at least 0, but got {epoch}.")
    return float(max(gamma**epoch, nu))


def top_k_weights(logits: Tensor, share: float) -> Tensor:
    """Weights G's terms so that their weighted mean is the mean of the k most realistic ones.

    Args:
        logits: Realness as D sees it, [B]. NaN ranks last.
        share: Share that counts, in (0, 1]; k is share · B rounded down, and at least 1.

    Returns:
        B/k for the k largest logits, 0 for the others, [B] in their dtype; of equal logits exactly
        as many count as there is room for.

    Raises:
        ValueError: `share` is out of range or `logits` is not one-dimensional.
    """
    if logits.ndim != 1:
        raise ValueError(f"Argument `logits` must be [B], but got {list(logits.shape)}.")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"Argument `share` must be in (0, 1], but got {share}.")
    weights, size = logits.detach().new_zeros(logits.shape), len(logits)
    if size == 0:
        return weights
    k = max(int(share * size + 1e-9), 1)  # 0.57 · 100 is just below 57 in floating point
    # torch takes NaN for the largest number of all.
    ranked = logits.detach().float().nan_to_num(float("-inf"), float("inf"), float("-inf"))
    return weights.scatter_(0, ranked.topk(k, sorted=False).indices, size / k)


class TopKPlugin:
    """Top-k training as hooks."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--top-k` and what belongs to it."""
        add = argument_group(parser, NAME, "Top-k", "train G on its most realistic samples only")
        add("--top-k", "enabled", action="store_true", default=False,
            help="leave the least realistic samples of each batch out of G's update")  # fmt: skip
        add("--top-k-gamma", "gamma", type=share, default=0.99, metavar="GAMMA",
            help="factor of the share that counts, each epoch")  # fmt: skip
        add("--top-k-nu", "nu", type=share, default=0.5, metavar="SHARE", help="smallest share")
        add("--top-k-epochs", "epochs", choices=(AUTO, DISCRIMINATOR, GENERATOR), default=AUTO,
            help="whose samples count for an epoch")  # fmt: skip

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Takes StudioGAN's keys."""
        catalogs.claim("LOSS.apply_topk", f"{NAME}.enabled")
        catalogs.claim("LOSS.topk_gamma", f"{NAME}.gamma")
        catalogs.claim("LOSS.topk_nu", f"{NAME}.nu")

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Warns of options that do nothing."""
        if not run.options[NAME]["enabled"]:
            warn_of_unused(run, NAME, "--top-k")

    @hookimpl
    def gan_generator_weights(self, run: LiveRun, logits: Tensor) -> Tensor | None:
        """Weights the k most realistic samples with B/k."""
        options = run.options[NAME]
        if not options["enabled"]:
            return None
        part = top_k_share(epoch_of(run, by=_epochs_by(run)), options["gamma"], options["nu"])
        run.log({"top_k/share": part})
        return top_k_weights(logits, part)

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says which share will count at the end."""
        options = run.options[NAME]
        if not options["enabled"]:
            return None
        epochs = epoch_of(run, run.total_steps, by=_epochs_by(run))
        last = top_k_share(epochs, options["gamma"], options["nu"])
        return {"share that counts": f"1 to {last:.3g}, in {epochs} epochs"}


def _epochs_by(run: LiveRun) -> str:
    """Returns whose samples count for an epoch: G's in the published code of Dia-GAN, else D's."""
    chosen: str = run.options[NAME]["epochs"]
    if chosen != AUTO:
        return chosen
    return GENERATOR if follows_published_code(run.options) else DISCRIMINATOR
