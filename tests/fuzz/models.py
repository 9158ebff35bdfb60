"""Tracker, sampler, score and rejection: sequences of calls, compared with models in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from diagan_plugin.postprocessing.rejection import AcceptanceRateError, RejectionSampler
from diagan_plugin.recording.tracker import LDRTracker
from diagan_plugin.sampling.sampler import DiaSampler
from diagan_plugin.scoring.score import discrepancy_score, sampling_probabilities
from tests.fuzz.harness import Target

_VALUES = st.one_of(
    st.floats(-50, 50, width=32),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e38, 1e300, -1e-40, 0.0]),
)


# ------------------------------------------------------------------ the tracker


@st.composite
def recordings(draw: Any) -> tuple[int, int | None, list[tuple[str, Any]]]:
    """The number of samples, the window, and what is done in turn."""
    n = draw(st.integers(1, 6))
    pairs = st.lists(st.tuples(st.integers(0, n - 1), _VALUES), max_size=12)
    action = st.one_of(
        st.tuples(st.just("record"), pairs),
        st.tuples(st.just("merge"), pairs),
        st.tuples(st.just("record_all"), st.lists(_VALUES, min_size=n, max_size=n)),
        st.tuples(st.just("resume"), st.none()),
        st.tuples(st.just("reset"), st.none()),
    )
    return n, draw(st.none() | st.integers(1, 4)), draw(st.lists(action, max_size=8))


def check_tracker(case: tuple[int, int | None, list[tuple[str, Any]]]) -> bool:
    """Compares a tracker with lists of what was recorded."""
    n, window, actions = case
    tracker, kept = LDRTracker(n, window), [[] for _ in range(n)]
    for what, given in actions:
        pairs = list(enumerate(given)) if what == "record_all" else given or []
        index = torch.tensor([i for i, _ in pairs], dtype=torch.int64)
        value = torch.tensor([v for _, v in pairs], dtype=torch.float64)
        if what == "record":
            tracker.record(index, value)
        elif what == "record_all":
            tracker.record_all(value)
        elif what == "merge":
            other = LDRTracker(n, window)
            other.record(index, value)
            tracker.merge(other)
        elif what == "reset":
            tracker.reset()
            kept = [[] for _ in range(n)]
        else:
            state = tracker.state_dict()
            tracker = LDRTracker(n, window)
            tracker.load_state_dict(state)
        for i, v in pairs:
            with np.errstate(over="ignore"):
                if np.isfinite(np.float32(v)):
                    # A window keeps float32, running moments the number itself.
                    kept[i].append(float(v if window is None else np.float32(v)))
    held = [each if window is None else each[-window:] for each in kept]
    assert tracker.total.tolist() == [len(each) for each in kept]
    assert tracker.count.tolist() == [len(each) for each in held]
    mean, variance = (each.numpy() for each in tracker.statistics())
    for i, each in enumerate(held):
        scale = max(map(abs, each), default=0.0)
        true = [np.mean(each) if each else np.nan, np.var(each, ddof=1) if each[1:] else np.nan]
        np.testing.assert_allclose(mean[i], true[0], rtol=1e-9, atol=1e-9 * scale)
        np.testing.assert_allclose(variance[i], true[1], rtol=1e-7, atol=1e-9 * scale**2)
    return True


# ------------------------------------------------------------------ the sampler


@st.composite
def draws(draw: Any) -> tuple[int, int, str, int, list[tuple[str, Any]]]:
    """Samples, seed, method, ranks, and what is done in turn."""
    n, ranks = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    weights = st.lists(st.floats(0, 9), min_size=n, max_size=n).filter(lambda w: sum(w) > 1e-6)
    action = st.one_of(
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(st.just("weights"), weights),
        st.tuples(st.just("resume"), st.none()),
        st.tuples(st.just("epoch"), st.integers(0, 5)),
    )
    method = draw(st.sampled_from(["systematic", "iid"]))
    return n, draw(st.integers(0, 99)), method, ranks, draw(st.lists(action, max_size=6))


def check_sampler(case: tuple[int, int, str, int, list[tuple[str, Any]]]) -> bool:
    """Iterates as all ranks together; every epoch's draws must be those of the stream."""
    n, seed, method, ranks, actions = case
    samplers = [DiaSampler(n, seed, method, rank=r, world_size=ranks) for r in range(ranks)]
    for what, given in actions:
        if what == "weights":
            for each in samplers:
                each.set_weights(given)
            where = samplers[0].probabilities_at(samplers[0].position)
            np.testing.assert_allclose(where, np.array(given) / np.sum(given), rtol=1e-9)
        elif what == "epoch":
            for each in samplers:
                each.set_epoch(given)
        elif what == "resume":
            states = [each.state_dict() for each in samplers]
            samplers = [DiaSampler(n, 0, method, rank=r, world_size=ranks) for r in range(ranks)]
            for each, state in zip(samplers, states, strict=True):
                each.load_state_dict(state)
        else:
            _check_epoch(samplers, n)
    _check_epoch(samplers, n)
    return True


