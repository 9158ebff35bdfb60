"""Which plugins a run was made with; it is continued with the same ones only."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import yaml

from gan_registry.config.load import load_yaml
from gan_registry.config.settings import CONFIG_FILE
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


def recorded_plugins(folder: Path) -> dict[str, str]:
    """Returns the plugins that a run folder's configuration names, with their versions."""
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError):
        content = load_yaml((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        found = content.get("VERSIONS", {}).get("plugins")
        if isinstance(found, Mapping):
            return {str(name): str(version) for name, version in found.items()}
    return {}


def require_plugins(folder: Path, plugins: PluginManager) -> None:
    """Makes sure that whoever continues a run has the plugins that it was made with.

    Raises:
        UserError: One is missing; says why and what to do.
    """
    for name, reason in _missing(folder, plugins):
        raise UserError(
            f"{folder} was trained with the plugin {name!r}, which is {reason}; without it another "
            "training would follow. Enable or install it, or choose another folder with --out."
        )


def warn_of_missing_plugins(folder: Path, plugins: PluginManager) -> None:
    """Says of which plugins a run is opened without: what they add to samples or results lacks."""
    for name, reason in _missing(folder, plugins):
        warnings.warn(
            f"{folder} was trained with the plugin {name!r}, which is {reason}; it is opened "
            "without what that plugin adds.",
            stacklevel=3,
        )


def _missing(folder: Path, plugins: PluginManager) -> list[tuple[str, str]]:
    """Returns the plugins that are not loaded, each with the reason."""
    found = []
    for name in sorted(recorded_plugins(folder)):
        info = plugins.infos.get(name)
        if info is None:
            found.append((name, "not installed"))
        elif info.skipped is not None:
            found.append((name, info.skipped))
    return found
