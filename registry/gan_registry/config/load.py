"""Finds a configuration by name or path, applies `--set`, and validates it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic

from gan_registry.config.compatibility import find_conflicts
from gan_registry.config.schema import Config
from gan_registry.config.studiogan import (
    NAMES,
    find_unsupported,
    known_keys,
    supported_part,
    without_absent,
)
from gan_registry.config.trust import named_code, refuse_code
from gan_registry.config.yaml_text import YamlError, load_yaml, read_yaml_file
from gan_registry.datasets import BUILTIN
from gan_registry.errors import UserError, nearest, unknown_name

SECTIONS = tuple(Config.model_fields)


def packaged_configs() -> list[str]:
    """Returns the names of the configurations that come with the package."""
    folder = resources.files("gan_registry.configs")
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def read_config(source: str) -> tuple[str, str, dict[str, Any]]:
    """Reads a packaged configuration by its name, or a YAML file, without validating it.

    Returns:
        Its name, where it was found (for messages), and its content.

    Raises:
        UserError: There is no such configuration, or it is not valid YAML.
    """
    path = Path(source)
    looks_like_path = path.suffix in {".yaml", ".yml"} or len(path.parts) > 1
    name, where = path.stem, str(path)
    if source in packaged_configs():
        name, where = source, f"the packaged config {source!r}"
        text = resources.files("gan_registry.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    elif looks_like_path and not path.exists():
        raise UserError(
            f"There is no config file {path}. Packaged configs, chosen by name: "
            f"{', '.join(packaged_configs())}."
        )
    elif source in BUILTIN or (source and path.is_dir()):
        what = "a dataset" if source in BUILTIN else "a folder"
        raise UserError(
            f"--config is {source}, which is {what}, no config; 'gan-registry init --data FOLDER' "
            "writes one for images of your own."
        )
    elif not (looks_like_path or path.is_file()):
        raise unknown_name("config", source, packaged_configs())
    else:
        text = None
    try:
        content = read_yaml_file(path) if text is None else load_yaml(text)
    except YamlError as error:
        raise UserError(f"{where} is not valid YAML: {error}.") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UserError(
            f"{where} must hold sections such as MODEL:, not a {type(content).__name__}."
        )
    if {"NAME", "VERSIONS"} <= content.keys():  # that of a run folder, which begins a new run
        given = str(content.pop("NAME"))
        name = given if given == Path(given).name else name  # run folders are named after it
        del content["VERSIONS"]
    return name, where, content


def apply_settings(content: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Applies `--set SECTION.key=value` to a configuration; values are read as YAML.

    Raises:
        UserError: A setting is not of that form.
    """
    changed: dict[str, Any] = dict(content)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting!r} must be of the form SECTION.key=value.")
        try:
            value = load_yaml(text)
        except YamlError as error:
            shown = setting if len(setting) <= 80 else f"{setting[:79]}…"
            raise UserError(f"--set {shown!r}: the value is not valid YAML: {error}.") from error
        changed = set_key(changed, key.strip(), value, f"--set {setting!r}")
    return changed


def set_key(content: Mapping[str, Any], key: str, value: Any, flag: str) -> dict[str, Any]:
    """Returns a copy of a configuration with another value of `SECTION.key`, or of a deeper key.

    Raises:
        UserError: `key` is not of that form, or leads through something that takes no keys; the
            message begins with `flag`, what asks for it.
    """
    changed = copy.deepcopy(dict(content))
    parts = key.split(".")
    if len(parts) < 2 or not all(parts):
        raise UserError(f"{flag} must be of the form SECTION.key=value.")
    node = changed
    for part in parts[:-1]:
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise UserError(f"{flag}: {part} is {node!r} in the config, which takes no keys.")
    node[parts[-1]] = value
    return changed


