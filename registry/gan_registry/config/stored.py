"""The configuration that a run folder keeps, with a checksum in its last line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gan_registry.config.settings import CONFIG_FILE
from gan_registry.config.yaml_text import load_yaml
from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.integrity import DamagedError, read_text, write_text


def write_stored(folder: Path, content: dict[str, Any]) -> None:
    """Writes `config.yaml`.

    Raises:
        UserError: The disk is full, read-only or not writable.
    """
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    with atomic_write(folder / CONFIG_FILE) as temporary:
        write_text(temporary, text)


def read_stored(folder: Path) -> dict[str, Any]:
    """Reads `config.yaml` as it was written, unchecked for what it says.

    Raises:
        FileNotFoundError: There is none.
        UserError: It was cut off or changed.
    """
    path = folder / CONFIG_FILE
    try:
        content = load_yaml(read_text(path))
        if not isinstance(content, dict):
            raise DamagedError("holds no sections")
    except (DamagedError, yaml.YAMLError) as error:
        reason = error if isinstance(error, DamagedError) else "is no valid YAML"
        raise UserError(
            f"{path} is damaged or was changed: it {reason}. Restore it, or start in another "
            "folder with --out; settings that may change are changed by the command, not here."
        ) from error
    return content
