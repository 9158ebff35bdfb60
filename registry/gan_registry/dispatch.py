"""Calls the hooks: one typed method each, contributions merged by a commutative rule.

Implementations are called one by one, so that each result keeps its author and every error names
plugin and hook. A hook that nobody implements costs one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from gan_registry.errors import PluginError, UserError
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.report.document import Report
    from gan_registry.training.run import Run


class Dispatcher:
    """The hooks of one run.

    Args:
        plugins: The plugins whose implementations are called.
    """

    def __init__(self, plugins: PluginManager) -> None:
        self._implementations: dict[str, list[tuple[str, Callable[..., Any], tuple[str, ...]]]] = {}
        for caller in plugins.hooks.hook.__dict__.values():
            entries = [
                (record.plugin_name, record.function, tuple(record.argnames))
                for record in caller.get_hookimpls()
            ]
            if entries:
                self._implementations[caller.name] = entries

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements `hook`."""
        return hook in self._implementations

    def _call(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Calls every implementation; returns (plugin, result) pairs that are not None."""
        results = []
        for plugin, function, names in self._implementations.get(hook, ()):
            try:
                result = function(*[arguments[name] for name in names])
            except UserError:
                raise
            except Exception as error:
                raise PluginFailure(plugin, hook, error) from error
            if result is not None:
                results.append((plugin, result))
        return results

    def _event(self, hook: str, **arguments: Any) -> None:
        for plugin, result in self._call(hook, **arguments):
            raise PluginError(
                f"Plugin {plugin!r}: {hook} is an event and must return None, but returned "
                f"{type(result).__name__}."
            )

    def build(self, run: Run) -> None:
        """Fires `gan_build`."""
        self._event("gan_build", run=run)

    def models_ready(self, run: Run) -> None:
        """Fires `gan_models_ready`."""
        self._event("gan_models_ready", run=run)

    def train_start(self, run: Run) -> None:
        """Fires `gan_train_start`."""
        self._event("gan_train_start", run=run)

    def real_logits(self, run: Run, real: Real, logits: Tensor) -> None:
        """Fires `gan_real_logits`."""
        self._event("gan_real_logits", run=run, real=real, logits=logits)

    def discriminator_weights(
        self, run: Run, real: Real, fake: Fake, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Multiplies the plugins' weights of D's terms; None stands for all ones."""
        hook = "gan_discriminator_weights"
        of_real: Tensor | None = None
        of_fake: Tensor | None = None
        for plugin, result in self._call(
            hook, run=run, real=real, fake=fake, real_logits=real_logits, fake_logits=fake_logits
        ):
            if not isinstance(result, tuple) or len(result) != 2:
                raise PluginError(
                    f"Plugin {plugin!r}: {hook} must return a pair (real weights, fake weights)."
                )
            of_real = _multiply(of_real, result[0], real_logits, plugin, hook)
            of_fake = _multiply(of_fake, result[1], fake_logits, plugin, hook)
        return of_real, of_fake

    def discriminator_penalty(
        self, run: Run, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Adds up the plugins' penalties of D."""
        return _total(
            "gan_discriminator_penalty",
            self._call(
                "gan_discriminator_penalty",
                run=run, real=real, fake=fake, real_out=real_out, fake_out=fake_out,
            ),
        )  # fmt: skip

    def discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        """Fires `gan_discriminator_updated`."""
        self._event("gan_discriminator_updated", run=run, batches=batches)

    def generator_weights(self, run: Run, fake: Fake, logits: Tensor) -> Tensor | None:
        """Multiplies the plugins' weights of G's terms; None stands for all ones."""
        hook = "gan_generator_weights"
        product: Tensor | None = None
        for plugin, result in self._call(hook, run=run, fake=fake, logits=logits):
            product = _multiply(product, result, logits, plugin, hook)
        return product

    def generator_penalty(self, run: Run, fake: Fake, fake_out: Any) -> Tensor | None:
        """Adds up the plugins' penalties of G."""
        return _total(
            "gan_generator_penalty",
            self._call("gan_generator_penalty", run=run, fake=fake, fake_out=fake_out),
        )

    def step_end(self, run: Run) -> None:
        """Fires `gan_step_end`."""
        self._event("gan_step_end", run=run)

    def train_end(self, run: Run) -> None:
        """Fires `gan_train_end`."""
        self._event("gan_train_end", run=run)

    def state(self, run: Run) -> dict[str, Any]:
        """Collects the plugins' parts of a checkpoint, by plugin."""
        return dict(self._call("gan_state", run=run))

    def load_state(self, run: Run, states: Mapping[str, Any]) -> None:
        """Gives each plugin its part of a checkpoint.

        Raises:
            UserError: The checkpoint holds the state of a plugin that is not there now.
        """
        entries = self._implementations.get("gan_load_state", [])
        present = {plugin for plugin, _, _ in entries}
        for missing in sorted(set(states) - present):
            raise UserError(
                f"The checkpoint holds the state of plugin {missing!r}, which is not loaded; "
                "install or enable it ('gan-registry plugins' shows why one was skipped)."
            )
        for plugin, function, names in entries:
            if plugin not in states:
                continue
            arguments = {"run": run, "state": states[plugin]}
            try:
                function(*[arguments[name] for name in names])
            except UserError:
                raise
            except Exception as error:
                raise PluginFailure(plugin, "gan_load_state", error) from error

    def metrics(self, run: Run, real: Any, fake: Any) -> dict[str, float]:
        """Merges the plugins' metrics."""
        merged: dict[str, float] = {}
        authors: dict[str, str] = {}
        for plugin, result in self._call("gan_metrics", run=run, real=real, fake=fake):
            for name, value in result.items():
                if name in merged:
                    raise PluginError(
                        f"Plugins {authors[name]!r} and {plugin!r} both report a metric {name!r}."
                    )
                merged[name], authors[name] = float(value), plugin
        return merged

    def result(self, run: Run) -> list[tuple[str, Any]]:
        """Collects the plugins' entries for `result.json`, by plugin."""
        return self._call("gan_result", run=run)

    def plan(self, run: Run) -> list[tuple[str, Any]]:
        """Collects what the plugins intend to do, by plugin."""
        return self._call("gan_plan", run=run)

    def report(self, run: Run, report: Report) -> None:
        """Fires `gan_report`."""
        self._event("gan_report", run=run, report=report)


class PluginFailure(RuntimeError):
    """An exception inside a plugin's hook; keeps the original as its cause."""

    def __init__(self, plugin: str, hook: str, error: Exception) -> None:
        super().__init__(
            f"Plugin {plugin!r} failed in {hook}: {type(error).__name__}: {error} "
            f"(GAN_REGISTRY_DISABLE={plugin} runs without it)"
        )


def _multiply(
    product: Tensor | None, weights: Any, like: Tensor, plugin: str, hook: str
) -> Tensor | None:
    if weights is None:
        return product
    if not isinstance(weights, torch.Tensor):
        raise PluginError(f"Plugin {plugin!r}: {hook} returned {type(weights).__name__}, no tensor.")
    for name, got, expected in (
        ("shape", tuple(weights.shape), tuple(like.shape)),
        ("dtype", weights.dtype, like.dtype),
        ("device", weights.device, like.device),
    ):
        if got != expected:
            raise PluginError(
                f"Plugin {plugin!r}: weights returned by {hook} have {name} {got}, not {expected}."
            )
    weights = weights.detach()
    return weights if product is None else product * weights


def _total(hook: str, results: list[tuple[str, Any]]) -> Tensor | None:
    total: Tensor | None = None
    for plugin, value in results:
        if not isinstance(value, torch.Tensor) or value.ndim != 0:
            raise PluginError(f"Plugin {plugin!r}: {hook} must return a scalar tensor or None.")
        total = value if total is None else total + value
    return total
