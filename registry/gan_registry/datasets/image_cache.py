"""Which decoded images are kept, and where: in memory, in a file, or not at all (`DATA.cache`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from gan_registry.datasets.base import Ints
from gan_registry.datasets.decoding import Bytes
from gan_registry.datasets.image_file import ImageFile
from gan_registry.metrics.base import Progress

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

_LOG = logging.getLogger(__name__)
_SPARE = 4  # of the free space, what nobody asked for takes at most one part in so many


@dataclass(frozen=True)
class CacheSettings:
    """How decoded images are kept.

    Attributes:
        kind: "memory", if all fit; "disk", in a file; "auto", in memory if all fit, else in a file;
            "none".
        size: Bytes of memory for them.
        processes: How many share that memory: the run's own, and its loader's.
        folder: The data's folder; without one there is no file.
    """

    kind: Literal["auto", "memory", "disk", "none"] = "memory"
    size: int = 512 * 2**20
    processes: int = 1
    folder: Path | None = None


def cache_settings(config: Config, folder: Path | None) -> CacheSettings:
    """Returns what a configuration asks for, of data that lie in a folder."""
    data = config.DATA
    folder = None if folder is None else folder.expanduser()
    return CacheSettings(data.cache, data.cache_size * 2**20, config.RUN.num_workers + 1, folder)


class ImageCache:
    """Decoded images of one dataset in one process; a copy for another comes without them.

    Args:
        settings: How they are kept.
        shape: (N, C, H, W).
        decode: Makes images, uint8 [B, C, H, W], of their numbers [B].
        file: Makes the file, for which all files of the data are looked at; None if these have no
            times by which one could tell that they changed.
    """

    def __init__(
        self,
        settings: CacheSettings,
        shape: tuple[int, ...],
        decode: Callable[[Ints], Bytes],
        file: Callable[[Path], ImageFile] | None,
    ) -> None:
        self._settings = settings
        self._shape = shape
        self._decode = decode
        self._file = file
        self._memory: Bytes | None = None
        self._there = np.zeros(0, np.bool_)
        self._mapped: Bytes | None = None
        self._looked = False

    def read(self, rows: Ints) -> Tensor:
        """Returns images, uint8 [B, C, H, W]; what is not kept is decoded."""
        kept = self._in_memory(rows) if self._fits() else self._on_disk()
        if kept is None:
            return torch.from_numpy(self._decode(rows))
        return torch.from_numpy(kept).index_select(0, torch.from_numpy(np.ascontiguousarray(rows)))

    def prepare(self, drawn: int, progress: Progress) -> None:
        """Makes the file where there is to be one.

        By "auto" only for a training that draws as many samples as there are.
        """
        kind = self._settings.kind
        if kind == "memory" and not self._fits():
            _LOG.warning(
                "DATA.cache=memory: the images take %.0f MiB in each process that reads them, more "
                "than DATA.cache_size, so none is kept.",
                math.prod(self._shape) / 2**20,
            )
        file = None if self._fits() else self._usable_file()
        if file is None:
            return
        if kind == "auto" and drawn < self._shape[0]:
            self._mapped = file.open(whole=True, progress=progress)
        else:
            self._mapped = file.make(
                lambda start, stop: self._decode(np.arange(start, stop)),
                progress,
                _SPARE if kind == "auto" else 1,
            )
        self._looked = True

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the images out."""
        return {**self.__dict__, "_memory": None, "_mapped": None, "_looked": False}

    def _fits(self) -> bool:
        """Whether images are kept in memory."""
        if self._settings.kind not in ("auto", "memory"):
            return False
        worker = get_worker_info()
        processes = max(self._settings.processes, 1 if worker is None else worker.num_workers)
        return math.prod(self._shape) * processes <= self._settings.size

    def _in_memory(self, rows: Ints) -> Bytes:
        """Returns memory for all images, which holds those of `rows`."""
        if self._memory is None:
            # The system gives memory only to the parts that are written to.
            self._there = np.zeros(self._shape[0], np.bool_)
            self._memory = np.empty(self._shape, np.uint8)
        missing = np.unique(rows[~self._there[rows]])
        if len(missing):
            self._memory[missing] = self._decode(missing)
            self._there[missing] = True
        return self._memory

    def _on_disk(self) -> Bytes | None:
        """Returns the images of the file, if there is one; it is looked for once."""
        if not self._looked:
            file = self._usable_file()
            self._mapped = None if file is None else file.open()
            self._looked = True
        return self._mapped

    def _usable_file(self) -> ImageFile | None:
        folder = self._settings.folder
        if self._settings.kind not in ("auto", "disk") or self._file is None or folder is None:
            return None
        return self._file(folder)
