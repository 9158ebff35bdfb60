"""A run's folder: its configuration is written at the start and guards against mixing runs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gan_registry.config.load import validate_config
from gan_registry.config.schema import Config
from gan_registry.config.settings import CONFIG_FILE, FREE_KEYS, flatten_settings
from gan_registry.config.stored import read_stored, write_stored
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager


def versions() -> dict[str, str]:
    """Returns the versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("diagan-plugin", "torch", "numpy"):
        for distribution in metadata.distributions(name=package):
            found.setdefault(package, distribution.version)
    return found


def write_config(
    folder: Path, name: str, config: Config, options: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes the resolved configuration, with every plugin option and the versions."""
    content = config.model_dump()
    content["PLUGINS"] = {
        plugin: {name: _as_yaml(value) for name, value in values.items()}
        for plugin, values in options.items()
    }
    write_stored(folder, {"NAME": name, "VERSIONS": versions(), **content})


def _as_yaml(value: Any) -> Any:
    """Writes what YAML has no type for, e.g. a path, as the text that its flag would take."""
    if isinstance(value, (list, tuple)):
        return [_as_yaml(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def read_folder(
    folder: Path, plugins: PluginManager
) -> tuple[str, Config, dict[str, dict[str, Any]]]:
    """Reads what a run folder says of its run.

    Args:
        folder: The run folder.
        plugins: The plugins loaded now; options of absent plugins are left out.

    Returns:
        The configuration's name, the configuration, and the plugins' options.

    Raises:
        UserError: It is no run folder, or its configuration cannot be read.
    """
    path = folder / CONFIG_FILE
    try:
        content = read_stored(folder)
    except FileNotFoundError:
        raise UserError(
            f"{folder} is no run folder (it has no {CONFIG_FILE}); 'gan-registry train --out "
            f"{folder}' would make it one."
        ) from None
    name = str(content.pop("NAME", folder.name))
    content.pop("VERSIONS", None)
    table = plugins.options
    if isinstance(content.get("PLUGINS"), dict):
        present = table.plugins()
        content["PLUGINS"] = {p: part for p, part in content["PLUGINS"].items() if p in present}
    config = validate_config(content, str(path))
    return name, config, table.resolve(config.PLUGINS, where=str(path))


def check_same_run(
    folder: Path, config: Config, options: Mapping[str, Mapping[str, Any]], plugins: PluginManager
) -> None:
    """Makes sure that a folder which holds a run holds this one.

    Raises:
        UserError: It holds another; says what differs.
    """
    _, there, there_options = read_folder(folder, plugins)
    old = flatten_settings({**there.model_dump(), "PLUGINS": there_options})
    new = flatten_settings({**config.model_dump(), "PLUGINS": options})
    # As they would stand in the file, where a path is text and a tuple a list.
    old = {key: _as_yaml(value) for key, value in old.items()}
    new = {key: _as_yaml(value) for key, value in new.items()}
    differences = [
        f"{key} is {old.get(key)!r} there and {new.get(key)!r} now"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE_KEYS and old.get(key) != new.get(key)
    ]
    if differences:
        shown = "; ".join(differences[:8])
        more = f"; and {len(differences) - 8} more" if len(differences) > 8 else ""
        raise UserError(
            f"{folder} holds a different run: {shown}{more}. Choose another folder with --out."
        )
