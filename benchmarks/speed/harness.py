"""Times two ways of doing one thing in turns, and writes down what came out."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = "wall"


def use_clock(name: str) -> None:
    """Chooses what all benchmarks measure.

    Args:
        name: "wall", or "cpu" for the process's own CPU time, which a busy machine does not
            stretch; with several threads that counts what they spend waiting for each other, too.
    """
    global _clock
    _clock = name


def now() -> float:
    """Returns the time by the chosen clock, in seconds from some moment."""
    return CLOCKS[_clock]()


class Skipped(Exception):  # noqa: N818 - not an error
    """A benchmark that cannot be run here; the message says why and what would help."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        quick: Tiny sizes, to see that everything works; the numbers mean nothing.
        repeats: Pairs of measurements; None leaves it to the benchmark.
        threads: Of torch, fixed for both sides.
        clock: See :func:`use_clock`.
    """

    quick: bool = False
    repeats: int | None = None
    threads: int = 2
    clock: str = "wall"

    def pairs(self, usual: int) -> int:
        """How many pairs to measure where `usual` is the benchmark's own number."""
        return self.repeats or (1 if self.quick else usual)


@dataclass(frozen=True)
class Aim:
    """A bound on a ratio: at least so many times as good, or at most so many times the cost.

    Without a bound it only says which way round the ratio is.
    """

    kind: str  # "≥": theirs/ours, "≤": ours/theirs
    bound: float | None

    def __str__(self) -> str:
        return "" if self.bound is None else f"{self.kind} {self.bound:g}×"

    def met(self, ratio: float) -> bool | None:
        """Whether the ratio keeps the bound; None if there is none."""
        if self.bound is None:
            return None
        return ratio >= self.bound if self.kind == "≥" else ratio <= self.bound


def at_least(bound: float | None) -> Aim:
    """The ratio is theirs/ours and should be at least `bound`, if there is one."""
    return Aim("≥", bound)


def at_most(bound: float) -> Aim:
    """The ratio is ours/theirs and should be at most `bound`."""
    return Aim("≤", bound)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        benchmark: The benchmark's name.
        name: What was measured.
        ours: Our number, in `unit`.
        theirs: The peer's number, or None where there is no peer.
        unit: Unit of both.
        ratio: See :class:`Aim`; without an aim, ours/theirs.
        aim: The bound, or "".
        met: Whether the ratio keeps it; None without an aim.
        note: What is needed to read the numbers.
    """

    benchmark: str
    name: str
    ours: float | None = None
    theirs: float | None = None
    unit: str = "s"
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """Repeated measurements of both sides, the n-th of one next to the n-th of the other."""

    ours: Sequence[float]
    theirs: Sequence[float]

    def row(
        self,
        benchmark: str,
        name: str,
        aim: Aim | None = None,
        *,
        unit: str = "s",
        scale: float = 1.0,
        note: str = "",
    ) -> Row:
        """Medians of both sides, and the median of the ratios of neighbouring measurements.

        Args:
            benchmark: The benchmark's name.
            name: What was measured.
            aim: Decides which way round the ratio is.
            unit: Of the numbers after `scale`.
            scale: Multiplies both sides.
            note: See :class:`Row`.
        """
        ratios = [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]
        if aim is not None and aim.kind == "≥":
            ratios = [1.0 / ratio for ratio in ratios]
        ratio = statistics.median(ratios)
        if len(ratios) > 1:
            note = f"{note}; " if note else ""
            note += f"{len(ratios)} pairs, ratios {min(ratios):.3g}–{max(ratios):.3g}"
        return Row(
            benchmark,
            name,
            statistics.median(self.ours) * scale,
            statistics.median(self.theirs) * scale,
            unit,
            ratio,
            "" if aim is None else str(aim),
            None if aim is None else aim.met(ratio),
            note,
        )


def seconds(work: Work) -> float:
    """Returns how long a call takes, with the garbage collector out of the way."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        started = now()
        work()
        return now() - started
    finally:
        if enabled:
            gc.enable()


def alternate(ours: Work, theirs: Work, pairs: int, warmup: int = 1) -> Pair:
    """Times both in turns, so that a machine that slows down or speeds up does so for both.

    Args:
        ours: Our side.
        theirs: The peer's.
        pairs: How many measurements of each.
        warmup: Calls of each beforehand that do not count.
    """
    for _ in range(warmup):
        ours()
        theirs()
    mine, others = [], []
    for number in range(pairs):
        # ABBA: neither side is always the one that finds the caches as the other left them.
        if number % 2:
            others.append(seconds(theirs))
            mine.append(seconds(ours))
        else:
            mine.append(seconds(ours))
            others.append(seconds(theirs))
    return Pair(mine, others)


def peer(module: str, package: str) -> Any:
    """Imports the module of a package that ours is compared with.

    Raises:
        Skipped: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Skipped(f"{package} is missing: pip install --no-deps {package}") from error


def machine(threads: int) -> dict[str, Any]:
    """Returns what the numbers depend on, and nothing that names the machine."""
    versions = {"python": platform.python_version()}
    for package in ("diagan-plugin", "torch", "numpy", "torch-mimicry", "torch-fidelity"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": threads,
        "versions": versions,
    }


def table(rows: Sequence[Row]) -> str:
    """Writes rows as text with aligned columns; a row's note follows below it."""
    head = ["benchmark", "what", "ours", "theirs", "unit", "ratio", "aim", "met"]
    cells = [
        [
            row.benchmark,
            row.name,
            _number(row.ours),
            _number(row.theirs),
            row.unit if row.ours is not None else "",
            "" if row.ratio is None else f"{row.ratio:.3g}×",
            row.aim,
            {True: "yes", False: "NO", None: ""}[row.met],
        ]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *cells]) for column in range(len(head))]
    lines = []
    for line, note in zip(
        [head, ["-" * width for width in widths], *cells],
        ["", "", *(row.note for row in rows)],
        strict=True,
    ):
        padded = [
            cell.rjust(width) if column in (2, 3, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
        if note:
            lines.append(f"    {note}")
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """Writes rows as a table of Markdown, aims met or missed in words."""
    lines = [
        "| what | ours | theirs or floor | ratio | aim | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        unit = f" {row.unit}" if row.ours is not None else ""
        cells = [
            f"`{row.benchmark}`: {row.name}",
            _number(row.ours) + unit,
            _number(row.theirs) + unit if row.theirs is not None else "",
            "" if row.ratio is None else f"{row.ratio:.3g}×{_spread(row.note)}",
            row.aim,
            {True: "met", False: "**missed**", None: "" if row.ours else row.note}[row.met],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(note: str) -> str:
    found = re.search(r"ratios (\S+)$", note)
    return f" ({found[1]})" if found else ""


def write_json(path: Path, rows: Sequence[Row], settings: Settings) -> None:
    """Writes machine, settings and rows."""
    content = {
        "machine": machine(settings.threads),
        "settings": asdict(settings),
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
