"""Plugin options: one table, declared once as flags, read from the config file and the flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gan_registry.errors import UserError, unknown_name


@dataclass(frozen=True)
class PluginOption:
    """One option: `PLUGINS.plugin.name` in a config file, `flag` on the command line."""

    plugin: str
    name: str
    action: argparse.Action
    default: Any

    @property
    def flag(self) -> str:
        """The first flag that sets it."""
        return self.action.option_strings[0]

    @property
    def key(self) -> str:
        """Where it stands in a config file."""
        return f"PLUGINS.{self.plugin}.{self.name}"

    def check(self, value: Any, where: str) -> Any:
        """Converts and checks a value by the rules of the flag.

        Args:
            value: The value, of the right type or as text.
            where: What to call it in an error, e.g. the key and its file.

        Raises:
            UserError: The value is not allowed; says which are.
        """
        if value is None or (value == self.default and type(value) is type(self.default)):
            return value
        if self.action.nargs == 0:  # a switch such as store_true
            if not isinstance(value, bool):
                raise UserError(f"{where} is {value!r}, but must be true or false.")
            return value
        if isinstance(value, bool):
            raise UserError(f"{where} is {value!r}, but must be {self.describe()}.")
        convert = self.action.type
        if callable(convert):
            try:
                value = convert(str(value))
            except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
                reason = str(error) if isinstance(error, argparse.ArgumentTypeError) else ""
                raise UserError(
                    f"{where} is {value!r}, but must be {reason or self.describe()}."
                ) from None
        if self.action.choices is not None and value not in self.action.choices:
            raise unknown_name(f"value of {where}", value, map(str, self.action.choices))
        return value

    def describe(self) -> str:
        """Says in a few words what values are allowed."""
        if self.action.choices is not None:
            return "one of " + ", ".join(map(str, self.action.choices))
        names = {int: "a whole number", float: "a number"}
        return names.get(self.action.type, "valid")  # type: ignore[call-overload, no-any-return]


class OptionTable:
    """The options of all plugins."""

    def __init__(
        self, options: Mapping[tuple[str, str], PluginOption], absent: Iterable[str] = ()
    ) -> None:
        self._options = dict(options)
        self._absent = frozenset(absent)

    @classmethod
    def from_parser(
        cls, parser: argparse.ArgumentParser, absent: Iterable[str] = ()
    ) -> OptionTable:
        """Reads the table off the parser that plugins added their flags to.

        Args:
            parser: The parser.
            absent: Installed plugins that were skipped: what a config says of them is ignored.

        Raises:
            UserError: A flag's `dest` is not of the form `plugin.option`.
        """
        options = {}
        for action in parser._actions:
            plugin, dot, name = action.dest.partition(".")
            if not dot:
                raise UserError(
                    f"The flag {'/'.join(action.option_strings)} of a plugin has dest "
                    f"{action.dest!r}; it must be of the form 'plugin.option'."
                )
            if action.default is not argparse.SUPPRESS:
                action.declared_default = action.default  # type: ignore[attr-defined]
                if action.default not in (None, False) and action.help:
                    action.help += f" (default: {action.default})"
                # With the default out of the way, the namespace holds just the flags given.
                action.default = argparse.SUPPRESS
            default = action.declared_default  # type: ignore[attr-defined]
            options[plugin, name] = PluginOption(plugin, name, action, default)
        return cls(options, absent)

    def __iter__(self) -> Iterator[PluginOption]:
        return iter(self._options.values())

    def plugins(self) -> set[str]:
        """Returns the names of the plugins that have options."""
        return {plugin for plugin, _ in self._options}

    def resolve(
        self,
        section: Mapping[str, Mapping[str, Any]],
        flags: Mapping[str, Any] | None = None,
        where: str = "the config",
    ) -> dict[str, dict[str, Any]]:
        """Merges defaults, the config's section `PLUGINS` and flags, in rising priority.

        Args:
            section: Plugin → option → value, from the config.
            flags: `plugin.option` → value, as argparse returned them.
            where: The config's file, for messages.

        Returns:
            Every option of every plugin, checked.

        Raises:
            UserError: An unknown plugin or option, or a value that is not allowed.
        """
        resolved: dict[str, dict[str, Any]] = {}
        for option in self._options.values():
            resolved.setdefault(option.plugin, {})[option.name] = option.default
        for plugin, values in section.items():
            if plugin in self._absent:
                continue
            if plugin not in resolved:
                raise unknown_name("plugin", plugin, resolved, f"PLUGINS of {where}")
            for name, value in (values or {}).items():
                if (plugin, name) not in self._options:
                    raise unknown_name(
                        "option", name, resolved[plugin], f"PLUGINS.{plugin} of {where}"
                    )
                option = self._options[plugin, name]
                resolved[plugin][name] = option.check(value, f"{option.key} in {where}")
        for dest, value in (flags or {}).items():
            plugin, _, name = dest.partition(".")
            if (plugin, name) in self._options:
                resolved[plugin][name] = value
        return resolved
