"""Which plugins a run was made with; it is continued with the same ones only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.training.run import Run


def participants(run: Run, before: Mapping[str, str]) -> dict[str, str]:
    """Returns the plugins that take part in a run, with their versions.

    Those own something by which it trains, or have an option that is not at its default.

    Args:
        run: The run.
        before: The plugins that took part before it was continued.
    """
    infos = run.plugins.infos
    now = {name: infos[name].version for name in run.participants if name in infos}
    return dict(sorted({**before, **now}.items()))


def recorded_plugins(versions: Any) -> dict[str, str]:
    """Returns the plugins, with their versions, that `VERSIONS` of a configuration names."""
    found = versions.get("plugins") if isinstance(versions, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(name): str(version) for name, version in found.items()}


def require_plugins(folder: Path, recorded: Iterable[str], plugins: PluginManager) -> None:
    """Makes sure that whoever continues a run has the plugins that it was made with.

    Args:
        folder: The run folder, for messages.
        recorded: The plugins that took part.
        plugins: Those that are loaded now.

    Raises:
        UserError: One is missing; says why and what to do.
    """
    for name, reason in _missing(recorded, plugins):
        raise UserError(
            f"{folder} was trained with the plugin {name!r}, which is {reason}; without it another "
            "training would follow. Enable or install it, or choose another folder with --out."
        )


def warn_of_missing_plugins(folder: Path, recorded: Iterable[str], plugins: PluginManager) -> None:
    """Says of which plugins a run is opened without: what they add to samples or results lacks."""
    for name, reason in _missing(recorded, plugins):
        warnings.warn(
            f"{folder} was trained with the plugin {name!r}, which is {reason}; it is opened "
            "without what that plugin adds.",
            stacklevel=3,
        )


def _missing(recorded: Iterable[str], plugins: PluginManager) -> list[tuple[str, str]]:
    """Returns the plugins that are not loaded, each with the reason."""
    found = []
    for name in sorted(recorded):
        info = plugins.infos.get(name)
        if info is None:
            found.append((name, "not installed"))
        elif info.skipped is not None:
            found.append((name, info.skipped))
    return found
