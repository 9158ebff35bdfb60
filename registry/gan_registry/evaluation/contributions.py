"""Puts a result together from what several authors contribute; nobody overwrites anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gan_registry.errors import PluginError


def merge_contributions(
    contributions: Iterable[tuple[str, Mapping[str, Any]]], into: Mapping[str, Any]
) -> dict[str, Any]:
    """Merges what plugins returned from `gan_result`, nested mappings entry by entry.

    Args:
        contributions: Plugin and what it returned, as `Dispatcher.result` gives them.
        into: What the result holds already; it is left as it is, and so are the contributions.

    Returns:
        A new result: the entries of `into`, then the plugins', in their order.

    Raises:
        PluginError: An entry is there already; the message names the plugin that contributed it
            second, and the one that was first unless it is the host's own.

    Example:
        >>> own = {"groups": {"minor": {"share_data": 0.05}}}
        >>> merge_contributions([("p", {"groups": {"minor": {"difficulty": 2}}})], own)
        {'groups': {'minor': {'share_data': 0.05, 'difficulty': 2}}}
    """
    merged: dict[str, Any] = {}
    authors: dict[str, str | None] = {}
    _merge(merged, into, None, authors, "")
    for plugin, entries in contributions:
        _merge(merged, entries, plugin, authors, "")
    return merged


def _merge(
    target: dict[str, Any],
    entries: Mapping[str, Any],
    plugin: str | None,
    authors: dict[str, str | None],
    prefix: str,
) -> None:
    for key, value in entries.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping)
        if key not in target:
            target[key] = {} if nested else value
            authors[name] = plugin
        elif not (nested and isinstance(target[key], dict)):
            first = authors[name]
            raise PluginError(
                f"Plugin {plugin!r}: gan_result returned {name!r}, which the result holds already"
                + (f" from the plugin {first!r}." if first else ".")
            )
        if nested:
            _merge(target[key], value, plugin, authors, f"{name}.")


def add_values(target: dict[str, Any], values: Mapping[str, Any], author: str) -> None:
    """Adds numbers by name to others in place; `author` is what the message calls who gives them.

    Raises:
        PluginError: One of that name is there already.
    """
    for name, value in values.items():
        if name in target:
            raise PluginError(f"{author} returned {name!r}, which the result holds already.")
        target[name] = value
