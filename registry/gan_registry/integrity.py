"""Files that say whether they are as they were written: each carries a SHA-256 of itself.

The digest stands within the file, at a place that its form fixes, and is taken over all of the
file's bytes with these 64 characters as zeros. So a single flipped bit is recognised wherever it
is, padding and headers included, and each file remains what other programs expect: safetensors,
JSON, YAML or a zip archive. Free of torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gan_registry.formatting import json_text
from gan_registry.regular_files import IrregularError, open_plain

MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, which readers of the format refuse beyond that."""

_BLANK = b"0" * 64
_CHUNK = 1 << 22
_MAX_DIGITS = 19
"""Of a whole number in JSON, as in 2^63; longer ones are no count that anyone wrote."""


class DamagedError(ValueError):
    """A file is not as it was written; the message is what is wrong, to follow its name."""


@dataclass(frozen=True)
class Form:
    """Where a kind of file carries its digest.

    Attributes:
        before: The bytes in front of it.
        after: The bytes behind it.
        start: Where `before` begins; None where `after` ends the file.
    """

    before: bytes
    after: bytes
    start: int | None = None


TENSORS = Form(b'{"__metadata__":{"sha256":"', b'"', start=8)
"""safetensors: the first entry of the metadata."""

JSON = Form(b'"sha256": "', b'"\n}\n')
"""JSON: the last key."""

YAML = Form(b"# sha256: ", b"\n")
"""YAML: a comment in the last line."""

ZIP = Form(b"sha256:", b"")
"""A zip archive, of NumPy's arrays say: its comment."""


def open_whole(path: str | Path) -> BinaryIO:
    """Opens a regular file for reading.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is a folder, a pipe or the like, leads nowhere, or cannot be opened.
    """
    try:
        return open_plain(path)
    except FileNotFoundError:
        raise
    except IrregularError as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error


def check(path: str | Path, form: Form) -> None:
    """Reads a file through, a piece at a time, and compares its digest.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is not as it was written.
    """
    with open_whole(path) as file:
        check_open(file, form)


def check_open(file: BinaryIO, form: Form) -> None:
    """Does what :func:`check` does of a file that is open, and goes back to its start.

    Raises:
        DamagedError: It is not as it was written.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        place = _place(form, size)
        if size == 0:
            raise DamagedError("is empty")
        around = b""
        if place >= len(form.before):
            file.seek(place - len(form.before))
            around = file.read(len(form.before) + 64 + len(form.after))
        found = around[len(form.before) : len(form.before) + 64]
        if around != form.before + found + form.after or len(found) != 64:
            raise DamagedError("carries no checksum where it should: it is cut off or another file")
        if _digest(file, place).encode() != found:
            raise DamagedError("is not as it was written: its checksum differs")
        file.seek(0)
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error


def seal(path: Path, form: Form) -> None:
    """Writes the digest into a file that has zeros in its place."""
    with path.open("r+b") as file:
        place = _place(form, os.fstat(file.fileno()).st_size)
        digest = _digest(file, place)
        file.seek(place)
        file.write(digest.encode())


def read_sealed(path: str | Path, form: Form) -> bytes:
    """Returns the content of a file, checked.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is not as it was written.
    """
    with open_whole(path) as file:
        check_open(file, form)
        return file.read()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object, with its digest as the last key; a file that exists is overwritten."""
    text = json_text({**content, "sha256": _BLANK.decode()}, indent=2)
    path.write_bytes(text.encode() + b"\n")
    seal(path, JSON)


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads what :func:`write_json` wrote, without the digest.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is not as it was written, or holds what :func:`parse_json` refuses.
    """
    content = parse_json(read_sealed(path, JSON))
    if not isinstance(content, dict):
        raise DamagedError("holds no JSON object")
    del content["sha256"]
    return content


def parse_json(text: str | bytes, depth: int = 64) -> Any:
    """Parses JSON from a file that anyone may have written.

    Raises:
        DamagedError: It is none, holds NaN or numbers beyond any count, or is nested deeper.
    """
    try:
        content = json.loads(
            text, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant
        )
    except RecursionError:
        raise DamagedError("holds values that are nested too deep") from None
    except DamagedError:
        raise
    except ValueError as error:
        raise DamagedError(f"is no JSON ({error})") from error
    _check_depth(content, depth)
    return content


def write_text(path: Path, text: str) -> None:
    """Writes lines of YAML, with the digest in a comment at the end."""
    lines = text if text.endswith("\n") else text + "\n"
    path.write_bytes(lines.encode() + YAML.before + _BLANK + YAML.after)
    seal(path, YAML)


def read_text(path: str | Path) -> str:
    """Reads what :func:`write_text` wrote.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is not as it was written, or no UTF-8.
    """
    try:
        return read_sealed(path, YAML).decode()
    except UnicodeDecodeError:
        raise DamagedError("is no UTF-8") from None


def seal_zip(path: Path) -> None:
    """Gives a zip archive its digest, as the archive's comment."""
    import zipfile

    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = ZIP.before + _BLANK
    seal(path, ZIP)


