"""Tensors kept on disk because they took long to make: without them everything works, slower."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.files import atomic_write

_LOG = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """Returns a file name that differs wherever one of the parts does (32 hexadecimal digits)."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def read_kept(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Reads tensors and what is said of them; None if there are none, or they cannot be read."""
    try:
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except Exception as error:  # a damaged file can raise anything
        _LOG.info("%s cannot be read (%s) and is made anew.", path, type(error).__name__)
        return None


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors whole or not at all; a folder that cannot be written to is only warned of."""
    try:
        with atomic_write(path) as temporary:
            try:
                save_file(dict(tensors), temporary, dict(metadata))
            except SafetensorError as error:  # it wraps the system's errors in its own
                raise OSError(str(error)) from error
    except UserError as error:
        _LOG.warning("%s It will be computed again next time.", error)
