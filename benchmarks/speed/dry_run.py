"""`--dry-run` of the largest packaged configuration: a process from its start, without the data."""

from __future__ import annotations

import resource
import subprocess
import sys

from benchmarks.speed.harness import Row, Settings

NAME = "dry_run"
_CONFIG = "ffhq256_stylegan2"
_LIMIT = 10.0


def run(settings: Settings) -> list[Row]:
    """Measures the process's CPU time, whichever clock was asked for."""
    command = [sys.executable, "-m", "gan_registry", "train", "--config", _CONFIG, "--dry-run"]
    before = _seconds()
    subprocess.run(command, check=True, capture_output=True)
    took = _seconds() - before
    return [
        Row(
            NAME, f"{_CONFIG}, CPU time of the whole process", took, None, "s", None,
            f"≤ {_LIMIT:g} s", took <= _LIMIT, "one measurement",
        )
    ]  # fmt: skip


def _seconds() -> float:
    """Returns the CPU time of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