def validate_config(
    content: Mapping[str, Any],
    where: str,
    claims: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    backbones: Collection[str] = (),
) -> Config:
    """Checks sections, keys and values, and whether they go together.

    StudioGAN's "N/A" stands for a key that is not given; keys of StudioGAN's without a counterpart
    here are passed over where what they belong to is off.

    Args:
        content: Section → key → value.
        where: The file, for messages.
        claims: Host keys understood by plugins: `SECTION.key` → `plugin.option`; such values move
            to the section `PLUGINS`.
        flags: `SECTION.key` → the flag that has set it, for messages.
        backbones: Names of the backbones that come from plugins; one of them may be among those of
            StudioGAN's that the host lacks.

    Raises:
        UserError: One error that lists every unknown section and key, every bad value, every pair
            of values that exclude each other, and all that StudioGAN supports and the host does
            not.
    """
    claims, flags = claims or {}, flags or {}
    # A section or a plugin with nothing beneath it is as good as absent.
    given = without_absent(
        {section: values for section, values in content.items() if values is not None}
    )
    data = given.get("DATA")
    if isinstance(data, dict) and isinstance(data.get("name"), str) and data["name"] in NAMES:
        name = NAMES[data["name"]]
        warnings.warn(f"{where}: DATA.name {data['name']} is taken for {name}.", stacklevel=2)
        given["DATA"] = {**data, "name": name}
    unsupported = find_unsupported(given, claims, backbones)
    conflicts = find_conflicts(given, backbones)
    checked = supported_part(_claimed_by_plugins(given, claims), backbones)
    errors: list[Any] = []
    try:
        config = Config.model_validate(checked)
    except pydantic.ValidationError as error:
        errors = error.errors()
    if not (errors or conflicts or unsupported):
        return config
    mistakes = [_explain(dict(item), flags) for item in errors] + conflicts
    keys = [".".join(map(str, item["loc"])) for item in errors]
    keys += [item.key for item in unsupported]
    # An unknown section is reported as such, the flag names a key in it.
    from_flags = not conflicts and all(
        any(flag == key or flag.startswith(f"{key}.") for flag in flags) for key in keys
    )
    # Only a sentence's own first word is capitalised, never a file's name.
    place = "The command line" if from_flags else where.replace("the packaged", "The packaged", 1)
    parts = []
    if mistakes:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        parts.append(f"{place} has {count}: {'; '.join(mistakes)}.")
    if unsupported:
        asked = "; ".join(f"{item}{_from_flag(item.key, flags)}" for item in unsupported)
        parts.append(
            f"{'It also' if mistakes else place} asks for what is supported by StudioGAN, but not "
            f"here: {asked}. Change these, or train it with StudioGAN itself."
        )
    raise UserError(" ".join(parts))


def _claimed_by_plugins(given: Mapping[str, Any], claims: Mapping[str, str]) -> dict[str, Any]:
    """Returns a copy in which claimed keys have moved to the options of their plugins."""
    moved = {
        section: dict(values) if isinstance(values, dict) else values
        for section, values in given.items()
    }
    plugins = moved.get("PLUGINS", {})
    if isinstance(plugins, dict):
        moved["PLUGINS"] = {
            plugin: dict(values) if isinstance(values, dict) else values
            for plugin, values in plugins.items()
            if values is not None
        }
    for key, option in claims.items():
        section, _, name = key.partition(".")
        if isinstance(moved.get(section), dict) and name in moved[section]:
            plugin, _, target = option.partition(".")
            value = moved[section].pop(name)
            # What is no mapping stays as it is, for the schema to name.
            if isinstance(moved["PLUGINS"], dict):
                options = moved["PLUGINS"].setdefault(plugin, {})
                if isinstance(options, dict):
                    options.setdefault(target, value)
    return moved


def _explain(item: dict[str, Any], flags: Mapping[str, str]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        if len(location) == 1:
            known: Iterable[str] = SECTIONS
            kind = "section"
        else:
            kind = "key"
            known = known_keys(location[0])
        match = nearest(location[-1], known)
        hint = f"did you mean {match!r}?" if match else f"known: {', '.join(sorted(known))}"
        shown = "" if kind == "section" else f" = {item['input']!r}"
        return f"unknown {kind} {key}{shown} ({hint})"
    reason = item["msg"].removeprefix("Value error, ")
    return f"{key} = {item['input']!r}{_from_flag(key, flags)} ({reason[0].lower()}{reason[1:]})"


def _from_flag(key: str, flags: Mapping[str, str]) -> str:
    return f" from {flags[key]}" if key in flags else ""


def load_config(
    source: str,
    settings: Iterable[str] = (),
    claims: Mapping[str, str] | None = None,
    trust: bool = False,
    backbones: Collection[str] = (),
) -> Config:
    """Reads, changes and validates a configuration; see the functions that it calls.

    Args:
        source: The name of a packaged configuration, or a file.
        settings: `SECTION.key=value`, changes.
        claims: As in :func:`validate_config`.
        trust: Whether the file may name code to run, as `settings` and packaged files may.
        backbones: As in :func:`validate_config`.

    Raises:
        UserError: Something is wrong; says what and where.
    """
    settings = list(settings)
    _, where, content = read_config(source)
    config = validate_config(apply_settings(content, settings), where, claims, None, backbones)
    if not trust and source not in packaged_configs():
        refuse_code(named_code(config, config.PLUGINS), where, set_keys(settings))
    return config


def set_keys(settings: Iterable[str]) -> list[str]:
    """Returns the keys of `SECTION.key=value`."""
    return [text.partition("=")[0].strip() for text in settings]
