"""Plugin options: one table, declared once as flags, read from the config file and the flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gan_registry.errors import PluginError, UserError, unknown_name

HOST_FLAGS = frozenset(
    {
        "-h", "--help", "--help-all", "--config", "--out", "--data", "--sampler", "--samples",
        "--seed", "--steps", "--device", "--num-eval", "--stop-on", "--set", "--dry-run", "--quiet",
        "--download", "--minority", "--trust",
    }
)  # fmt: skip
"""Flags of `gan-registry train` itself, which no plugin may take."""


class PresetAction(argparse.Action):
    """A flag that chooses among presets: what each puts in the place of its plugin's defaults.

    What a user has said of an option, in a file or by a flag, wins over a preset.

    Args:
        presets: Preset → option of the same plugin → value, as the option's flag would return it.
        **settings: The arguments of any flag, except `choices`.
    """

    def __init__(self, *, presets: Mapping[str, Mapping[str, Any]], **settings: Any) -> None:
        super().__init__(choices=tuple(presets), **settings)
        self.presets = presets

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Notes the preset."""
        setattr(namespace, self.dest, values)


_YES, _NO = ("on", "yes", "true"), ("off", "no", "false")


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
    def convert(self) -> Any:
        """The flag's `type` as its plugin declared it."""
        return self.action.declared_type  # type: ignore[attr-defined]

    @property
    def key(self) -> str:
        """Where it stands in a config file."""
        return f"PLUGINS.{self.plugin}.{self.name}"

    def stand_ins(self, value: Any) -> Mapping[str, Any]:
        """Returns the defaults that a value of this option replaces: option → value."""
        return self.action.presets[value] if isinstance(self.action, PresetAction) else {}

    def check(self, value: Any, where: str) -> Any:
        """Converts and checks a value by the rules of the flag.

        Args:
            value: The value, of the right type or as text.
            where: What to call it in an error, e.g. the key and its file.

        Raises:
            UserError: The value is not allowed; says which are.
        """
        if value is None and self.default is not None:
            raise UserError(f"{where} has no value; it must be {self.describe()}, or be left out.")
        if value is None or (value == self.default and type(value) is type(self.default)):
            return value
        if self.action.nargs == 0:  # a switch such as store_true
            if not isinstance(value, bool):
                raise UserError(f"{where} is {value!r}, but must be true or false.")
            return value
        if self.action.nargs in ("*", "+") or isinstance(self.action.nargs, int):
            if not isinstance(value, (list, tuple)):
                raise UserError(f"{where} is {value!r}, but must be a list.")
            return [self._check_one(item, where) for item in value]
        return self._check_one(value, where)

    def _check_one(self, value: Any, where: str) -> Any:
        if isinstance(value, (dict, list, tuple)):
            raise UserError(f"{where} is {value!r}, but must be {self.describe()}.")
        choices = None if self.action.choices is None else list(self.action.choices)
        if isinstance(value, bool):
            # YAML reads an unquoted off as false; a choice of that name is what was meant.
            words = [word for word in (_YES if value else _NO) if word in (choices or ())]
            value = words[0] if words else value
        given = value
        convert = self.convert
        try:
            value = convert(str(value)) if callable(convert) else str(value)
        except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
            reason = str(error) if isinstance(error, argparse.ArgumentTypeError) else ""
            raise UserError(
                f"{where} is {given!r}, but must be {reason or self.describe()}."
            ) from None
        if choices is not None and value not in choices:
            raise unknown_name(f"value of {where}.", value, map(str, choices))
        return value

    def describe(self) -> str:
        """Says in a few words what values are allowed."""
        if self.action.choices is not None:
            return "one of " + ", ".join(map(str, self.action.choices))
        if self.convert is int:
            return "a whole number"
        if self.convert is float:
            return "a number"
        return f"a value that {self.flag} takes (see 'gan-registry train --help-all')"


