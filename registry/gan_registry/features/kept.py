"""Tensors kept on disk because they took long to make: without them everything works, slower."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.integrity import DamagedError, read_tensors
from gan_registry.state_files import write_named

_LOG = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """Returns a file name that differs wherever one of the parts does (32 hexadecimal digits)."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def read_kept(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Reads tensors and what is said of them; None if there are none, or the file is damaged."""
    try:
        return read_tensors(path, "pt")
    except FileNotFoundError:
        return None
    except DamagedError as error:
        _LOG.warning("%s %s; it is made anew.", path, error)
        return None


def keep(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors whole or not at all; a folder that cannot be written to is only warned of."""
    try:
        with atomic_write(path) as temporary:
            write_named(temporary, tensors, metadata)
    except UserError as error:
        _LOG.warning("%s It will be computed again next time.", error)
