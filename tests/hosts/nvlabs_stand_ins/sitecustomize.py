"""Lets NVlabs' trainers run on a CPU, with tiny networks and short ticks; for each process.

Python imports it when it starts, as this folder is on PYTHONPATH. NVLABS_TINY holds JSON: dotted
keywords of `training_loop` → value, of which those are set whose parent is there. Where there is
CUDA, only that is done.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
import time
from types import ModuleType
from typing import Any


def _changed(keywords: dict[str, Any]) -> dict[str, Any]:
    for dotted, value in json.loads(os.environ["NVLABS_TINY"]).items():
        *path, last = dotted.split(".")
        inner: Any = keywords
        for name in path:
            inner = inner.get(name) if inner is not None else None
        if inner is None:
            continue
        if value == "drop":
            inner.pop(last, None)
        elif path or last in keywords or last == "kimg_per_tick":
            inner[last] = value
    return keywords


class _Loop(ModuleType):
    """`training.training_loop`: whoever replaces its loop, the keywords are changed before."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name != "training_loop":
            return found

        @functools.wraps(found)
        def changed(**keywords: Any) -> Any:
            return found(**_changed(keywords))

        return changed


class _Finder:
    """Finds `training.training_loop` as others do, and changes what is found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "training.training_loop":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(_after, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _after(execute: Any, module: Any) -> None:
    execute(module)
    module.__class__ = _Loop
    if not hasattr(module, "setup_snapshot_image_grid"):
        return  # of the miniature
    grid = module.setup_snapshot_image_grid

    def small(training_set: Any, *args: Any, **keywords: Any) -> Any:
        (width, height), images, labels = grid(training_set, *args, **keywords)
        rows = [row * width + column for row in range(2) for column in range(2)]
        return (min(width, 2), min(height, 2)), images[rows], labels[rows]

    module.setup_snapshot_image_grid = small
    # Uninitialised memory would pass through G in training mode, and move the mean of its latents.
    misc = sys.modules.get("torch_utils.misc")
    if misc is not None:
        misc.print_module_summary = lambda network, inputs, *_, **__: network(
            *(given if given.grad_fn is not None else given * 0 for given in map(_finite, inputs))
        )


def _finite(tensor: Any) -> Any:
    return tensor.nan_to_num(0, 0, 0)


class _Event:
    def __init__(self, **_: Any) -> None:
        self.time = 0.0

    def record(self, stream: Any = None) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: _Event) -> float:
        return (other.time - self.time) * 1e3


def _stand_in_for_cuda() -> None:
    import torch
    import torch._dynamo  # before what it looks at is replaced

    real = torch.device

    class Kind(type):
        def __call__(cls, *args: Any, **keywords: Any) -> Any:
            kind = args[0] if args else keywords.get("type", keywords.get("device"))
            return real("cpu") if str(kind).startswith("cuda") else real(*args, **keywords)

        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, real)

    # A device is a type of C, which cannot be inherited from: its name is given to another one.
    class device(metaclass=Kind):  # noqa: N801
        pass

    import copyreg

    copyreg.pickle(real, lambda found: (_device, (str(found),)))
    torch.device = device  # type: ignore[misc,assignment]
    for name in ("current_stream", "set_device", "synchronize", "reset_peak_memory_stats"):
        setattr(torch.cuda, name, lambda *_, **__: None)
    for name in ("max_memory_allocated", "max_memory_reserved", "current_device"):
        setattr(torch.cuda, name, lambda *_, **__: 0)
    torch.cuda.device_count = lambda: int(os.environ.get("NVLABS_WORLD", "1"))
    torch.cuda.get_device_name = lambda *_: "none"  # type: ignore[assignment]
    torch.cuda.Event = _Event  # type: ignore[misc,assignment]
    torch.Tensor.pin_memory = lambda self, *_: self  # type: ignore[method-assign,assignment]
    import torch.distributed

    begin = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda backend=None, **more: begin("gloo", **more)
    parallel = torch.nn.parallel.DistributedDataParallel
    make = parallel.__init__

    def on_cpu(self: Any, module: Any, device_ids: Any = None, **more: Any) -> None:
        make(self, module, **more)

    parallel.__init__ = on_cpu  # type: ignore[method-assign]


def _device(text: str) -> Any:
    import torch

    return torch.device(text)


def _empty_modules() -> None:
    """For what the trainers import and a short training does not use."""
    for name in ("requests", "psutil"):
        if importlib.util.find_spec(name) is None:
            module: Any = ModuleType(name)
            module.Process = lambda *_: type(
                "Process", (), {"memory_info": lambda self: type("Info", (), {"rss": 0})}
            )()
            sys.modules[name] = module


if "NVLABS_TINY" in os.environ:
    import torch

    torch.set_num_threads(1)
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
    _empty_modules()
    if not torch.cuda.is_available():
        _stand_in_for_cuda()
    if "NVLABS_PLAIN" in os.environ:  # the trainer alone, on a torch that it does not know
        from diagan_plugin.hosts.nvlabs.compat import the_past

        kept = the_past()  # for the life of the process
        kept.__enter__()
