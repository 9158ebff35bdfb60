"""Finds a configuration by name or path, applies `--set`, and validates it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic
import yaml

from gan_registry.config.schema import Config
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
    """Reads a configuration by name or path, without validating it.

    Args:
        source: The name of a packaged configuration, or a YAML file.

    Returns:
        Its name, where it was found (for messages), and its content.

    Raises:
        UserError: There is no such configuration, or it is not valid YAML.
    """
    path = Path(source).expanduser()
    looks_like_path = path.suffix in {".yaml", ".yml"} or len(path.parts) > 1
    if path.is_file():
        name, where = path.stem, str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot read the config {path}: {error}.") from error
    elif looks_like_path:
        raise UserError(
            f"There is no config file {path}. Packaged configs, chosen by name: "
            f"{', '.join(packaged_configs())}."
        )
    else:
        if source not in packaged_configs():
            raise unknown_name("config", source, packaged_configs())
        name, where = source, f"the packaged config {source!r}"
        text = resources.files("gan_registry.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{where} must hold sections such as MODEL:, not a {type(content).__name__}.")
    return name, where, content


def apply_settings(content: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Applies `--set SECTION.key=value` to a configuration; values are read as YAML.

    Raises:
        UserError: A setting is not of that form.
    """
    content = copy.deepcopy(content)
    for setting in settings:
        key, equals, text = setting.partition("=")
        parts = key.strip().split(".")
        if not equals or len(parts) < 2 or not all(parts):
            raise UserError(f"--set {setting!r} must be of the form SECTION.key=value.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting!r}: the value is not valid YAML.") from error
        node = content
        for part in parts[:-1]:
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
            if not isinstance(node, dict):
                raise UserError(f"--set {setting!r}: {part} is no section and takes no keys.")
        node[parts[-1]] = _number(value)
    return content


def _number(value: Any) -> Any:
    """Reads `5e-4` as a number, which YAML 1.1 takes for text as it lacks the decimal point."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def validate_config(
    content: Mapping[str, Any], where: str, claims: Mapping[str, str] | None = None
) -> Config:
    """Checks sections, keys and values.

    Args:
        content: Section → key → value.
        where: The file, for messages.
        claims: Host keys understood by plugins: `SECTION.key` → `plugin.option`; such values move
            to the section `PLUGINS`.

    Raises:
        UserError: One error that lists every unknown section and key and every bad value.
    """
    content = copy.deepcopy(dict(content))
    for key, option in (claims or {}).items():
        section, _, name = key.partition(".")
        if isinstance(content.get(section), dict) and name in content[section]:
            plugin, _, target = option.partition(".")
            value = content[section].pop(name)
            content.setdefault("PLUGINS", {}).setdefault(plugin, {}).setdefault(target, value)
    for section, values in content.items():
        if section == "PLUGINS" or not isinstance(values, dict):
            continue
        content[section] = {key: _number(value) for key, value in values.items()}
    try:
        return Config.model_validate({k: v for k, v in content.items() if v is not None})
    except pydantic.ValidationError as error:
        raise UserError(
            f"{where[0].upper()}{where[1:]} has {_count(error)}: "
            + "; ".join(_explain(dict(item)) for item in error.errors())
            + "."
        ) from None


def _count(error: pydantic.ValidationError) -> str:
    number = error.error_count()
    return "a mistake" if number == 1 else f"{number} mistakes"


def _explain(item: dict[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        if len(location) == 1:
            known: Iterable[str] = SECTIONS
            kind = "section"
        else:
            kind = "key"
            known = Config.model_fields[location[0]].annotation.model_fields  # type: ignore[union-attr]
        match = nearest(location[-1], known)
        hint = f"did you mean {match!r}?" if match else f"known: {', '.join(known)}"
        shown = "" if kind == "section" else f" = {item['input']!r}"
        return f"unknown {kind} {key}{shown} ({hint})"
    return f"{key} = {item['input']!r} ({item['msg'][0].lower()}{item['msg'][1:]})"


def load_config(
    source: str,
    settings: Iterable[str] = (),
    claims: Mapping[str, str] | None = None,
) -> Config:
    """Reads, changes and validates a configuration.

    Args:
        source: The name of a packaged configuration, or a YAML file.
        settings: Changes of the form `SECTION.key=value`.
        claims: Host keys that plugins understand.

    Raises:
        UserError: Something is wrong; says what and where.
    """
    _, where, content = read_config(source)
    return validate_config(apply_settings(content, settings), where, claims)
