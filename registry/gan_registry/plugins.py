"""Finds plugins, loads them one by one, and remembers why one was skipped."""

from __future__ import annotations

import argparse
import inspect
import os
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import pluggy

from gan_registry import hookspecs
from gan_registry.catalogs import HOST, Catalogs
from gan_registry.errors import PluginError, UserError
from gan_registry.options import OptionTable

DISABLE_VARIABLE = "GAN_REGISTRY_DISABLE"


@dataclass
class PluginInfo:
    """What is known of one plugin, loaded or not.

    Attributes:
        name: Its entry point's name.
        version: The version of the distribution that brings it, or "" if unknown.
        hooks: The hooks it implements.
        skipped: Why it was not loaded, or None.
    """

    name: str
    version: str = ""
    hooks: list[str] = field(default_factory=list)
    skipped: str | None = None


class PluginManager:
    """Loads plugins and holds what they registered: hooks, options and components.

    Args:
        load_entry_points: Load the installed plugins; otherwise only those given to `register`.
    """

    def __init__(self, load_entry_points: bool = True) -> None:
        self.hooks = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self.hooks.add_hookspecs(hookspecs)
        self.catalogs = Catalogs()
        self.parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        self.infos: dict[str, PluginInfo] = {}
        # The historic calls come before any plugin: each one then answers as it registers, so
        # that a failure has an author, and a later plugin is treated like an earlier one.
        self.hooks.hook.gan_add_options.call_historic(kwargs={"parser": self.parser})
        self.hooks.hook.gan_register.call_historic(kwargs={"catalogs": self.catalogs})
        if load_entry_points:
            self._load_entry_points()

    @property
    def options(self) -> OptionTable:
        """The options of all loaded plugins."""
        absent = [info.name for info in self.infos.values() if info.skipped]
        return OptionTable.from_parser(self.parser, absent)

    def register(self, plugin: object, name: str, version: str = "") -> None:
        """Registers a plugin object (or class, which is instantiated).

        Raises:
            PluginError: It breaks the contract; everything it had registered is taken back.
        """
        if inspect.isclass(plugin):
            plugin = plugin()
        if name in self.infos and self.infos[name].skipped is None:
            raise PluginError(f"A plugin named {name!r} is registered already.")
        self.catalogs.set_owner(name)
        flags_before = len(self.parser._actions), len(self.parser._action_groups)
        try:
            self.hooks.register(plugin, name)
            self._check_implementations(plugin, name)
        except Exception as error:
            self._take_back(plugin, name, flags_before)
            if isinstance(error, UserError):
                raise
            raise PluginError(f"Plugin {name!r} cannot be loaded: {_one_line(error)}") from error
        finally:
            self.catalogs.set_owner(HOST)
        callers = self.hooks.get_hookcallers(plugin) or []
        self.infos[name] = PluginInfo(name, version, sorted(caller.name for caller in callers))

    def _check_implementations(self, plugin: object, name: str) -> None:
        for attribute in dir(plugin):
            if not attribute.startswith("gan_") or hasattr(hookspecs, attribute):
                continue
            if hasattr(getattr(plugin, attribute, None), f"{hookspecs.PROJECT_NAME}_impl"):
                raise PluginError(
                    f"Plugin {name!r} implements {attribute!r}, which is not a hook of version "
                    f"{hookspecs.HOOK_API_VERSION}; see docs/hooks.md for the list."
                )
        for caller in self.hooks.get_hookcallers(plugin) or []:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin and (
                    implementation.hookwrapper or implementation.wrapper
                ):
                    raise PluginError(
                        f"Plugin {name!r} wraps {caller.name!r}; hooks are contributions that "
                        "merge, wrappers are not supported."
                    )

    def _take_back(self, plugin: object, name: str, flags_before: tuple[int, int]) -> None:
        if self.hooks.is_registered(plugin):
            self.hooks.unregister(plugin)
        self.catalogs.drop(name)
        actions, groups = flags_before
        for action in self.parser._actions[actions:]:
            for flag in action.option_strings:
                self.parser._option_string_actions.pop(flag, None)
        del self.parser._actions[actions:], self.parser._action_groups[groups:]

    def _load_entry_points(self) -> None:
        disabled = {name for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name}
        for entry in sorted(
            metadata.entry_points(group=hookspecs.PROJECT_NAME), key=lambda entry: entry.name
        ):
            version = entry.dist.version if entry.dist else ""
            if entry.name in disabled:
                reason = f"disabled by {DISABLE_VARIABLE}"
                self.infos[entry.name] = PluginInfo(entry.name, version, skipped=reason)
                continue
            try:
                self.register(entry.load(), entry.name, version)
            except Exception as error:
                reason = _one_line(error)
                self.infos[entry.name] = PluginInfo(entry.name, version, skipped=reason)
                warnings.warn(f"Skipped plugin {entry.name!r}: {reason}", stacklevel=2)

    def skipped_hint(self) -> str:
        """Returns a sentence about plugins that were skipped, or an empty string."""
        skipped = [f"{i.name} ({i.skipped})" for i in self.infos.values() if i.skipped]
        return f" Skipped plugins: {'; '.join(skipped)}." if skipped else ""

    def implementations(self, hook: str) -> list[Any]:
        """Returns pluggy's implementation records of a hook, in order of registration."""
        return list(getattr(self.hooks.hook, hook).get_hookimpls())


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if not isinstance(error, UserError) else text
