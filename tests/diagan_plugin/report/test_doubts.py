from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.doubts import is_uniform, reassurance, remarks, worthless
from gan_registry.training.health import (
    DISCRIMINATOR_DEAD,
    DISCRIMINATOR_WINS,
    GENERATOR_DEAD,
    OVERFIT,
)

N = 50
RNG = np.random.default_rng(0)


def diagnosis(ldrm: Any = None, probability: Any = None, **metadata: str) -> Diagnosis:
    values = RNG.normal(size=N) if ldrm is None else np.broadcast_to(ldrm, N).astype(float)
    chance = np.linspace(1, 2, N) / 75 if probability is None else probability
    return Diagnosis(
        ldrm=values, ldrv=np.ones(N), score=values + 1, probability=chance,
        count=np.full(N, 9), group=np.full(N, -1), metadata=metadata,
    )  # fmt: skip


def health(*names: str) -> dict[str, Any]:
    return {
        "health": [
            {"name": name, "step": 7, "evidence": f"Evidence of {name}.", "advice": "Try this."}
            for name in names
        ]
    }


def test_a_healthy_run_is_not_doubted() -> None:
    assert worthless(diagnosis(), {}) is None
    assert worthless(diagnosis(), {"health": []}) is None
    assert remarks(diagnosis(), {"metrics_drs": {"acceptance_rate": 0.4}}) == []


@pytest.mark.parametrize(
    ("names", "headline"),
    [
        ([DISCRIMINATOR_DEAD], "The discriminator is dead: its opinion is worth nothing."),
        (
            [GENERATOR_DEAD],
            "The generator is dead: the discriminator's opinion is worth nothing.",
        ),
        (
            [GENERATOR_DEAD, DISCRIMINATOR_DEAD],
            "The discriminator and the generator are dead: the discriminator's opinion is worth "
            "nothing.",
        ),
    ],
)
def test_what_the_run_found_dead_is_the_verdict(names: list[str], headline: str) -> None:
    verdict = worthless(diagnosis(), health(*names))
    assert verdict is not None
    assert (verdict.headline, verdict.tone) == (headline, "attention")
    for name in names:
        assert any(
            f"Evidence of {name}. Try this. (Found at step 7.)" == text
            for text in verdict.sentences
        )


@pytest.mark.parametrize(
    ("ldrm", "evidence"),
    [
        (0.3, "all 50 training samples the same log-density ratio, 0.3"),
        (np.linspace(-60, -50, N), "-60 to -50, below -10 everywhere"),
        (np.linspace(-60, -9.9, N), None),
        (np.linspace(10.1, 60, N), None),
        (np.linspace(0.3, 0.301, N), None),
    ],
)
def test_records_alone_tell_that_d_is_dead(ldrm: Any, evidence: str | None) -> None:
    verdict = worthless(diagnosis(ldrm), {})
    assert (verdict is None) == (evidence is None)
    if verdict is not None and evidence is not None:
        assert evidence in verdict.sentences[0]


def test_the_level_of_a_surrogate_says_nothing() -> None:
    low = np.linspace(-60, -50, N)
    assert worthless(diagnosis(low, is_density_ratio="False"), {}) is None
    assert worthless(diagnosis(low, is_density_ratio="True"), {}) is not None


def test_memorisation_and_a_sure_discriminator_limit_the_verdict() -> None:
    found = remarks(diagnosis(), health(OVERFIT, DISCRIMINATOR_WINS))
    assert found[0].startswith("A high log-density ratio means memorisation here (found at step 7)")
    assert found[1] == "Evidence of discriminator_wins. Try this."


def test_scores_that_are_all_clipped_are_named() -> None:
    (sentence,) = remarks(diagnosis(probability=np.full(N, 1 / N)), {})
    assert sentence.startswith("All scores are clipped to one weight")
    assert remarks(diagnosis(probability=np.full(N, np.nan)), {}) == []


@pytest.mark.parametrize(("rate", "said"), [(0.001, True), (0.019, True), (0.02, False)])
def test_an_acceptance_near_zero_is_named(rate: float, said: bool) -> None:
    found = remarks(diagnosis(), {"metrics_drs": {"acceptance_rate": rate}})
    assert bool(found) == said
    if said:
        assert "Correction by drs keeps only" in found[0]


def test_held_out_samples_that_are_rated_alike_reassure() -> None:
    gap = {"samples": 20, "step": 9, "gap": 0.01, "standard_error": 0.02, "effect": 0.1}
    (sentence,) = reassurance({"holdout": gap})
    assert "0.01 ± 0.02 above that of 20 held-out ones" in sentence
    assert sentence.endswith("no sign of memorisation.")
    (sentence,) = reassurance({"holdout": {**gap, "gap": 0.2}})
    assert sentence.endswith("some memorisation, though not both large and growing.")
    assert reassurance({"holdout": gap, **health(OVERFIT)}) == reassurance({}) == []


def test_uniform_weights() -> None:
    assert is_uniform(np.full(4, 0.25))
    assert is_uniform(np.array([0.5, 0.5 * (1 + 1e-12)]))
    assert not is_uniform(np.array([0.5, 0.5 * (1 + 1e-6)]))
    assert not is_uniform(np.array([1.0]))
    assert not is_uniform(np.full(3, np.nan))