def _complaining(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Makes a flag's complaint a whole sentence, as that of the config file is."""

    def complaining(text: str) -> Any:
        try:
            return convert(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"must be {error}, but got {text!r}") from None

    complaining.__name__ = getattr(convert, "__name__", "value")  # argparse shows it
    return complaining


def adopt_flags(actions: Iterable[argparse.Action], plugin: str) -> None:
    """Checks the flags that a plugin has added, and moves their defaults out of the way.

    With the defaults kept apart, the namespace that argparse returns holds just the flags given.

    Raises:
        PluginError: A flag is the host's own, its `dest` is not of the form `plugin.option`, or a
            preset sets an option that the plugin does not have.
    """
    actions = list(actions)
    for action in actions:
        flags = "/".join(action.option_strings)
        if not flags:
            raise PluginError(f"Plugin {plugin!r} adds {action.dest!r}, which is no flag.")
        taken = HOST_FLAGS.intersection(action.option_strings)
        if taken:
            raise PluginError(
                f"Plugin {plugin!r} adds the flag {min(taken)}, which is the host's own."
            )
        prefix, dot, name = action.dest.partition(".")
        if prefix != plugin or not dot or not name:
            raise PluginError(
                f"Plugin {plugin!r} adds the flag {flags} with dest {action.dest!r}; it must be "
                f"of the form '{plugin}.option'."
            )
        default = None if action.default is argparse.SUPPRESS else action.default
        action.declared_default = default  # type: ignore[attr-defined]
        action.declared_type = action.type  # type: ignore[attr-defined]
        if callable(action.type):
            action.type = _complaining(action.type)
        action.default = argparse.SUPPRESS
        shown = str(default).replace("%", "%%")
        if action.help and "%(default)s" in action.help:
            action.help = action.help.replace("%(default)s", shown)
        elif action.help and default not in (None, False, ""):
            action.help += f" (default: {shown})"
        known = {other.dest for other in actions}
        for preset, values in getattr(action, "presets", {}).items():
            if unknown := sorted({f"{plugin}.{name}" for name in values} - known):
                raise PluginError(
                    f"Plugin {plugin!r}: the preset {preset!r} of {flags} sets {unknown[0]!r}, "
                    "which is no option."
                )


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
            parser: The parser, of whose flags each went through :func:`adopt_flags`.
            absent: Installed plugins that were skipped: what a config says of them is ignored.
        """
        options = {}
        for action in parser._actions:
            plugin, _, name = action.dest.partition(".")
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
        origins: Mapping[str, str] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Merges defaults, presets, the config's section `PLUGINS` and flags, in rising priority.

        What comes out can be given again as a section, and means the same.

        Args:
            section: Plugin → option → value, from the config.
            flags: `plugin.option` → value, as argparse returned them.
            where: The config's file, for messages.
            origins: What else set a key of the config, e.g. a flag: `PLUGINS.plugin.option` → what
                to call it in a message.

        Returns:
            Every option of every plugin, checked.

        Raises:
            UserError: An unknown plugin or option, or a value that is not allowed.
        """
        known: dict[str, list[str]] = {}
        for plugin, name in self._options:
            known.setdefault(plugin, []).append(name)
        given: dict[tuple[str, str], Any] = {}
        for plugin, values in section.items():
            if plugin in self._absent:
                continue
            for name, value in values.items():
                origin = (origins or {}).get(f"PLUGINS.{plugin}.{name}", where)
                if plugin not in known:
                    raise unknown_name("plugin", plugin, known, f"PLUGINS of {origin}")
                if (plugin, name) not in self._options:
                    raise unknown_name(
                        "option", name, known[plugin], f"PLUGINS.{plugin} of {origin}"
                    )
                option = self._options[plugin, name]
                given[plugin, name] = option.check(value, f"{option.key} in {origin}")
            if plugin not in known:
                raise unknown_name("plugin", plugin, known, f"PLUGINS of {where}")
        for dest, value in (flags or {}).items():
            plugin, _, name = dest.partition(".")
            if (plugin, name) in self._options:
                given[plugin, name] = value
        preset = {
            (option.plugin, name): value
            for key, option in self._options.items()
            for name, value in option.stand_ins(given.get(key, option.default)).items()
        }
        default = {key: option.default for key, option in self._options.items()}
        final = {**default, **preset, **given}
        return {
            plugin: {name: final[plugin, name] for name in names} for plugin, names in known.items()
        }

    def changed(self, options: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Returns the plugins of which an option has another value than its default."""
        return {
            option.plugin
            for option in self._options.values()
            if options.get(option.plugin, {}).get(option.name, option.default) != option.default
        }
