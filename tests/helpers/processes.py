"""Functions and modules in processes of their own, without a fresh interpreter for each.

A fresh interpreter takes several seconds to import torch, its compiler, SciPy and matplotlib. Here
processes are forked off a server that has imported these, has used none of them (a process that has
used torch's threads cannot safely be forked), and knows nothing of the two packages or the tests.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import multiprocessing.connection
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

PRELOADED = [
    "torch.distributed", "torch._dynamo", "scipy.stats", "scipy.optimize", "sklearn.datasets",
    "matplotlib.figure", "pydantic", "yaml",
]  # fmt: skip


@functools.cache
def _context() -> Any:
    """Returns how processes are started; the server starts with the first one."""
    if not sys.platform.startswith("linux"):  # elsewhere, system libraries forbid to fork
        return multiprocessing.get_context("spawn")
    import pytest

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        # Threads that libraries start when they are imported would be missing in the children.
        for library in ("OMP", "OPENBLAS", "MKL"):
            patch.setenv(f"{library}_NUM_THREADS", "1")
        multiprocessing.forkserver.ensure_running()
    return context


def in_processes(
    work: Callable[..., Any], folder: Path, world_size: int = 2, join: bool = True, **arguments: Any
) -> list[Any]:
    """Calls `work(rank, folder, **arguments)` in new processes; returns what they returned.

    They find each other as torchrun's do: by a store that is open, on a port that the system has
    chosen, before they start.

    Args:
        work: A function at the top of a test module; returns something that `torch.save` takes.
        folder: An empty folder, where the processes leave their results.
        world_size: How many.
        join: Join them here, by gloo; otherwise they find the launcher's variables, as under
            torchrun, and one that dies has None for a result.
        **arguments: More arguments of `work`.
    """
    import torch
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    file = str(inspect.getsourcefile(work))
    children = [
        _context().Process(
            target=_work,
            args=(
                {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                file, work.__name__, folder, join, arguments,
            ),
        )
        for rank in range(world_size)
    ]  # fmt: skip
    codes = _run(children, all_or_none=join)
    assert not join or not any(codes), f"exit codes of the processes: {codes}"
    paths = [folder / f"{rank}.pt" for rank in range(world_size)]
    return [torch.load(path) if path.exists() else None for path in paths]


def run_module(
    name: str, *arguments: str, cwd: Path, site: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Does what `python -m NAME ARGUMENT …` does, and returns what `subprocess.run` would.

    Args:
        name: The module.
        *arguments: Its arguments.
        cwd: The folder it runs in.
        site: What comes before all else on the path of imports; the folder it runs in by default.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = module_process(name, *arguments, cwd=cwd, site=site, out=out, err=err)
        (code,) = _run([child], all_or_none=False)
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (out, err)]
    return subprocess.CompletedProcess([name, *arguments], code, *texts)


def module_process(
    name: str, *arguments: str, cwd: Path, out: Path, err: Path, site: Path | None = None
) -> Any:
    """Returns a process, not started yet, that does what :func:`run_module` says.

    What it prints and complains of goes to the files `out` and `err`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if site is not None:  # for the processes that it starts
        environment["PYTHONPATH"] = str(site)
    return _context().Process(
        target=_run_module,
        args=(environment, name, arguments, str(cwd), str(site or cwd), str(out), str(err)),
    )


def _run(children: Iterable[Any], all_or_none: bool) -> list[int]:
    """Returns the exit codes; ends all if one fails and the others might wait for it forever."""
    children = list(children)
    try:
        for child in children:
            child.start()
        waiting = {child.sentinel: child for child in children}
        while waiting:
            for sentinel in multiprocessing.connection.wait(list(waiting)):
                child = waiting.pop(sentinel)
                child.join()
                if all_or_none and child.exitcode:
                    return [child.exitcode for child in children]
        return [child.exitcode for child in children]
    finally:
        for child in children:
            if child.pid is not None:
                child.kill()
                child.join()


def _enter(environment: Mapping[str, str]) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)


def _work(
    environment: Mapping[str, str], file: str, name: str, folder: Path, join: bool,
    arguments: Mapping[str, Any],
) -> None:  # fmt: skip
    _enter(environment)
    import torch
    from torch import distributed

    spec = importlib.util.spec_from_file_location("module_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if join:
        distributed.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    result = getattr(module, name)(rank, folder, **arguments)
    torch.save(result, folder / f"{rank}.pt")
    if join:
        distributed.barrier()
        distributed.destroy_process_group()


def _run_module(
    environment: Mapping[str, str], name: str, arguments: tuple[str, ...], cwd: str, site: str,
    out: str, err: str,
) -> None:  # fmt: skip
    for number, path in ((1, out), (2, err)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), number)
    _enter(environment)
    os.chdir(cwd)
    sys.path.insert(0, site)
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
