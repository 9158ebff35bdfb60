"""Reads and writes `result.json`, the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_registry.config.settings import FREE_KEYS, flatten_settings
from gan_registry.config.stored import read_stored
from gan_registry.errors import UserError
from gan_registry.files import atomic_write, to_plain
from gan_registry.integrity import DamagedError, read_json, write_json

RESULT_FILE = "result.json"


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes `result.json`; numbers that are not finite become null, as JSON has no NaN."""
    with atomic_write(folder / RESULT_FILE) as temporary:
        write_json(temporary, to_plain(result))


def read_result(folder: Path) -> dict[str, Any]:
    """Reads `result.json` of a run folder.

    Raises:
        UserError: It is missing or damaged.
    """
    path = folder / RESULT_FILE
    try:
        result = read_json(path)
        if not _is_sound(result):
            raise DamagedError("holds something else than results")
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no {RESULT_FILE}; finish the training, or run 'gan-registry evaluate "
            f"--run {folder}'."
        ) from None
    except DamagedError as error:
        raise UserError(
            f"{path} is damaged: it {error}; 'gan-registry evaluate --run {folder}' writes it anew."
        ) from error
    return result


def _is_sound(result: Mapping[str, Any]) -> bool:
    """Whether tables, reports and comparisons can read what they look for, if it is there."""
    kept = result.get("kept", {})
    if not (isinstance(kept, dict) and all(map(_is_kept, kept.values()))):
        return False
    groups, directions = result.get("groups", {}), result.get("directions", {})
    metrics = [part for key, part in result.items() if key.partition("_")[0] == "metrics"]
    if not all(isinstance(part, dict) for part in (groups, directions, *metrics)):
        return False
    findings = result.get("health", [])
    if not (isinstance(findings, list) and all(map(_is_finding, findings))):
        return False
    numbers = [result.get(key) for key in ("num_generated", "num_real", "seconds")]
    if not all(isinstance(entry, dict) for entry in groups.values()):
        return False
    for part in (*metrics, *groups.values()):
        numbers.extend(part.values())
    return all(value is None or isinstance(value, (int, float)) for value in numbers) and all(
        isinstance(value, str) for value in directions.values()
    )


def _is_kept(entry: Any) -> bool:
    """Whether what was measured of a kept generator is what a result holds of the last one."""
    return (
        isinstance(entry, dict)
        and type(entry.get("step")) is int
        and {"metrics", "groups"} <= entry.keys()
        and _is_sound(entry)
    )


def _is_finding(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("step")) is int
        and all(isinstance(entry.get(key), str) for key in ("name", "evidence", "advice"))
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Returns what a run was made with, for telling runs apart: `SECTION.key` → value.

    The seed and what does not change a result are left out; nothing is known (an empty mapping)
    where the folder has no configuration.

    Raises:
        UserError: The configuration is damaged.
    """
    try:
        content = read_stored(folder)
    except FileNotFoundError:
        return {}
    content.pop("VERSIONS", None)
    content.pop("NAME", None)
    return {
        key: value
        for key, value in flatten_settings(content).items()
        if key not in FREE_KEYS and key not in ("RUN.seed", "RUN.sampler")
    }
