"""What is known of a run that is not finished: a few samples, and what its plugins know."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gan_registry.evaluation.evaluate import measure
from gan_registry.evaluation.results import RESULT_FILE, read_result
from gan_registry.training.run import Run

NUM = 1000
"""Samples that are generated: enough to see a group that is missing."""


def is_unfinished(run: Run) -> bool:
    """Whether an opened run has steps to go, and no result of the step it has reached."""
    if run.folder is None or run.step >= run.total_steps or run.stopped is not None:
        return False
    if not (run.folder / RESULT_FILE).exists():
        return True
    steps = read_result(run.folder).get("steps")
    return not isinstance(steps, int) or steps < run.step


def provisional_result(run: Run) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measures an unfinished run by few samples and no metric; writes nothing.

    Returns:
        As `result.json` would be, with `unfinished`: the steps to do in all; and samples as in
        `samples/final.npz`.
    """
    result, samples = measure(run, NUM, [], metrics=[])
    return {**result, "unfinished": run.total_steps}, samples
