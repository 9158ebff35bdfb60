"""A run's folder: its configuration is written at the start and guards against mixing runs."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from gan_registry.config.load import validate_config
from gan_registry.config.schema import Config
from gan_registry.config.settings import CONFIG_FILE, binding_settings, options_as_yaml
from gan_registry.config.stored import read_stored, write_stored
from gan_registry.errors import UserError
from gan_registry.files import is_temporary
from gan_registry.plugins import PluginManager
from gan_registry.training.lock import LOCK_FILE
from gan_registry.training.participants import participants, recorded_plugins, require_plugins
from gan_registry.training.run import Run


def versions() -> dict[str, str]:
    """Returns the versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("diagan-plugin", "torch", "numpy"):
        for distribution in metadata.distributions(name=package):
            found.setdefault(package, distribution.version)
    return found


def write_config(
    folder: Path,
    name: str,
    config: Config,
    options: Mapping[str, Mapping[str, Any]],
    plugins: Mapping[str, str],
) -> None:
    """Writes the resolved configuration, with every plugin option and the versions.

    Args:
        folder: The run folder.
        name: The configuration's name.
        config: The configuration.
        options: Plugin → option → value.
        plugins: The plugins that take part, with their versions.
    """
    content = {**config.model_dump(), "PLUGINS": options_as_yaml(options)}
    used = {**versions(), "plugins": dict(plugins)}
    write_stored(folder, {"NAME": name, "VERSIONS": used, **content})


@contextlib.contextmanager
def claimed(run: Run, before: Mapping[str, str] | None) -> Iterator[None]:
    """Writes the configuration of a new run before it is built, which may take long.

    If that fails, the folder is free again for a corrected one. That of a run which is continued is
    written afterwards: until then it may be refused, and nothing changes.

    Args:
        run: The run.
        before: The plugins that took part in a run which is continued; None for a new one.
    """
    if run.folder is None or run.rank != 0:
        yield
        return
    plugins = participants(run, before or {})
    if before is None:
        write_config(run.folder, run.config_name, run.config, run.options, plugins)
    try:
        yield
    except BaseException:
        if before is None:
            (run.folder / CONFIG_FILE).unlink(missing_ok=True)
        raise
    if before is not None:
        write_config(run.folder, run.config_name, run.config, run.options, plugins)


def has_begun(folder: Path) -> bool:
    """Whether there is more in a folder than a configuration that no training has followed yet.

    A configuration that a person has put there counts as more.
    """
    own = {LOCK_FILE}
    with contextlib.suppress(OSError), (folder / CONFIG_FILE).open("rb") as file:
        if file.read(5) == b"NAME:":  # as write_config begins
            own.add(CONFIG_FILE)
    return any(path.name not in own and not is_temporary(path) for path in folder.iterdir())


class StoredRun(NamedTuple):
    """What a run folder says of its run.

    Attributes:
        name: The configuration's name.
        config: The configuration.
        options: Plugin → option → value; those of absent plugins are left out.
        plugins: The plugins that took part, with their versions.
    """

    name: str
    config: Config
    options: dict[str, dict[str, Any]]
    plugins: dict[str, str]


def read_folder(folder: Path, plugins: PluginManager) -> StoredRun:
    """Reads what a run folder says of its run.

    Args:
        folder: The run folder.
        plugins: The plugins loaded now.

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
    recorded = recorded_plugins(content.pop("VERSIONS", None))
    table = plugins.options
    if isinstance(content.get("PLUGINS"), dict):
        present = table.plugins()
        content["PLUGINS"] = {p: part for p, part in content["PLUGINS"].items() if p in present}
    config = validate_config(content, str(path), backbones=plugins.catalogs.backbones.of_plugins())
    return StoredRun(name, config, table.resolve(config.PLUGINS, where=str(path)), recorded)


def check_same_run(
    folder: Path, config: Config, options: Mapping[str, Mapping[str, Any]], plugins: PluginManager
) -> dict[str, str]:
    """Makes sure that a folder which holds a run holds this one, and that its plugins are there.

    Returns:
        The plugins that took part before, with their versions.

    Raises:
        UserError: It holds another, says what differs; or a plugin is missing.
    """
    stored = read_folder(folder, plugins)
    require_plugins(folder, stored.plugins, plugins)

    def binding(config: Config, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        # As they would stand in the file, where a path is text and a tuple a list.
        acting = {name: part for name, part in options.items() if name not in plugins.observers}
        return binding_settings({**config.model_dump(), "PLUGINS": acting})

    old, new = binding(stored.config, stored.options), binding(config, options)
    differences = [
        f"{key} is {old.get(key)!r} there and {new.get(key)!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if differences:
        shown = "; ".join(differences[:8])
        more = f"; and {len(differences) - 8} more" if len(differences) > 8 else ""
        raise UserError(
            f"{folder} holds a different run: {shown}{more}. Choose another folder with --out."
        )
    return stored.plugins
