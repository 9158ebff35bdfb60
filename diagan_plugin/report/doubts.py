"""Whether D's opinion is worth anything: what a verdict must say before it speaks of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.formatting import percent
from gan_registry.report.document import Verdict
from gan_registry.training.health import (
    DISCRIMINATOR_DEAD,
    DISCRIMINATOR_WINS,
    EQUAL,
    GENERATOR_DEAD,
    OVERFIT,
    SATURATED,
)

MIN_ACCEPTANCE = 0.02
"""A correction that keeps less than this of the generated samples is worth a sentence."""

_CHANCE = 3.0
"""Standard errors up to which a difference is chance."""

_WORTHLESS = "Scores, samples and shares below mean nothing until that is mended."


def worthless(diagnosis: Diagnosis, result: Mapping[str, Any]) -> Verdict | None:
    """Returns the verdict of a run whose D or G is dead; None where D's opinion counts.

    Args:
        diagnosis: The statistics of every training sample.
        result: What `result.json` holds; `health` is read.
    """
    found = _found(result)
    dead = [found[name] for name in (DISCRIMINATOR_DEAD, GENERATOR_DEAD) if name in found]
    if dead:
        who = "discriminator" if DISCRIMINATOR_DEAD in found else "generator"
        if len(dead) == 2:
            who = "discriminator and the generator"
        evidence = [f"{text} (Found at step {step}.)" for step, text in dead]
    else:
        who, text = "discriminator", _dead_by_records(diagnosis)
        if not text:
            return None
        evidence = [text, "Lower D's learning rate or bound D, and start anew."]
    verb = "are" if len(dead) == 2 else "is"
    worth = "the discriminator's opinion is worth nothing"
    if who == "discriminator":
        worth = "its opinion is worth nothing"
    return Verdict(f"The {who} {verb} dead: {worth}.", (*evidence, _WORTHLESS), "attention")


def _dead_by_records(diagnosis: Diagnosis) -> str:
    """Says why D is dead by what was recorded of it, or nothing."""
    ldrm = diagnosis.ldrm[np.isfinite(diagnosis.ldrm)]
    if ldrm.size < 2:
        return ""
    low, high = float(ldrm.min()), float(ldrm.max())
    if high - low <= EQUAL * max(abs(low), abs(high)):
        return f"It gives all {ldrm.size:,} training samples the same log-density ratio, {low:.4g}."
    has_level = diagnosis.metadata.get("is_density_ratio", "True") == "True"
    if has_level and high < -SATURATED:
        return (
            f"It rates all {ldrm.size:,} training samples as the generator's: their log-density "
            f"ratios are {low:.4g} to {high:.4g}, below {-SATURATED:g} everywhere."
        )
    return ""


def remarks(diagnosis: Diagnosis, result: Mapping[str, Any]) -> list[str]:
    """Returns what limits a verdict that D's opinion is asked for, a sentence or two each."""
    found, sentences = _found(result), []
    if OVERFIT in found:
        step, text = found[OVERFIT]
        sentences.append(
            f"A high log-density ratio means memorisation here (found at step {step}): {text}"
        )
    if DISCRIMINATOR_WINS in found:
        sentences.append(found[DISCRIMINATOR_WINS][1])
    if is_uniform(diagnosis.probability):
        score = diagnosis.score[np.isfinite(diagnosis.score)]
        if score.size and score.min() < score.max():
            sentences.append(
                f"All scores are clipped to one weight (they are {score.min():.4g} to "
                f"{score.max():.4g}): by them no sample is drawn more often than another."
            )
    for key, metrics in result.items():
        rate = metrics.get("acceptance_rate") if isinstance(metrics, Mapping) else None
        if key.startswith("metrics_") and rate is not None and rate < MIN_ACCEPTANCE:
            sentences.append(
                f"Correction by {key.removeprefix('metrics_')} keeps only {percent(rate)} of the "
                "generated samples: D finds nearly all of them out, or rates a few by far too "
                "high, and what is left says little about the generator."
            )
    return sentences


def reassurance(result: Mapping[str, Any]) -> list[str]:
    """Says that D has not memorised the training samples, where that was looked at."""
    gap = result.get("holdout")
    if not isinstance(gap, Mapping) or OVERFIT in _found(result):
        return []
    told = "no sign of memorisation"
    if gap["gap"] > _CHANCE * gap["standard_error"]:
        told = "some memorisation, though not both large and growing"
    return [
        f"D's mean log-density ratio of training samples is {gap['gap']:.3g} ± "
        f"{gap['standard_error']:.2g} above that of {gap['samples']:,} held-out ones "
        f"({gap['effect']:.2g} standard deviations): {told}."
    ]


def is_uniform(probabilities: NDArray[np.float64]) -> bool:
    """Whether several samples [N] are all drawn equally often, but for rounding."""
    low, high = probabilities.min(), probabilities.max()
    return bool(probabilities.size > 1 and high - low <= 1e-9 * high)  # False of NaN


def _found(result: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Returns the run's findings: name → step, and evidence with advice."""
    return {
        entry["name"]: (entry["step"], f"{entry['evidence']} {entry['advice']}")
        for entry in result.get("health") or ()
    }
