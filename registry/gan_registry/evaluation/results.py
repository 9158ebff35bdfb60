"""Reads and writes `result.json`, the numbers of a run."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError
from gan_registry.files import atomic_write

RESULT_FILE = "result.json"


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes `result.json`; numbers that are not finite become null, as JSON has no NaN."""
    with atomic_write(folder / RESULT_FILE) as temporary:
        text = json.dumps(_plain(result), indent=2, ensure_ascii=False)
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
    if not isinstance(result, dict):
        raise UserError(f"{path} is damaged; 'gan-registry evaluate --run {folder}' mends it.")
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)  # also numpy's own kinds of integer
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value
