"""MIX+GAN: a game of mixtures, whose weights are learned with the networks (Arora et al., 2017).

Arora, Ge, Liang, Ma and Zhang, *Generalization and Equilibrium in Generative Adversarial Nets*,
arXiv:1703.00573, §5; in the notation of Tang (2020), eqs. 4 to 8. Generators have the weights
w = softmax(a), discriminators v = softmax(b); a is trained with the generators and b with the
discriminators, by

    L_D = Σ_j v_j (Σ_i w_i E[fake term of D_j(G_i(z))] + E[real term of D_j(x)]) − λ/n_D Σ_j log v_j
    L_G = Σ_i Σ_j w_i v_j E[generator term of D_j(G_i(z))]                       − λ/n_G Σ_i log w_i

The last terms are smallest for equal weights: without them each player would soon bet everything
on its best network.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.flags import at_least
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.mixtures import mix_gan
from diagan_plugin.remedies.pacgan import plugin as pacgan
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun
    from gan_registry.report.document import Report

NAME = "mix_plus_gan"

OBJECTIVE = "mix_plus"
"""`LOSS.objective` under which the game is played."""


def mixture_entropy_term(shares: Tensor) -> Tensor:
    """Computes −1/n Σ log w for shares w [n] of sum 1; it is smallest, log n, for equal ones.

    It is a scalar with its graph, the cross-entropy of the uniform distribution and the shares.
    """
    return -shares.log().mean()


def is_active(run: LiveRun) -> bool:
    """Whether a run plays MIX+GAN's game."""
    return run.config.LOSS.objective == OBJECTIVE


class MixPlusGanPlugin:
    """MIX+GAN as an objective of the host's, and the hooks that prepare it."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--mix-plus-…`."""
        add = argument_group(
            parser, NAME, "MIX+GAN", f"mixtures with learned weights (LOSS.objective={OBJECTIVE})"
        )
        add("--mix-plus-generators", "generators", type=at_least(int, 1), default=3, metavar="N",
            help="number of generators")  # fmt: skip
        add("--mix-plus-discriminators", "discriminators", type=at_least(int, 1), default=3,
            metavar="N", help="number of discriminators")  # fmt: skip
        add("--mix-plus-entropy", "entropy", type=at_least(float, 0.0), default=1.0,
            metavar="LAMBDA",
            help="weight of the terms that keep the weights apart from 0")  # fmt: skip

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the objective `mix_plus`."""
        catalogs.objectives.register(
            OBJECTIVE, "diagan_plugin.remedies.mixtures.objective:MixPlusObjective"
        )

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses what does not fit the game, and warns of options that do nothing."""
        if not is_active(run):
            warn_of_unused(run, NAME, f"--set LOSS.objective={OBJECTIVE}")
            return
        for other, flag in ((pacgan, "--pacgan"), (mix_gan, "MIX-GAN's --mix-generators")):
            if other.is_active(run):
                raise UserError(
                    f"LOSS.objective={OBJECTIVE} and {flag} both replace the networks: use one."
                )
        if run.config.LOSS.apply_wc:
            raise UserError(
                f"LOSS.apply_wc would clip the weights of the mixture too, which "
                f"LOSS.objective={OBJECTIVE} learns: use LOSS.apply_gp."
            )
        if run.options.get(DIA, {}).get("aux_ratio", False):
            raise UserError(
                "--dia-aux-ratio takes every generated sample for equally frequent, and those of "
                f"LOSS.objective={OBJECTIVE} have weights: leave it out."
            )
        mix_gan.check_batch(
            run, run.options[NAME]["generators"], 1, f"LOSS.objective={OBJECTIVE}"
        )  # each discriminator sees all of a batch

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Puts weighted mixtures in the place of G and D, and their loss in that of the loss."""
        if not is_active(run):
            return
        from diagan_plugin.remedies.mixtures.networks import MixtureGenerator, WeightedDiscriminator
        from diagan_plugin.remedies.mixtures.objective import MixtureLoss

        if run.loss.is_pairwise:
            raise UserError(
                f"LOSS.objective={OBJECTIVE} weights the terms of single samples, and the loss "
                f"{run.config.LOSS.adv_loss!r} is of pairs: use LOSS.adv_loss=logistic."
            )
        options, prior = run.options[NAME], run.config.MODEL.z_prior
        generators = mix_gan.several(run, "generator", options["generators"])
        discriminators = mix_gan.several(run, "discriminator", options["discriminators"])
        generator = MixtureGenerator(generators, prior=prior, learned=True)
        run.generator = generator
        run.discriminator = WeightedDiscriminator(discriminators)
        run.loss = MixtureLoss(run.loss, lambda: generator.shares)

    @hookimpl
    def gan_discriminator_penalty(self, run: LiveRun) -> Tensor | None:
        """Adds the entropy term of v to L_D."""
        return self._entropy(run, "discriminator")

    @hookimpl
    def gan_generator_penalty(self, run: LiveRun) -> Tensor | None:
        """Adds the entropy term of w to L_G."""
        return self._entropy(run, "generator")

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        """Logs the weights."""
        if not is_active(run):
            return
        for letter, network in (("w", run.generator), ("v", run.discriminator)):
            shares: Any = network.shares
            run.log({f"{NAME}/{letter}{i}": s for i, s in enumerate(shares.detach().unbind(), 1)})

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds the weights, and what each generator makes."""
        if not is_active(run):
            return None
        from diagan_plugin.remedies.mixtures.report import mixture_result

        shares: Any = run.discriminator.shares
        weights = {"discriminator_shares": shares.detach().tolist()}
        return {NAME: {**mixture_result(run), **weights}}

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how large the mixtures are."""
        if not is_active(run):
            return None
        options = run.options[NAME]
        generators, discriminators = options["generators"], options["discriminators"]
        share = run.batch_size // generators
        others = (discriminators - 1) * run.samples_per_step * run.total_steps
        return {
            "generators": f"{generators}, {share} samples of a batch each",
            "discriminators": f"{discriminators}, the whole batch each",
            "discriminator_samples": 9 * others,  # of three passes, two of them with backward
        }

    @hookimpl
    def gan_report(self, run: LiveRun, report: Report) -> None:
        """Adds each generator's share and samples."""
        if is_active(run):
            from diagan_plugin.remedies.mixtures.report import add_mixture_section

            add_mixture_section(report, run)

    @staticmethod
    def _entropy(run: LiveRun, network: str) -> Tensor | None:
        weight: float = run.options[NAME]["entropy"]
        if not is_active(run) or not weight:
            return None
        shares: Any = getattr(run, network).shares
        return weight * mixture_entropy_term(shares)
