"""The verdict of a run in progress: a line in its log, so that nobody has to stop it to see one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.evidence import gather
from diagan_plugin.report.verdict_wording import word
from gan_registry.formatting import NBSP

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

TIMES = 10
"""So often in a run; each costs a fraction of a record of all samples."""

_PERMUTATIONS = 200


def is_due(step: int, total_steps: int) -> bool:
    """Whether a verdict belongs to this step; none at the end, where the report says more."""
    return step < total_steps and step % max(total_steps // TIMES, 1) == 0


def progress_verdict(run: LiveRun, diagnosis: Diagnosis) -> str:
    """Words what D's scores and the signs of sick training say at this step, in a sentence or two.

    Nothing is generated for it: shares are counted in the report.
    """
    result: dict[str, Any] = {
        "health": [asdict(finding) for finding in run.findings.values()],
        "steps": run.step,
        "unfinished": run.total_steps,
    }
    names = tuple(run.dataset.group_names) if run.dataset.groups is not None else ()
    evidence = gather(diagnosis, result, names, seed=run.seed, permutations=_PERMUTATIONS)
    verdict = word(evidence)
    return " ".join((verdict.headline, *verdict.sentences[:1])).replace(NBSP, " ")
