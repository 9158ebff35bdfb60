"""A run's folder: its configuration is written at the start and guards against mixing runs."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from gan_registry.config.load import load_yaml, validate_config
from gan_registry.config.schema import Config
from gan_registry.config.settings import CONFIG_FILE, FREE_KEYS, flatten_settings
from gan_registry.errors import UserError
from gan_registry.files import atomic_write, is_temporary
from gan_registry.plugins import PluginManager
from gan_registry.training.lock import LOCK_FILE
from gan_registry.training.participants import participants, recorded_plugins
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
    content = config.model_dump()
    content["PLUGINS"] = {
        plugin: {name: _as_yaml(value) for name, value in values.items()}
        for plugin, values in options.items()
    }
    used = {**versions(), "plugins": dict(plugins)}
    text = yaml.safe_dump(
        {"NAME": name, "VERSIONS": used, **content}, sort_keys=False, allow_unicode=True
    )
    with atomic_write(folder / CONFIG_FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def claimed(run: Run) -> Iterator[None]:
    """Writes the configuration of a new run before it is built, which may take long.

    If that fails, the folder is free again for a corrected one. That of a run which is continued is
    written afterwards: until then it may be refused, and nothing changes.
    """
    if run.folder is None or run.rank != 0:
        yield
        return
    begun = has_begun(run.folder)
    plugins = participants(run, recorded_plugins(run.folder) if begun else {})
    if not begun:
        write_config(run.folder, run.config_name, run.config, run.options, plugins)
    try:
        yield
    except BaseException:
        if not begun:
            (run.folder / CONFIG_FILE).unlink(missing_ok=True)
        raise
    if begun:
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
    if not path.is_file():
        raise UserError(
            f"{folder} is no run folder (it has no {CONFIG_FILE}); 'gan-registry train --out "
            f"{folder}' would make it one."
        )
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged; restore it or start in another folder.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged; restore it or start in another folder.")
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