def _check_epoch(samplers: list[DiaSampler], n: int) -> None:
    starts = {each.position for each in samplers}
    assert len(starts) == 1, "ranks are at different places"
    (start,) = starts
    weights = samplers[0].probabilities_at(start)
    stop = (start // n + 1) * n
    expected = samplers[0].draw(start, stop).tolist()
    parts = [list(each) for each in samplers]
    got = [0] * (stop - start)
    for each, part in zip(samplers, parts, strict=True):
        lead = (each.rank - start % n) % each.world_size
        got[lead :: each.world_size] = part
    assert got == expected, "iterating and drawing differ"
    assert all(each.position == stop for each in samplers)
    assert all(0 <= index < n for index in got)
    if weights is not None:
        assert all(weights[index] > 0 for index in got), "a sample of weight 0 was drawn"
    elif start % n == 0:
        assert sorted(got) == list(range(n)), "an epoch is no permutation"


# ------------------------------------------------------------------ scores and rejection

_REAL = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def scores(draw: Any) -> tuple[list[float], list[float], float, float, float]:
    """Means, variances, k, and the two clips."""
    n = draw(st.integers(1, 8))
    mean = draw(st.lists(_REAL | st.just(np.nan), min_size=n, max_size=n))
    variance = draw(st.lists(st.floats(0, 1e6) | st.just(np.nan), min_size=n, max_size=n))
    return mean, variance, draw(st.floats(0, 9)), draw(st.floats(1e-6, 9)), draw(st.floats(1, 99))


def check_score(case: tuple[list[float], list[float], float, float, float]) -> bool:
    """Compares scores and probabilities with the paper's formulas."""
    mean, variance, k, low, ratio = case
    m, v = np.array(mean), np.array(variance)
    score = discrepancy_score(m, v, k)
    expected = m + k * np.sqrt(v) if k else m
    np.testing.assert_allclose(score, expected, rtol=1e-12, atol=1e-12)
    known = ~np.isnan(expected)
    if not known.any():
        return False
    clipped = np.maximum(expected[known], low)
    clipped = np.minimum(clipped, clipped.min() * ratio)
    weight = np.full(len(m), np.median(clipped))
    weight[known] = clipped
    got = sampling_probabilities(score, low, ratio)
    np.testing.assert_allclose(got, weight / weight.sum(), rtol=1e-9)
    return True


@st.composite
def rejections(draw: Any) -> tuple[list[float], float | None, int, int, int]:
    """Logits that come round and round, γ, the burn-in, the batch, and how many are wanted."""
    logits = draw(st.lists(_VALUES, min_size=1, max_size=12))
    gamma = draw(st.none() | st.floats(-2, 2))
    return logits, gamma, draw(st.integers(1, 9)), draw(st.integers(1, 5)), draw(st.integers(0, 9))


def check_rejection(case: tuple[list[float], float | None, int, int, int]) -> bool:
    """Compares rejection sampling with its formula, given the same random numbers."""
    logits, gamma, burn_in, size, wanted = case
    at = 0

    def propose(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal at
        rows = torch.arange(at, at + count)
        at += count
        return rows, torch.tensor(logits, dtype=torch.float64)[rows % len(logits)]

    rng = torch.Generator().manual_seed(0)
    sampler = RejectionSampler(
        propose, rng=rng, gamma=gamma, burn_in=burn_in, batch_size=size, floor=0.05
    )
    try:
        got = [int(row) for batch in sampler.sample(wanted) for row in batch.x]
    except AcceptanceRateError:
        return False
    assert got == _rejected(logits, gamma, burn_in, size, wanted, sampler.eps)
    return True


def _rejected(
    logits: list[float], gamma: float | None, burn_in: int, size: int, wanted: int, eps: float
) -> list[int]:
    if not wanted:
        return []
    table = np.array([np.nan if v == np.inf else v for v in logits])

    def statistic(values: Any, top: float) -> Any:
        gap = np.minimum(values - top, 0.0)
        return gap - np.log(-np.expm1(gap - eps))

    rng, at = torch.Generator().manual_seed(0), -(-burn_in // size) * size
    first = table[np.arange(at) % len(table)]
    top = np.nanmax(first)
    if gamma is None:
        finite = statistic(first, top)
        finite = finite[np.isfinite(finite)]
        gamma = float(np.percentile(finite, 80)) if len(finite) else 0.0
    found: list[int] = []
    while len(found) < wanted:
        rows = np.arange(at, at + size)
        values, at = table[rows % len(table)], at + size
        top = max(top, np.nanmax(np.append(values, -np.inf)))
        with np.errstate(over="ignore"):
            chance = 1 / (1 + np.exp(gamma - statistic(values, top)))
        drawn = torch.rand(size, generator=rng, dtype=torch.float64).numpy()
        found += rows[drawn < np.nan_to_num(chance, nan=0.0)].tolist()
    return found[:wanted]


TARGETS = (
    Target("tracker", recordings(), check_tracker, 100, least=0.9),
    Target("sampler", draws(), check_sampler, 100, least=0.9),
    Target("score", scores(), check_score, 60, least=0.5),
    Target("rejection", rejections(), check_rejection, 60, least=0.3),
)
