"""Calls the plugins of a hook one by one, and says what becomes of one that fails."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from gan_registry.dispatch_checks import Check
from gan_registry.dispatch_guards import IN_STEP, Guard, modes, put_back
from gan_registry.dispatch_values import DeviceValues, in_step
from gan_registry.errors import PluginError, UserError
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager


class Calls:
    """The implementations of all hooks.

    Args:
        plugins: The plugins whose implementations are called.
        asked: Names of the plugins that the run asked for; None stands for all.
        guarded: Names of the run's networks that no hook may leave changed; see
            :mod:`gan_registry.dispatch_guards`.

    Attributes:
        asked: As given.
        values: Weights, penalties and losses that are looked at without waiting for the device.
        failed: The plugin and the hook that ended the run, or None.
    """

    def __init__(
        self,
        plugins: PluginManager,
        asked: Collection[str] | None = None,
        guarded: Collection[str] = (),
    ) -> None:
        self.asked = asked
        self.values = DeviceValues()
        self.failed: tuple[str, str] | None = None
        self._guard = Guard(guarded)
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
        results: list[tuple[str, Any]] = []
        entries = tuple(self._implementations.get(hook, ()))
        if not entries:
            return results
        arguments["run"] = run
        watched = [entry[0] for entry in entries if self._is_asked(entry[0])]
        look = self._guard.look(run, hook, arguments) if watched else None
        before = modes()
        for plugin, function, names in entries:
            run.calling = plugin, hook
            try:
                try:
                    result = function(*[arguments[name] for name in names])
                finally:
                    left = None if modes() == before else put_back(before)
                if look is not None and plugin in watched:
                    left = look.changed() or left
                wrong = left or (None if result is None or check is None else check(result))
                if wrong:
                    step = in_step(step_of(run, hook))
                    raise PluginError(f"Plugin {plugin!r}: {hook} {wrong}{step}.")
            except (Exception, SystemExit, GeneratorExit) as error:
                self._fail(run, plugin, hook, error)
                continue
            finally:
                run.calling = "", ""
            if result is not None:
                results.append((plugin, result))
        return results

    def _is_asked(self, plugin: str) -> bool:
        return self.asked is None or plugin in self.asked

    def _fail(self, run: LiveRun, plugin: str, hook: str, error: BaseException) -> None:
        """Raises what a failure in a hook comes to, or drops a plugin that nobody asked for."""
        if isinstance(error, UserError) and not isinstance(error, PluginError):
            self.failed = plugin, hook
            raise error  # a refusal, which is what hooks are free to do
        failure = error if isinstance(error, PluginError) else None
        if failure is None:
            failure = PluginFailure(plugin, hook, error, step_of(run, hook))
        elif repr(plugin) not in str(error) or hook not in str(error):
            error.args = (f"Plugin {plugin!r}: {hook}: {error}",)
        if self._is_asked(plugin):
            self.failed = plugin, hook
            raise failure from error.__cause__ if failure is error else error
        for name, entries in list(self._implementations.items()):
            kept = [entry for entry in entries if entry[0] != plugin]
            if kept:
                self._implementations[name] = kept
            else:
                del self._implementations[name]
        warnings.warn(f"{failure} The run goes on without it.", stacklevel=4)


class PluginFailure(PluginError, RuntimeError):  # noqa: N818 - not an error of ours
    """An exception inside a plugin's hook; keeps the original as its cause."""

    def __init__(self, plugin: str, hook: str, error: BaseException, step: int = 0) -> None:
        text = " ".join(str(error).split())
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
        told = f"{type(error).__name__}: {text}" if text else type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        super().__init__(
            f"Plugin {plugin!r} failed in {hook}: {told}{place}{in_step(step)} "
            f"(GAN_REGISTRY_DISABLE={plugin} runs without it)."
        )


LONGEST = 300
"""Characters of an error's text that are shown: torch's own can fill a screen."""


def step_of(run: LiveRun, hook: str) -> int:
    """Returns the number of the step that is being done, or 0 outside of any."""
    step: int = getattr(run, "step", 0)
    return 0 if hook not in IN_STEP else step if hook == "gan_step_end" else step + 1
