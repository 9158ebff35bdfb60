"""Files of published networks: found, downloaded, or asked for by name."""

from __future__ import annotations

import hashlib
import logging
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch

from gan_registry.errors import UserError
from gan_registry.files import atomic_write, cache_folder

_LOG = logging.getLogger(__name__)
_FOLDER = "weights"
_TIMEOUT = 20.0  # seconds without an answer


@dataclass(frozen=True)
class WeightsFile:
    """A file that others publish.

    Attributes:
        name: Its name.
        url: Where it is.
        digest: How its SHA-256 begins, in hexadecimal digits; "" if that is not known.
    """

    name: str
    url: str
    digest: str = ""


class _DownloadError(Exception):
    """The file could not be had from where it is published."""


def find_weights(file: WeightsFile, features: str, cache: Path | None) -> Path:
    """Returns the path of a file that an extractor needs, and downloads it if it is nowhere.

    Looked for in the folder `weights` of `cache`, in that of the user's cache, and where torch.hub
    keeps what it downloads. A download goes to `cache`; without one there is none.

    Raises:
        UserError: It is not there and cannot be downloaded; says where to put it by hand.
    """
    own = (cache or cache_folder()) / _FOLDER
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in (own, cache_folder() / _FOLDER, hub):
        if (folder / file.name).is_file():
            return folder / file.name
    reason = "not downloaded, as there is no cache"
    if cache is not None:
        try:
            _LOG.info("Downloading %s to %s.", file.url, own)
            with atomic_write(own / file.name) as temporary:
                _download(file, temporary)
            return own / file.name
        except _DownloadError as error:
            reason = f"the download failed: {error}"
    raise UserError(
        f"The features {features!r} need the file {file.name}, which is not on this machine "
        f"({reason}). Get it from {file.url} and put it into {own} or {hub}."
    )


def _download(file: WeightsFile, path: Path) -> None:
    try:
        response = urllib.request.urlopen(file.url, timeout=_TIMEOUT)
    except (OSError, HTTPException) as error:
        raise _DownloadError(_reason(error)) from error
    with response, path.open("wb") as target:
        while True:
            try:
                piece = response.read(1 << 20)
            except (OSError, HTTPException) as error:
                raise _DownloadError(_reason(error)) from error
            if not piece:
                break
            target.write(piece)
        # Python itself passes over what is missing.
        length, got = response.headers.get("Content-Length", ""), target.tell()
        if length.isdigit() and int(length) != got:
            raise _DownloadError(f"the connection broke off after {got} of {length} bytes")
    if not sha256_of(path).startswith(file.digest):
        raise _DownloadError("what came is damaged")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}; check its permissions.") from error
    return digest.hexdigest()
