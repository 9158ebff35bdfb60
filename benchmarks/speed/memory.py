"""Peak memory of a piece of work, measured in a process of its own.

A function to be measured is a *preparation*: it takes keyword arguments and returns the work, a
function without arguments. Run as `python -m benchmarks.speed.memory MODULE:FUNCTION JSON`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Peak:
    """What a piece of work took.

    Attributes:
        total: Bytes of the whole process at its highest, with Python, torch and the input.
        added: Bytes above what the process held just before.
        seconds: How long it took.
    """

    total: int
    added: int
    seconds: float


def peak_memory(preparation: Callable[..., Any], **arguments: Any) -> Peak:
    """Measures a preparation's work in a fresh process.

    Args:
        preparation: A function at the top level of a module of this package.
        **arguments: Plain values to call it with.

    Raises:
        RuntimeError: The process failed.
    """
    target = f"{preparation.__module__}:{preparation.__qualname__}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.memory", target, json.dumps(arguments)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {target} failed: {done.stderr.strip()}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _resident(key: str) -> int:
    """Returns VmRSS (now) or VmHWM (highest) in bytes.

    Not `getrusage` where it can be avoided: on Linux a process inherits its parent's peak there.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _measure(target: str, arguments: dict[str, Any]) -> dict[str, float]:
    module, _, name = target.partition(":")
    work = getattr(importlib.import_module(module), name)(**arguments)
    # Forgets the peak of the preparation; where that is impossible the total is an upper bound.
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
    before, started = _resident("VmRSS"), time.perf_counter()
    work()
    took = time.perf_counter() - started
    peak = _resident("VmHWM")
    return {"total": peak, "added": max(peak - before, 0), "seconds": took}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], json.loads(sys.argv[2]))))
