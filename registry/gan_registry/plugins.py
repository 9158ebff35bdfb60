"""Finds plugins, loads them one by one, and remembers why one was skipped."""

from __future__ import annotations

import argparse
import inspect
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import pluggy

from gan_registry import hookspecs
from gan_registry.catalogs import HOST, Catalog, Catalogs
from gan_registry.errors import PluginError, UserError
from gan_registry.options import OptionTable, adopt_flags

DISABLE_VARIABLE = "GAN_REGISTRY_DISABLE"


@dataclass
class PluginInfo:
    """What is known of one plugin, loaded or not.

    Attributes:
        name: Its entry point's name.
        version: The version of the distribution that brings it, or "" if unknown.
        hooks: The hooks it implements.
        skipped: Why it was not loaded, or None.
        given: Whether it was handed to :meth:`PluginManager.register` by the caller, rather than
            found among the installed ones.
        observes: Whether it says so of itself (`observes = True`): it only looks on, so that a run
            may be continued without it and with other values of its options.
    """

    name: str
    version: str = ""
    hooks: list[str] = field(default_factory=list)
    skipped: str | None = None
    given: bool = False
    observes: bool = False


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
        self._register(plugin, name, version, given=True)

    def _register(self, plugin: object, name: str, version: str, *, given: bool) -> None:
        if name in self.infos and self.infos[name].skipped is None:
            raise PluginError(f"A plugin named {name!r} is registered already.")
        catalogs, flags = self.catalogs.snapshot(), _snapshot(self.parser)
        self.catalogs.set_owner(name)
        try:
            if inspect.isclass(plugin):
                plugin = plugin()
            self.hooks.register(plugin, name)
            self._check_implementations(plugin, name)
            adopt_flags(self.parser._actions[len(flags[0]) :], name)
        except (Exception, SystemExit) as error:
            if self.hooks.is_registered(plugin):
                self.hooks.unregister(plugin)
            self.catalogs.restore(catalogs)
            _restore(self.parser, flags)
            if isinstance(error, UserError):
                raise
            raise PluginError(f"Plugin {name!r} cannot be loaded: {_one_line(error)}") from error
        finally:
            self.catalogs.set_owner(HOST)
        callers = self.hooks.get_hookcallers(plugin) or []
        hooks = sorted(caller.name for caller in callers)
        observes = bool(getattr(plugin, "observes", False))
        self.infos[name] = PluginInfo(name, version, hooks, given=given, observes=observes)

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
                if implementation.plugin is not plugin:
                    continue
                if implementation.hookwrapper or implementation.wrapper:
                    raise PluginError(
                        f"Plugin {name!r} wraps {caller.name!r}; hooks are contributions that "
                        "merge, wrappers are not supported."
                    )
                function = implementation.function
                if _is_deferred(function):
                    raise PluginError(
                        f"Plugin {name!r}: {caller.name} is a generator function or a coroutine, "
                        "of which a call does nothing; make it an ordinary function."
                    )
                if implementation.kwargnames:
                    raise PluginError(
                        f"Plugin {name!r}: the arguments {', '.join(implementation.kwargnames)} of "
                        f"{caller.name} have defaults, which would hide the real values; remove "
                        "the defaults."
                    )

    def _load_entry_points(self) -> None:
        named = os.environ.get(DISABLE_VARIABLE, "").split(",")
        disabled = {name.strip() for name in named if name.strip()}
        for entry in sorted(
            metadata.entry_points(group=hookspecs.PROJECT_NAME), key=lambda entry: entry.name
        ):
            version = entry.dist.version if entry.dist else ""
            if entry.name in disabled:
                reason = f"disabled by {DISABLE_VARIABLE}"
                self.infos[entry.name] = PluginInfo(entry.name, version, skipped=reason)
                continue
            try:
                self._register(entry.load(), entry.name, version, given=False)
            except (Exception, SystemExit) as error:
                reason = _one_line(error)
                # Of two distributions that bring a plugin of one name, the first stays.
                self.infos.setdefault(entry.name, PluginInfo(entry.name, version, skipped=reason))
                warnings.warn(
                    f"Skipped plugin {entry.name!r} ({entry.value}): {reason}", stacklevel=2
                )

    @property
    def observers(self) -> set[str]:
        """Names of the loaded plugins that only look on."""
        return {info.name for info in self.infos.values() if info.observes}

    def skipped_hint(self) -> str:
        """Returns a sentence about plugins that were skipped, or an empty string."""
        skipped = [f"{i.name} ({i.skipped})" for i in self.infos.values() if i.skipped]
        return f" Skipped plugins: {'; '.join(skipped)}." if skipped else ""


def _is_deferred(function: Any) -> bool:
    """Whether a call of a function only returns something that would have to be driven."""
    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


_Flags = tuple[list[argparse.Action], list[Any], list[Any], dict[str, argparse.Action]]


def _snapshot(parser: argparse.ArgumentParser) -> _Flags:
    """Copies what a plugin's flags would change in a parser."""
    return (
        list(parser._actions),
        list(parser._action_groups),
        list(parser._mutually_exclusive_groups),
        dict(parser._option_string_actions),
    )


def _restore(parser: argparse.ArgumentParser, flags: _Flags) -> None:
    """Takes back the flags added since a snapshot; in place, as argument groups share the lists."""
    actions, groups, exclusive, options = flags
    parser._actions[:] = actions
    parser._action_groups[:] = groups
    parser._mutually_exclusive_groups[:] = exclusive
    parser._option_string_actions.clear()
    parser._option_string_actions.update(options)
    for group in groups:
        group._group_actions[:] = [a for a in group._group_actions if a in actions]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if not isinstance(error, UserError) else text


def asked_plugins(
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    chosen: Iterable[tuple[str, str]],
) -> set[str]:
    """Returns the plugins that a run asks for: the others may fail without stopping it.

    Those are the plugins handed over by the caller, and those of :func:`chosen_plugins`.
    """
    given = {info.name for info in plugins.infos.values() if info.given}
    return given | chosen_plugins(plugins, options, chosen)


def chosen_plugins(
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    chosen: Iterable[tuple[str, str]],
) -> set[str]:
    """Returns the plugins that own something chosen by name or have an option off its default.

    Args:
        plugins: The loaded plugins.
        options: Plugin → option → value, resolved.
        chosen: What was chosen by name: (catalog, name), e.g. ("samplers", "uniform"). A name that
            the catalog does not hold is somebody else's.
    """
    owners = set()
    for plural, name in chosen:
        catalog: Catalog = getattr(plugins.catalogs, plural)
        if name in catalog:
            owners.add(catalog.owner(name))
    return owners | plugins.options.changed(options)
