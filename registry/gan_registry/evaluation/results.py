"""Reads and writes `result.json`, the numbers of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_registry.config.settings import CONFIG_FILE, FREE_KEYS, flatten_settings
from gan_registry.config.yaml_text import YamlError, read_yaml_file
from gan_registry.errors import UserError
from gan_registry.files import atomic_write, to_plain
from gan_registry.formatting import json_text

RESULT_FILE = "result.json"


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes `result.json`; numbers that are not finite become null, as JSON has no NaN."""
    with atomic_write(folder / RESULT_FILE) as temporary:
        text = json_text(to_plain(result), indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_result(folder: Path) -> dict[str, Any]:
    """Reads `result.json` of a run folder.

    Raises:
        UserError: It is missing or damaged.
    """
    path = folder / RESULT_FILE
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no {RESULT_FILE}; finish the training, or run 'gan-registry evaluate "
            f"--run {folder}'."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged; 'gan-registry evaluate --run {folder}' writes it anew."
        ) from error
    if not (isinstance(result, dict) and _is_sound(result)):
        raise UserError(f"{path} is damaged; 'gan-registry evaluate --run {folder}' mends it.")
    return result


def _is_sound(result: Mapping[str, Any]) -> bool:
    """Whether tables, reports and comparisons can read what they look for, if it is there."""
    parts = [result.get(key, {}) for key in ("metrics", "groups", "directions")]
    if not all(isinstance(part, dict) for part in parts):
        return False
    findings = result.get("health", [])
    if not (isinstance(findings, list) and all(map(_is_finding, findings))):
        return False
    _, groups, directions = parts
    return all(isinstance(entry, dict) for entry in groups.values()) and all(
        isinstance(value, str) for value in directions.values()
    )


def _is_finding(entry: Any) -> bool:
    return isinstance(entry, dict) and {"name", "step", "evidence", "advice"} <= entry.keys()


def read_settings(folder: Path) -> dict[str, Any]:
    """Returns what a run was made with, for telling runs apart: `SECTION.key` → value.

    The seed and what does not change a result are left out; nothing is known (an empty mapping)
    where the folder has no readable configuration.
    """
    try:
        content = read_yaml_file(folder / CONFIG_FILE)
    except (UserError, YamlError):
        return {}
    if not isinstance(content, dict):
        return {}
    content.pop("VERSIONS", None)
    content.pop("NAME", None)
    return {
        key: value
        for key, value in flatten_settings(content).items()
        if key not in FREE_KEYS and key not in ("RUN.seed", "RUN.sampler")
    }
