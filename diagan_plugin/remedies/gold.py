"""GOLD: generated samples weighted by the gap of log-densities (Mo et al., 2019).

Mo, Kim, Kim, Cho and Shin, *Mining GOLD Samples for Conditional GANs*, arXiv:1910.09170. The gap of
a generated sample x of class c is

    log p_data(x)/p_g(x)  +  log p_data(c | x)/p_g(c | x)   ≈   l(x) + log C(c | x),

with D's logit l and the class probabilities C of an auxiliary classifier; p_g(c | x) is taken to be
1, as x was made for c. Self-Diagnosing GAN compares with the unconditional form, without the second
term. Both published codes multiply the fake terms of *D's* loss by the gap, late in the training;
the text of the second paper speaks of G's. A gap below 0 turns a term's sign, which is published
too, but rewards D for taking the sample for real.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.flags import AUTO, or_auto, share_of_steps
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.timing import phase1_end
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.live_run import LiveRun
    from gan_registry.records import Fake

NAME = "gold"
CLAMPS = ("zero", "none")
_STATE_VERSION = 1


def gold_weights(
    logits: Tensor,
    class_logits: Tensor | None = None,
    y: Tensor | None = None,
    *,
    clamp: str = "zero",
    eps: float = 1e-6,
) -> Tensor:
    """Computes the gap of log-densities of generated samples.

    Args:
        logits: log p_data/p_g of each sample, [B].
        class_logits: An auxiliary classifier's logits, [B, C]; None for the unconditional form. A
            projection discriminator's logit is conditional already.
        y: The classes the samples were made for, int64 [B]; with `class_logits` only.
        clamp: "zero" raises weights below 0 to it; "none" leaves them, as published.
        eps: Added to class probabilities, so that the gap stays above log eps (Mo's code: 1e-6).

    Returns:
        Weights [B], detached, in the dtype of `logits`. NaN stays NaN: a discriminator that has
        diverged is to be noticed.

    Raises:
        ValueError: `clamp` is unknown, shapes do not fit, or there are class logits, but no `y`.
    """
    if clamp not in CLAMPS:
        raise ValueError(f"Argument `clamp` must be one of {CLAMPS}, but got {clamp!r}.")
    if logits.ndim != 1:
        raise ValueError(f"Argument `logits` must be [B], but got {list(logits.shape)}.")
    gap = logits.detach()
    if class_logits is not None:
        if class_logits.ndim != 2 or len(class_logits) != len(logits):
            raise ValueError(
                f"Argument `class_logits` must be [{len(logits)}, C], but got "
                f"{list(class_logits.shape)}."
            )
        if y is None:
            raise ValueError("Argument `y` must be given together with `class_logits`.")
        probability = class_logits.detach().float().softmax(1).gather(1, y[:, None]).squeeze(1)
        gap = (gap.float() + (probability + eps).log()).to(logits.dtype)
    return gap.clamp(min=0.0) if clamp == "zero" else gap


def class_logits_of(output: Any) -> Tensor | None:
    """Returns the class logits [B, C] in D's raw output ("cls_output"), or None."""
    return output.get("cls_output") if isinstance(output, Mapping) else None


class GoldPlugin:
    """GOLD as hooks; what has begun keeps its beginning when a run is continued for longer."""

    def __init__(self) -> None:
        self._starts: weakref.WeakKeyDictionary[LiveRun, int] = weakref.WeakKeyDictionary()

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--gold` and what belongs to it."""
        add = argument_group(
            parser, NAME, "GOLD",
            "weight generated samples by how much more often they occur in the data",
        )  # fmt: skip
        add("--gold", "enabled", action="store_true", default=False,
            help="weight generated samples by the gap of log-densities in phase 2")  # fmt: skip
        add("--gold-on", "on", choices=("discriminator", "generator"), default="discriminator",
            help="whose loss is weighted")  # fmt: skip
        add("--gold-clamp", "clamp", choices=CLAMPS, default="zero",
            help="raise negative weights to zero, or leave them as published")  # fmt: skip
        add("--gold-start", "start", type=or_auto(share_of_steps), default=AUTO,
            metavar="auto|SHARE",
            help="share of the steps before phase 2; auto: as --dia-phase1")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Warns of options that do nothing."""
        if not run.options[NAME]["enabled"]:
            warn_of_unused(run, NAME, "--gold")

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Refuses a loss under which the gap is known up to a constant, as all that D says is."""
        if run.options[NAME]["enabled"] and run.loss.is_ratio_up_to_constant:
            raise UserError(
                f"--gold weights samples by D's log-density ratio itself, which the loss "
                f"{run.config.LOSS.adv_loss!r} leaves open up to a constant: leave it out, or use "
                "LOSS.adv_loss=logistic."
            )

    @hookimpl
    def gan_discriminator_weights(
        self, run: LiveRun, fake: Fake, fake_logits: Tensor, fake_out: Any
    ) -> tuple[None, Tensor] | None:
        """Weights the fake terms of D's loss."""
        if not self._acts(run, "discriminator"):
            return None
        return None, self._weights(run, fake, fake_logits, fake_out)

    @hookimpl
    def gan_generator_weights(
        self, run: LiveRun, fake: Fake, logits: Tensor, fake_out: Any
    ) -> Tensor | None:
        """Weights the terms of G's loss."""
        if not self._acts(run, "generator"):
            return None
        return self._weights(run, fake, logits, fake_out)

    @hookimpl
    def gan_state(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Returns where phase 2 began, once it has."""
        if not run.options[NAME]["enabled"] or run.step < self._start(run):
            return None
        return {"version": _STATE_VERSION, "start": self._start(run)}

    @hookimpl
    def gan_load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores it."""
        from gan_registry.state_checks import whole

        self._starts[run] = whole(state, "start")

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says when it will weight what."""
        options = run.options[NAME]
        if not options["enabled"]:
            return None
        steps = f"steps {self._start(run) + 1}–{run.total_steps}"
        return {"phase 2": f"{steps}, generated samples weighted in the loss of {options['on']}"}

    def _acts(self, run: LiveRun, network: str) -> bool:
        options = run.options[NAME]
        asked = bool(options["enabled"]) and options["on"] == network
        return asked and run.step >= self._start(run)

    def _start(self, run: LiveRun) -> int:
        if run not in self._starts:
            return phase1_end(run, run.options[NAME]["start"])
        return self._starts[run]

    def _weights(self, run: LiveRun, fake: Fake, logits: Tensor, out: Any) -> Tensor:
        class_logits = class_logits_of(out)
        clamp = run.options[NAME]["clamp"]
        weights = gold_weights(logits, class_logits, fake.y, clamp=clamp)
        run.log({"gold/mean_weight": weights.mean()})
        return weights
