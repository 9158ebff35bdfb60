"""Each claim is held against its own failure, and every part of that can come out either way."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.claims import declared
from benchmarks.claims.declared import PLAIN, Part, Row
from benchmarks.claims.findings import above, below, number, word

Found = dict[tuple[str, str, str], dict[int, Row]]


def seeds(*values: dict[str, float | None]) -> dict[int, Row]:
    return dict(enumerate(values))


def held(name: str, found: Found) -> list[bool | None]:
    verdict = declared.load(name).verdict
    assert verdict is not None
    return [part.holds for part in verdict(found)]


def changed(found: Found, key: tuple[str, str, str], **values: float) -> Found:
    """Returns the rows with other values of all seeds of one row."""
    return {**found, key: {seed: {**row, **values} for seed, row in found[key].items()}}


MODES = {
    (case, "vanilla", kind): seeds({"correlation": x}, {"correlation": x - 0.1})
    for case in ("25 equal modes", "five modes a tenth as frequent")
    for kind, x in (("LDRM", -0.7), ("LDR of the last record", -0.6))
}

MINOR = {
    (f"coloured digits, {level} %", "vanilla", "LDRV"): seeds(
        {"minor": 2.0, "major": 1.0, "minor_recall": minor, "major_recall": 0.8}
    )
    for level, minor in ((90, 0.5), (95, 0.3), (99, 0.1))
}

GOOD = {"minor_recall": 0.5, "major_recall": 0.8, "share": 0.04, "truth": 0.05, "fid": 10.0}
LESS = {"minor_recall": 0.4, "major_recall": 0.8, "share": 0.01, "truth": 0.05, "fid": 11.0}
RARE = {
    ("", "vanilla", PLAIN): seeds(*[{**LESS, "modes_covered": 20.0}] * 4),
    ("", "vanilla", "drs"): seeds(*[{**LESS, "modes_covered": 20.0}] * 4),
    ("", "paper", "drs"): seeds(*[{**GOOD, "modes_covered": 22.0}] * 4),
    ("", "feedback", PLAIN): seeds(*[{**GOOD, "modes_covered": 23.0}] * 4),
    ("", "GOLD", PLAIN): seeds(*[{**GOOD, "modes_covered": 21.0}] * 4),
}

K = {
    ("", name, PLAIN): seeds({"modes_covered": count - 1}, {"modes_covered": count + 1})
    for name, count in (
        ("k = 0", 20.0), ("k = 0.3", 19.0), ("k = 1", 23.0), ("k = 2", 25.0),
        ("phase 1 of 30%", 20.0), ("phase 1 of 50%", 21.0), ("phase 1 of 90%", 22.0),
    )
}  # fmt: skip

QUALITY = {
    (case, method, kind): seeds({**row, "minor_error": error})
    for case in ("95 %", "99 %", "90 %")
    for method, kind, row, error in (
        ("vanilla", PLAIN, LESS, 0.5), ("paper", "drs", GOOD, 0.2), ("GOLD", PLAIN, LESS, 0.3),
    )
}  # fmt: skip

HEALTHY = {
    ("one digit at 3 %", method, kind): seeds(*rows)
    for method, kind, rows in (
        ("vanilla", PLAIN, (LESS, {**LESS, "fid": 13.0})),
        ("paper", "drs", (LESS, LESS)),
        ("feedback", PLAIN, (GOOD, GOOD)),
    )
}

SHARES = {
    ("95 %", method, kind): seeds({"share": share, "truth": 0.05}, {"share": 0.05, "truth": 0.05})
    for method, share in (("auxiliary D", 0.08), ("D itself", 0.6))
    for kind in ("drs", "drs_exact", "obrs")
}

FID_OF = {
    "WGAN": 90.0, "JS": 45.0, "KL": 50.0, "reverse KL": 60.0,
    "mode seeking, λ = 0.1": 41.0, "mode seeking, λ = 0.05": 36.0,
}  # fmt: skip
DIVERGENCES = {
    **{("", method, PLAIN): seeds({"fid": fid}) for method, fid in FID_OF.items()},
    ("", "mode seeking, λ = 0.05", "threshold"): seeds({"fid": 29.0}),
}

MIXTURES = {
    (case, method, PLAIN): seeds({"fid": fid + more})
    for case, more in (("20,000 samples", 0.0), ("2,000 samples", 1.0), ("500 samples", 2.0))
    for method, fid in (
        ("1 G, 1 D", 5.0), ("1 G, 1 D, twice as wide", 4.5), ("1 G, 1 D, two layers more", 6.0),
        ("3 G, 3 D", 4.0),
    )
}  # fmt: skip

TWIN = {"fid": 1.0, "mccs": 0.3, "low": 0.2, "high": 0.4}
TWINS = {
    ("", "twins", "nothing planted"): seeds(TWIN, TWIN),
    ("", "twins", "planted"): seeds(*[{**TWIN, "mccs": 0.7, "low": 0.6, "high": 0.8}] * 2),
    ("", "twins", "calibrated, mixture"): seeds(TWIN, TWIN),
    ("", "twins", "calibrated, hull"): seeds(TWIN, TWIN),
}

EXTREMES = {("95 %", "vanilla", "10% at each end"): seeds({"ratio": 1.5}, {"ratio": 2.0})}
HINGE = {
    ("95 %", "vanilla", PLAIN): seeds({"fid": 30.0}),
    ("95 %", "paper", "drs"): seeds({"fid": 20.0}),
    ("95 %", "feedback", "drs"): seeds({"fid": 25.0}),
}

_AT = "coloured digits, 95 %"


@pytest.mark.parametrize(
    ("name", "found", "broken", "fails"),
    [
        ("missing_modes", MODES, (("25 equal modes", "vanilla", "LDRM"), {"correlation": -0.4}),
         [0, 1]),
        ("missing_modes", MODES,
         (("25 equal modes", "vanilla", "LDR of the last record"), {"correlation": -0.9}), [1]),
        ("minorities", MINOR, ((_AT, "vanilla", "LDRV"), {"minor": 0.9}), [1]),
        ("minorities", MINOR, ((_AT, "vanilla", "LDRV"), {"minor_recall": 0.6}), [3]),
        ("minorities", MINOR, ((_AT, "vanilla", "LDRV"), {"minor_recall": 0.0}), [4]),
        ("rare_modes", RARE, (("", "paper", "drs"), {"modes_covered": 19.0}), [0, 4]),
        ("rare_modes", RARE, (("", "paper", "drs"), {"fid": 13.0}), [1]),
        ("rare_modes", RARE, (("", "feedback", PLAIN), {"minor_recall": 0.4}), [3]),
        ("rare_modes", RARE, (("", "GOLD", PLAIN), {"modes_covered": 22.5}), [4]),
        ("k_and_phase1", K, (("", "k = 1", PLAIN), {"modes_covered": 21.0}), [0]),
        ("k_and_phase1", K, (("", "phase 1 of 90%", PLAIN), {"modes_covered": 23.0}), [2]),
        ("minority_quality", QUALITY, (("99 %", "GOLD", PLAIN), {"minor_error": 0.1}), [3]),
        ("minority_quality", QUALITY, (("90 %", "GOLD", PLAIN), {"minor_error": 0.1}), []),
        ("minority_quality", QUALITY, (("95 %", "paper", "drs"), {"share": 0.01}), [1]),
        ("minority_quality", QUALITY, (("90 %", "vanilla", PLAIN), {"minor_recall": 0.6}), [7]),
        ("healthy_digits", HEALTHY, (("one digit at 3 %", "paper", "drs"), {"fid": 14.0}), [0]),
        ("healthy_digits", HEALTHY, (("one digit at 3 %", "feedback", PLAIN), {"share": 0.1}),
         [5]),
        ("healthy_digits", HEALTHY, (("one digit at 3 %", "paper", "drs"), {"major_recall": 0.7}),
         [3]),
        ("score_extremes", EXTREMES, (("95 %", "vanilla", "10% at each end"), {"ratio": 1.0}),
         [0]),
        ("hinge", HINGE, (("95 %", "feedback", "drs"), {"fid": 30.0}), [1]),
        ("shares_after_rejection", SHARES, (("95 %", "D itself", "drs"), {"share": 0.05}), [0]),
        ("shares_after_rejection", SHARES, (("95 %", "auxiliary D", "obrs"), {"share": 0.15}),
         [5]),
        ("mixtures", MIXTURES,
         (("20,000 samples", "1 G, 1 D, twice as wide", PLAIN), {"fid": 3.9}), [1]),
        ("mixtures", MIXTURES, (("500 samples", "3 G, 3 D", PLAIN), {"fid": 3.9}), [6]),
        ("divergences", DIVERGENCES, (("", "JS", PLAIN), {"fid": 40.0}), [1]),
        ("divergences", DIVERGENCES, (("", "KL", PLAIN), {"fid": 44.0}), [4]),
        ("intra_mode_collapse", TWINS, (("", "twins", "planted"), {"low": 0.39}), [0]),
        ("intra_mode_collapse", TWINS, (("", "twins", "planted"), {"fid": 1.06}), [1]),
        ("intra_mode_collapse", TWINS, (("", "twins", "calibrated, hull"), {"mccs": 0.61}), [3]),
    ],
)  # fmt: skip
def test_a_part_fails_where_it_is_not_so(name: str, found: Found, broken: Any, fails: list[int]):
    assert set(held(name, found)) == {True}
    key, values = broken
    parts = held(name, changed(found, key, **values))
    assert [index for index, holds in enumerate(parts) if not holds] == fails


@pytest.mark.parametrize(
    "name", [name for name in declared.CLAIMS if declared.load(name).verdict is not None]
)
def test_where_nothing_was_measured_nothing_is_said_to_hold(name):
    assert not any(held(name, {}))


@pytest.mark.parametrize("name", declared.CLAIMS)
def test_every_claim_that_a_cpu_can_measure_has_a_verdict(name):
    claim = declared.load(name)
    assert ("small" in claim.scales) == (claim.verdict is not None)


def test_a_number_is_below_another_or_was_not_measured():
    assert below("{mine} < {other}", 1.0, 2.0) == Part(True, "1 < 2")
    assert below("{mine} < {other}", 2.0, 2.0).holds is False
    assert below("", 2.0, 2.0, slack=0.1).holds is True
    assert below("{mine} < {other}", None, 2.0) == Part(None, "not run < 2")
    assert above("{mine} > {other}", 2.0, 1.0, ".1f") == Part(True, "2.0 > 1.0")
    assert above("", 1.0, 1.05, slack=0.1).holds is True
    assert above("", 1.0, 1.05).holds is False


def test_the_mean_leaves_out_what_was_not_measured():
    found = {("", "m", PLAIN): seeds({"x": 1.0}, {"x": None}, {"x": 3.0})}
    assert number(found, "", "m", PLAIN, "x") == 2.0
    assert number(found, "", "m", PLAIN, "y") is None
    assert number(found, "", "other", PLAIN, "x") is None


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([True, True], "holds"), ([True, None], "open"), ([True, None, False], "fails"),
        ([], "open"),
    ],
)  # fmt: skip
def test_a_claim_holds_only_if_all_of_it_does(parts, said):
    assert word([Part(holds, "") for holds in parts]) == said
