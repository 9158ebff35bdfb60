"""Calls the hooks: one typed method each, contributions merged by a commutative rule.

Implementations are called one by one, so that each result keeps its author and every error names
plugin and hook. A hook that nobody implements costs one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gan_registry import dispatch_checks as checks
from gan_registry.dispatch_calls import LONGEST, Calls, PluginFailure, step_of
from gan_registry.dispatch_values import check_penalty, check_weights
from gan_registry.errors import PluginError, UserError
from gan_registry.live_run import LiveRun
from gan_registry.records import Fake, MicroBatch, Real

if TYPE_CHECKING:
    from gan_registry.report.document import Report


class Dispatcher(Calls):
    """The hooks of one run.

    A plugin that fails stops the run if the run asked for it. Otherwise it is dropped with a
    warning, as if it were not installed from there on. Made of what
    :class:`~gan_registry.dispatch_calls.Calls` takes.
    """

    _penalised: tuple[str, ...] = ()

    def _event(self, hook: str, run: LiveRun, **arguments: Any) -> None:
        self._call(hook, run, checks.nothing, **arguments)

    def _penalty(self, hook: str, run: LiveRun, fake: Fake, **arguments: Any) -> Tensor | None:
        def check(penalty: Any) -> str | None:
            wrong = checks.wrong_penalty(penalty, fake)
            if wrong is None:
                check_penalty(self.values, penalty, run.calling[0], hook, step_of(run, hook))
            return wrong

        total: Tensor | None = None
        self._penalised = ()
        for plugin, penalty in self._call(hook, run, check, fake=fake, **arguments):
            self._penalised += (f"{hook} of {plugin!r}",)
            penalty = penalty.as_subclass(Tensor)
            total = penalty if total is None else total + penalty
        return total

    def backward_failed(self, error: RuntimeError) -> Exception:
        """Names who had added to a loss of which the gradients could not be computed.

        Returns:
            What is to be raised: the error itself if no plugin had a part in the loss.
        """
        if not self._penalised:
            return error
        text = " ".join(str(error).split())[:LONGEST]
        return PluginError(
            f"The gradients of a loss with {', '.join(self._penalised)} could not be computed: "
            f"{text.rstrip('.')}."
        )

    def _weights(self, run: LiveRun, weights: Any, like: Tensor) -> str | None:
        """Checks weights in form and, without waiting for the device, in value."""
        wrong = checks.wrong_weights(weights, like)
        if wrong is None and weights is not None:
            check_weights(self.values, weights, like, *run.calling, step_of(run, run.calling[1]))
        return wrong

    def build(self, run: LiveRun) -> None:
        """Fires `gan_build`."""
        self._event("gan_build", run)

    def models_ready(self, run: LiveRun) -> None:
        """Fires `gan_models_ready`."""
        self._event("gan_models_ready", run)

    def train_start(self, run: LiveRun) -> None:
        """Fires `gan_train_start`."""
        self._event("gan_train_start", run)

    def real_logits(self, run: LiveRun, real: Real, logits: Tensor) -> None:
        """Fires `gan_real_logits`."""
        self._event("gan_real_logits", run, real=real, logits=logits)

    def discriminator_weights(
        self,
        run: LiveRun,
        real: Real,
        fake: Fake,
        real_logits: Tensor,
        fake_logits: Tensor,
        real_out: Any = None,
        fake_out: Any = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Multiplies the plugins' weights of D's terms; None stands for all ones."""

        def check(result: Any) -> str | None:
            if not isinstance(result, tuple) or len(result) != 2:
                return "must return a pair (real weights, fake weights)"
            return self._weights(run, result[0], real_logits) or self._weights(
                run, result[1], fake_logits
            )

        of_real: Tensor | None = None
        of_fake: Tensor | None = None
        for _, (real_part, fake_part) in self._call(
            "gan_discriminator_weights",
            run,
            check,
            real=real,
            fake=fake,
            real_logits=real_logits,
            fake_logits=fake_logits,
            real_out=real_out,
            fake_out=fake_out,
        ):
            of_real = _multiply(of_real, real_part)
            of_fake = _multiply(of_fake, fake_part)
        return of_real, of_fake

    def discriminator_penalty(
        self, run: LiveRun, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Adds up the plugins' penalties of D."""
        outputs = {"real_out": real_out, "fake_out": fake_out}
        return self._penalty("gan_discriminator_penalty", run, fake, real=real, **outputs)

    def discriminator_updated(self, run: LiveRun, batches: Sequence[MicroBatch]) -> None:
        """Fires `gan_discriminator_updated`."""
        self._event("gan_discriminator_updated", run, batches=batches)

    def generator_weights(
        self, run: LiveRun, fake: Fake, logits: Tensor, fake_out: Any = None
    ) -> Tensor | None:
        """Multiplies the plugins' weights of G's terms; None stands for all ones."""
        product: Tensor | None = None
        for _, weights in self._call(
            "gan_generator_weights",
            run,
            lambda weights: self._weights(run, weights, logits),
            fake=fake,
            logits=logits,
            fake_out=fake_out,
        ):
            product = _multiply(product, weights)
        return product

    def generator_penalty(self, run: LiveRun, fake: Fake, fake_out: Any) -> Tensor | None:
        """Adds up the plugins' penalties of G."""
        return self._penalty("gan_generator_penalty", run, fake, fake_out=fake_out)

    def step_end(self, run: LiveRun) -> None:
        """Fires `gan_step_end`, and judges the numbers that have arrived meanwhile."""
        self._event("gan_step_end", run)
        self.values.poll()

    def train_end(self, run: LiveRun) -> None:
        """Fires `gan_train_end`."""
        self._event("gan_train_end", run)

    def state(self, run: LiveRun) -> dict[str, Any]:
        """Collects the plugins' parts of a checkpoint, by plugin."""
        return dict(self._call("gan_state", run, checks.no_state))

    def load_state(
        self, run: LiveRun, states: Mapping[str, Any], where: str = "the checkpoint"
    ) -> None:
        """Gives each plugin its part of a checkpoint.

        Args:
            run: The run.
            states: The parts, by plugin.
            where: What to call the checkpoint in messages.

        Raises:
            UserError: The checkpoint holds the state of a plugin that is not there now, or one
                that a plugin cannot take back.
            PluginError: A plugin saved a state, but does not take any back.
        """
        entries = self._implementations.get("gan_load_state", [])
        for missing in sorted(set(states) - {plugin for plugin, _, _ in entries}):
            if missing in self._loaded:
                raise PluginError(
                    f"Plugin {missing!r} saved a state, but implements no gan_load_state."
                )
            raise UserError(
                f"The checkpoint holds the state of plugin {missing!r}, which is not loaded; "
                "install or enable it ('gan-registry plugins' shows why one was skipped)."
            )
        for plugin, function, names in entries:
            if plugin not in states:
                continue
            arguments = {"run": run, "state": states[plugin]}
            run.calling = plugin, "gan_load_state"
            try:
                function(*[arguments[name] for name in names])
            except UserError:
                raise
            except (Exception, SystemExit) as error:
                # Never dropped: what continued would be another run.
                reason = " ".join(str(error).split())[:300]
                raise UserError(
                    f"Plugin {plugin!r} cannot take back its state from {where} "
                    f"(gan_load_state: {type(error).__name__}: {reason}); use the version of the "
                    "plugin that wrote it, another checkpoint, or start anew with --out."
                ) from error
            finally:
                run.calling = "", ""

    def metrics(self, run: LiveRun, real: Any, fake: Any) -> dict[str, float]:
        """Merges the plugins' metrics."""
        merged: dict[str, float] = {}
        authors: dict[str, str] = {}
        for plugin, result in self._call(
            "gan_metrics", run, checks.no_numbers, real=real, fake=fake
        ):
            for name, value in result.items():
                if name in merged:
                    raise PluginError(
                        f"Plugins {authors[name]!r} and {plugin!r} both report a metric {name!r}."
                    )
                merged[name], authors[name] = float(value), plugin
        return merged

    def result(self, run: LiveRun) -> list[tuple[str, Any]]:
        """Collects the plugins' entries for `result.json`, by plugin."""
        return self._call("gan_result", run, checks.no_entries)

    def plan(self, run: LiveRun) -> list[tuple[str, Any]]:
        """Collects what the plugins intend to do, by plugin."""
        return self._call("gan_plan", run, checks.no_rows)

    def report(self, run: LiveRun, report: Report) -> None:
        """Fires `gan_report`."""
        self._event("gan_report", run, report=report)

    def logged(self, run: LiveRun, values: Mapping[str, Any]) -> None:
        """Fires `gan_logged`."""
        self._event("gan_logged", run, values=MappingProxyType(dict(values)))

    def written(self, run: LiveRun, kind: str, path: Path) -> None:
        """Fires `gan_written`."""
        self._event("gan_written", run, kind=kind, path=path)


__all__ = ["Dispatcher", "PluginFailure"]


def _multiply(product: Tensor | None, weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return product
    weights = weights.detach().as_subclass(Tensor)
    return weights if product is None else torch.mul(product, weights)
