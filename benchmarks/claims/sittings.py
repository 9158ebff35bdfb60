"""Measures cells, those that share a phase 1 one after the other, in as many processes as asked."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import shutil
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import cells as cell_files
from benchmarks.claims.cells import Cell
from benchmarks.claims.declared import Claim, load
from gan_registry.errors import UserError
from gan_registry.formatting import duration
from gan_registry.silence import silence


@dataclass(frozen=True)
class Sitting:
    """What all cells of one command have in common.

    Attributes:
        results: The folder of the numbers.
        work: The folder of runs that are not finished.
        keep: Keep the run folders.
        data: The folder of the data sets that are neither computed nor made.
        again: Measure what is measured, too.
    """

    results: Path
    work: Path
    keep: bool = False
    data: Path | None = None
    again: bool = False


Measure = Callable[[Cell, Sitting], str]
"""Measures a cell and writes its numbers; returns a line that says so."""


def grouped(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Puts cells that share a phase 1 together; the others stand alone."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for number, cell in enumerate(cells):
        alone = cell.how.later is None
        key = (number,) if alone else (cell.claim, cell.config, cell.trunk, cell.seed)
        groups.setdefault(key, []).append(cell)
    return list(groups.values())


def estimate(cells: Sequence[Cell], results: Path, jobs: int) -> str:
    """Says how long cells will take, by those measured before and else by the claim's own guess."""
    total, guessed = 0.0, 0
    for group in grouped(cells):
        shared = 0.0
        for cell in group:
            told = _seconds_before(cell, results)
            if told is None:
                guessed += 1
                of = load(cell.claim).scales[cell.scale]
                total += of.seconds
                shared = max(shared, 0.0 if cell.how.later is None else of.seconds)
            else:
                total += told[0]
                shared = max(shared, told[1])
        total += shared
    by = f"; {guessed} of them by a guess" if guessed else ""
    return f"{len(cells)} cells to measure, about {duration(total / jobs)} with --jobs {jobs}{by}"


def _seconds_before(cell: Cell, results: Path) -> tuple[float, float] | None:
    found = [
        (float(content["seconds"]), float(content["shared_seconds"]))
        for content in cell_files.read_all(results, cell.claim, cell.scale)
        if content["method"] == cell.method
    ]
    if not found:
        return None
    own, shared = zip(*found, strict=True)
    return statistics.median(own), statistics.median(shared)


def measure_all(
    cells: Sequence[Cell], sitting: Sitting, jobs: int, measure: Measure | None = None
) -> int:
    """Measures the cells and prints a line for each; returns how many failed.

    A cell that fails does not keep the others from being measured. What was begun when a key was
    pressed goes on from there the next time.
    """
    failed = 0
    groups = grouped(cells)
    for ok, line in _lines(groups, sitting, jobs, measure or measure_cell):
        failed += not ok
        print(line, flush=True)
    return failed


def _lines(
    groups: list[list[Cell]], sitting: Sitting, jobs: int, measure: Measure
) -> Iterator[tuple[bool, str]]:
    if jobs == 1:
        for group in groups:
            yield from measure_group(group, sitting, measure)
        return
    # By their own start, as a fork of a process that has threads of torch may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context) as pool:
        waiting = [pool.submit(_listed, group, sitting, measure) for group in groups]
        try:
            for done in concurrent.futures.as_completed(waiting):
                yield from done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _listed(group: list[Cell], sitting: Sitting, measure: Measure) -> list[tuple[bool, str]]:
    return list(measure_group(group, sitting, measure))


def measure_group(
    group: list[Cell], sitting: Sitting, measure: Measure
) -> Iterator[tuple[bool, str]]:
    """Measures cells that share a phase 1, and removes that when all are done."""
    import torch

    torch.set_num_threads(1)
    done = True
    for cell in group:
        ok, line = _measured(cell, sitting, measure)
        done = done and ok
        yield ok, line
    if done and not sitting.keep:
        from benchmarks.claims.training import trunk_folder

        shutil.rmtree(trunk_folder(group[0], sitting.work), ignore_errors=True)


def _measured(cell: Cell, sitting: Sitting, measure: Measure) -> tuple[bool, str]:
    try:
        with silence():  # of runs that are known to be odd, a hundred times over
            return True, measure(cell, sitting)
    except UserError as error:
        return False, f"{cell}: failed: {error}"
    except Exception as error:
        traceback.print_exc()
        return False, f"{cell}: failed: {type(error).__name__}: {error}"


def measure_cell(cell: Cell, sitting: Sitting) -> str:
    """Trains and evaluates a cell, or makes its numbers otherwise, and writes them."""
    # By another command, meanwhile?
    if not sitting.again and cell_files.is_measured(cell, sitting.results):
        return f"{cell}: measured already"
    claim = load(cell.claim)
    began, before = time.monotonic(), 0.0
    if claim.cell is not None:
        values: Mapping[str, Any] = claim.cell({**cell.settings, **cell.how.settings}, cell.seed)
    else:
        values, before = _trained(claim, cell, sitting)
    seconds = time.monotonic() - began
    cell_files.write(
        cell, sitting.results, values, max(seconds - before, 0.0), _shared_seconds(cell, sitting)
    )
    return f"{cell}: {duration(seconds)}"


def _trained(claim: Claim, cell: Cell, sitting: Sitting) -> tuple[dict[str, Any], float]:
    """Returns a cell's values, and the seconds that went into a shared phase 1 meanwhile."""
    from benchmarks.claims.training import measured, train_cell

    before = _shared_seconds(cell, sitting)
    name = cell.path(Path()).with_suffix("")
    # One that was left behind by other settings is none to go on from.
    folder = sitting.work / name.with_name(f"{name.name}-{cell.digest}")
    run = train_cell(cell, sitting.work, folder, _data(claim, cell, sitting))
    values = measured(cell, run)
    if claim.measure is not None:
        values = claim.measure(run, values)
    if not sitting.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return values, _shared_seconds(cell, sitting) - before


def _data(claim: Claim, cell: Cell, sitting: Sitting) -> Path | None:
    if claim.data is not None:
        return claim.data(sitting.work / "data")
    if not cell.folder:
        return None
    if sitting.data is None or not (sitting.data / cell.folder).is_dir():
        raise UserError(f"its data are not there; give --data DIR with a folder {cell.folder}.")
    return sitting.data / cell.folder


def _shared_seconds(cell: Cell, sitting: Sitting) -> float:
    if cell.how.later is None:
        return 0.0
    from benchmarks.claims.training import seconds_of, trunk_folder

    return seconds_of(trunk_folder(cell, sitting.work))
