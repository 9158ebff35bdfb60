"""Calls the hooks: one typed method each, contributions merged by a commutative rule.

Implementations are called one by one, so that each result keeps its author and every error names
plugin and hook. A hook that nobody implements costs one dictionary look-up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gan_registry.errors import PluginError, UserError
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real

if TYPE_CHECKING:
    from gan_registry.report.document import Report

Check = Callable[[Any], "str | None"]
"""Says what is wrong with a result, as the end of a sentence, or None."""


class Dispatcher:
    """The hooks of one run.

    A plugin that fails stops the run if the run asked for it. Otherwise it is dropped with a
    warning, as if it were not installed from there on.

    Args:
        plugins: The plugins whose implementations are called.
        asked: Names of the plugins that the run asked for; None stands for all.
    """

    def __init__(self, plugins: PluginManager, asked: Collection[str] | None = None) -> None:
        self.asked = asked
        self._loaded = [name for name, info in plugins.infos.items() if info.skipped is None]
        self._implementations: dict[str, list[tuple[str, Callable[..., Any], tuple[str, ...]]]] = {}
        for caller in plugins.hooks.hook.__dict__.values():
            entries = [
                (record.plugin_name, record.function, tuple(record.argnames))
                for record in caller.get_hookimpls()
            ]
            # Sorted, since even a product of floats depends on the order in its last bit.
            if entries:
                self._implementations[caller.name] = sorted(entries, key=lambda entry: entry[0])

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements `hook`."""
        return hook in self._implementations

    def _call(
        self, hook: str, run: LiveRun, check: Check | None = None, **arguments: Any
    ) -> list[tuple[str, Any]]:
        """Calls every implementation; returns (plugin, result) pairs that are not None."""
        results = []
        arguments["run"] = run
        for plugin, function, names in tuple(self._implementations.get(hook, ())):
            run.calling = plugin, hook
            try:
                result = function(*[arguments[name] for name in names])
                wrong = None if result is None or check is None else check(result)
                if wrong:
                    raise PluginError(f"Plugin {plugin!r}: {hook} {wrong}.")
            except Exception as error:
                self._fail(plugin, hook, error)
                continue
            finally:
                run.calling = "", ""
            if result is not None:
                results.append((plugin, result))
        return results

    def _fail(self, plugin: str, hook: str, error: Exception) -> None:
        """Raises what a failure in a hook comes to, or drops a plugin that nobody asked for."""
        if isinstance(error, UserError) and not isinstance(error, PluginError):
            raise error  # a refusal, which is what hooks are free to do
        failure = error if isinstance(error, PluginError) else PluginFailure(plugin, hook, error)
        if self.asked is None or plugin in self.asked:
            raise failure from error.__cause__ if failure is error else error
        for name, entries in list(self._implementations.items()):
            kept = [entry for entry in entries if entry[0] != plugin]
            if kept:
                self._implementations[name] = kept
            else:
                del self._implementations[name]
        warnings.warn(f"{failure} The run goes on without it.", stacklevel=4)

    def _event(self, hook: str, run: LiveRun, **arguments: Any) -> None:
        self._call(hook, run, _nothing, **arguments)

    def _penalty(self, hook: str, run: LiveRun, fake: Fake, **arguments: Any) -> Tensor | None:
        total: Tensor | None = None
        for _, penalty in self._call(
            hook, run, lambda given: _wrong_penalty(given, fake), fake=fake, **arguments
        ):
            total = penalty if total is None else total + penalty
        return total

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
            return _wrong_weights(result[0], real_logits) or _wrong_weights(result[1], fake_logits)

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
            lambda weights: _wrong_weights(weights, logits),
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
        """Fires `gan_step_end`."""
        self._event("gan_step_end", run)

    def train_end(self, run: LiveRun) -> None:
        """Fires `gan_train_end`."""
        self._event("gan_train_end", run)

    def state(self, run: LiveRun) -> dict[str, Any]:
        """Collects the plugins' parts of a checkpoint, by plugin."""
        return dict(self._call("gan_state", run, _no_mapping))

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
            except Exception as error:
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
        for plugin, result in self._call("gan_metrics", run, _no_numbers, real=real, fake=fake):
            for name, value in result.items():
                if name in merged:
                    raise PluginError(
                        f"Plugins {authors[name]!r} and {plugin!r} both report a metric {name!r}."
                    )
                merged[name], authors[name] = float(value), plugin
        return merged

    def result(self, run: LiveRun) -> list[tuple[str, Any]]:
        """Collects the plugins' entries for `result.json`, by plugin."""
        return self._call("gan_result", run, _no_mapping)

    def plan(self, run: LiveRun) -> list[tuple[str, Any]]:
        """Collects what the plugins intend to do, by plugin."""
        return self._call("gan_plan", run, _no_mapping)

    def report(self, run: LiveRun, report: Report) -> None:
        """Fires `gan_report`."""
        self._event("gan_report", run, report=report)


class PluginFailure(RuntimeError):  # noqa: N818 - the plugin failed; the error is its cause
    """An exception inside a plugin's hook; keeps the original as its cause."""

    def __init__(self, plugin: str, hook: str, error: Exception) -> None:
        super().__init__(
            f"Plugin {plugin!r} failed in {hook}: {type(error).__name__}: {error} "
            f"(GAN_REGISTRY_DISABLE={plugin} runs without it)."
        )


def _nothing(result: Any) -> str | None:
    return f"is an event and must return None, but returned {type(result).__name__}"


def _no_mapping(result: Any) -> str | None:
    if isinstance(result, Mapping):
        return None
    return f"must return a mapping or None, but returned {type(result).__name__}"


def _no_numbers(result: Any) -> str | None:
    if not isinstance(result, Mapping):
        return _no_mapping(result)
    bad = [name for name, value in result.items() if not _is_number(value)]
    return f"must return numbers, but {bad[0]!r} is none" if bad else None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _wrong_weights(weights: Any, like: Tensor) -> str | None:
    """Compares weights with the logits that they belong to; never reads their values."""
    if weights is None:
        return None
    if not isinstance(weights, Tensor):
        return f"must return tensors or None as weights, but returned {type(weights).__name__}"
    for name, got, expected in (
        ("shape", tuple(weights.shape), tuple(like.shape)),
        ("dtype", weights.dtype, like.dtype),
        ("device", weights.device, like.device),
    ):
        if got != expected:
            return f"returned weights of {name} {got}, not {expected}"
    return None


def _wrong_penalty(penalty: Any, fake: Fake) -> str | None:
    if not isinstance(penalty, Tensor) or penalty.ndim != 0:
        shape = f" of shape {tuple(penalty.shape)}" if isinstance(penalty, Tensor) else ""
        return f"must return a scalar tensor or None, but returned {type(penalty).__name__}{shape}"
    if not penalty.is_floating_point():
        return f"returned a penalty of dtype {penalty.dtype}, not a floating one"
    if penalty.device != fake.x.device:
        return f"returned a penalty on device {penalty.device}, not {fake.x.device}"
    return None


def _multiply(product: Tensor | None, weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return product
    weights = weights.detach()
    return weights if product is None else torch.mul(product, weights)
