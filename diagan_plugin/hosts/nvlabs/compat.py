"""What the trainers need of older versions of torch and setuptools, for as long as they run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from diagan_plugin.hosts.kit.patches import Patches


@contextmanager
def the_past() -> Iterator[None]:
    """Gives the trainers, of 2020 to 2025, what they expect and newer versions have dropped.

    Each of these stops them, also on a GPU: torch's `Sampler` takes no data source any more, its
    Adam refuses an integer among the betas (`[0, 0.99]`), and setuptools comes without
    `pkg_resources`. DDP no longer shares buffers that StyleGAN2-ADA draws differently on each rank.
    """
    patches = Patches()
    patches.around(torch.utils.data.Sampler, "__init__", lambda original, self, *_: None)
    patches.around(torch.optim.Adam, "__init__", _adam)
    patches.around(torch.nn.parallel.DistributedDataParallel, "__init__", _shared)
    lacks = "pkg_resources" not in sys.modules and find_spec("pkg_resources") is None
    if lacks:
        module: Any = ModuleType("pkg_resources")
        module.parse_version = _version
        sys.modules["pkg_resources"] = module
    try:
        yield
    finally:
        patches.undo()
        if lacks:
            del sys.modules["pkg_resources"]


def _adam(original: Any, self: Any, params: Any, *args: Any, **keywords: Any) -> None:
    if "betas" in keywords:
        keywords["betas"] = tuple(map(float, keywords["betas"]))
    original(self, params, *args, **keywords)


def _shared(original: Any, self: Any, module: torch.nn.Module, **keywords: Any) -> None:
    for buffer in module.buffers():
        torch.distributed.broadcast(buffer, src=0)
    original(self, module, **keywords)


def _version(text: str) -> tuple[int, ...]:
    """Returns the numbers of a version, as far as the trainers compare them."""
    return tuple(map(int, re.findall(r"\d+", text)[:2]))