Entry = tuple[str, str, tuple[int, ...], Any]
"""A tensor to write: its name, safetensors' name of its type, its shape, and its bytes' buffer."""


def write_tensors(path: Path, entries: Iterable[Entry], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file; what is written is hashed on its way, one tensor at a time.

    Args:
        path: The file; one that exists is overwritten.
        entries: The tensors, by name; the largest types must come first, which keeps each
            aligned. Buffers are little-endian and contiguous; they may be made on being called.
        metadata: Text to keep in the header.

    Raises:
        OSError: It cannot be written.
        ValueError: The header is larger than readers take.
    """
    header: dict[str, Any] = {"__metadata__": {"sha256": _BLANK.decode(), **metadata}}
    entries, end = list(entries), 0
    for name, dtype, shape, _ in entries:
        size = math.prod(shape) * ITEM_SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"The header would take {len(text):,} bytes, beyond {MAX_HEADER:,}.")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(text).to_bytes(8, "little"), text):
            digest.update(piece)
            file.write(piece)
        for _, _, _, buffer in entries:
            content = memoryview(buffer() if callable(buffer) else buffer)
            digest.update(content)
            file.write(content)
        file.seek(_place(TENSORS, 8 + len(text) + end))
        file.write(digest.hexdigest().encode())


def read_tensors(path: str | Path, framework: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the tensors and the metadata of a safetensors file that carries its digest.

    Args:
        path: The file.
        framework: "pt" for torch's tensors on the CPU, "numpy" for arrays.

    Raises:
        FileNotFoundError: There is nothing of that name.
        DamagedError: It is not as it was written, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    check(path, TENSORS)
    try:
        with _utf8_path(path) as name, safe_open(name, framework=framework) as file:
            # Copies: what is mapped from a file would change with it.
            tensors = {
                name: file.get_tensor(name).clone() if framework == "pt" else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118
            }
            metadata = dict(file.metadata())
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise DamagedError(f"is no safetensors file ({error})") from error
    del metadata["sha256"]
    return tensors, metadata


@contextlib.contextmanager
def _utf8_path(path: str | Path) -> Iterator[str | Path]:
    """Yields a path that is UTF-8, as safetensors asks for: that of a copy, if need be."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            yield shutil.copyfile(path, Path(folder, "copy.safetensors"))
    else:
        yield path


ITEM_SIZES = {
    "F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
"""Bytes of an element of each type that is written; the largest first."""


def _place(form: Form, size: int) -> int:
    """Returns where the digest of a file of that size begins; negative if it is too short."""
    if form.start is not None:
        return form.start + len(form.before)
    return size - len(form.after) - 64


def _digest(file: BinaryIO, place: int) -> str:
    """Returns the digest of an open file with zeros from `place` on."""
    digest = hashlib.sha256()
    file.seek(0)
    left = place
    while left and (piece := file.read(min(left, _CHUNK))):
        digest.update(piece)
        left -= len(piece)
    file.seek(place + 64)
    digest.update(_BLANK)
    while piece := file.read(_CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise DamagedError(f"holds a number of {len(text.lstrip('-'))} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DamagedError("holds a number that is not finite")
    return value


def _no_constant(text: str) -> Any:
    raise DamagedError(f"holds {text}, which JSON does not have")


def _check_depth(value: Any, left: int) -> None:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inner and not left:
        raise DamagedError("holds values that are nested too deep")
    for item in inner:
        _check_depth(item, left - 1)
