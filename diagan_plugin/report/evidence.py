"""Everything that a verdict is made from, gathered and not yet weighed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.doubts import reassurance, remarks, worthless
from diagan_plugin.report.findings import MOSTLY_UNRECOGNISED, GroupDiagnosis, SampleDiagnosis
from diagan_plugin.report.shares import kept_before
from diagan_plugin.report.verdict import diagnose_result, diagnose_samples
from gan_registry.evaluation.metric_directions import metric_kinds
from gan_registry.formatting import is_number, percent
from gan_registry.report.document import Verdict

_EARLY = 30
"""Passes over the data below which D is called young."""

_UNLEARNT = 3
"""Passes over the data below which what is missed may only not be learnt yet."""

_FEW = 20
"""Records of a sample from which on their chance hardly matters."""


@dataclass(frozen=True)
class Evidence:
    """What is known about a run.

    Attributes:
        groups: Scores by group, measured shares and draws; None where no two groups are known.
        samples: Single samples that stand out; looked for where no groups are known.
        weighted: Whether this run drew samples by their score (phase 2), so that Dia acted.
        dead: What is to be said instead of everything else: D or G is dead.
        limits: What limits D's opinion, a sentence or two each.
        comforts: What was looked for in vain.
        before: Metrics of the generator as it was when phase 1 ended; empty if not measured.
        after: Kind of samples ("" plain, else a post-processor) → metrics at the end.
        step: The step of `before`.
        circumstances: Why D may err here, a part of a sentence each.
        unfinished: (step, of how many) of a run in progress.
        window_is_full: Whether more records would have to be asked for by a longer window.
        steered: Whether the weights of phase 2 followed what the generator made.
    """

    groups: GroupDiagnosis | None = None
    samples: SampleDiagnosis | None = None
    weighted: bool = False
    dead: Verdict | None = None
    limits: tuple[str, ...] = ()
    comforts: tuple[str, ...] = ()
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    step: int | None = None
    circumstances: tuple[str, ...] = ()
    unfinished: tuple[int, int] | None = None
    window_is_full: bool = True
    steered: bool = False


def gather(
    diagnosis: Diagnosis,
    result: Mapping[str, Any],
    names: tuple[str, ...],
    *,
    seed: int = 0,
    permutations: int = 2000,
) -> Evidence:
    """Gathers the evidence of a run.

    Args:
        diagnosis: The statistics of every training sample.
        result: What `result.json` holds; what is missing is not known.
        names: Names of the groups.
        seed: Of the permutations.
        permutations: Number of them.
    """
    groups = diagnose_result(diagnosis, result, names, seed, permutations=permutations)
    samples = None
    if groups is None:
        samples = diagnose_samples(diagnosis.score, diagnosis.ldrm, diagnosis.ldrv, diagnosis.count)
    kept = kept_before(result)
    of = result.get("unfinished")
    return Evidence(
        groups=groups,
        samples=samples,
        weighted=diagnosis.phase_boundary is not None,
        dead=worthless(diagnosis, result),
        limits=(*_unlearnt(diagnosis, groups), *remarks(diagnosis, result)),
        comforts=tuple(reassurance(result)),
        before=_numbers(kept.get("metrics")),
        after={kind: _numbers(metrics) for kind, metrics in metric_kinds(result).items()},
        step=kept.get("step"),
        circumstances=_circumstances(diagnosis),
        unfinished=(int(result["steps"]), of) if isinstance(of, int) else None,
        window_is_full=_records(diagnosis) >= _number(diagnosis, "window"),
        steered="feedback" in result,
    )


def _unlearnt(diagnosis: Diagnosis, groups: GroupDiagnosis | None) -> Iterator[str]:
    """Says that it is early to speak of what the generator misses."""
    passes = _number(diagnosis, "epochs", float("inf"))
    if passes < _UNLEARNT:
        yield (
            f"D had seen the data {passes:.2g} times when it was last recorded: what is missed may "
            "only not be learnt yet. Train longer before you act on it."
        )
    if groups is not None and MOSTLY_UNRECOGNISED <= groups.unrecognised < 1.0:
        yield (
            f"{percent(groups.unrecognised)} of the generated samples belong to no known group at "
            "all: the generator has learnt little yet. Shares are compared among the others."
        )


def _circumstances(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Says what of this run makes D's scores unreliable."""
    metadata, found = diagnosis.metadata, []
    if metadata.get("is_density_ratio") == "False":
        found.append("the loss gives no density ratio, so D's raw output stands for it")
    if metadata.get("batch_norm") == "True":
        found.append(
            f"D has batch norm and was recorded in the mode {metadata.get('logits')}: what it says "
            "of a sample depends on the batch around it"
        )
    passes = _number(diagnosis, "epochs", float("inf"))
    if passes < _EARLY:
        found.append(f"D was young: it had seen the data {passes:.2g} times")
    if 0 < _records(diagnosis) < _FEW:
        found.append(f"a sample has only {_records(diagnosis)} records")
    return tuple(found)


def _records(diagnosis: Diagnosis) -> int:
    """Returns how many records the sample with the most has."""
    return int(diagnosis.count.max(initial=0))


def _number(diagnosis: Diagnosis, key: str, default: float = 0.0) -> float:
    """Returns a number of the metadata, which are text from a file."""
    try:
        return float(diagnosis.metadata.get(key, default))
    except ValueError:
        return default


def _numbers(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, Mapping):
        return {}
    return {name: float(value) for name, value in metrics.items() if is_number(value)}
