from __future__ import annotations

import base64
import dataclasses
import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from diagan_plugin.report import charts
from diagan_plugin.report.charts import heat_map, is_diverging, share_bars
from diagan_plugin.report.dia_sections import add_dia_sections
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.ranking import extreme_samples
from gan_registry.errors import UserError
from gan_registry.report.document import Figure, ImageGrid, Report, Table, Text, Verdict

HOSTILE = '"><script>alert(1)</script><img src="http://evil.example/x"> $\\frac{$ {{ 7*7 }}'


class _Data:
    value_range = (-1.0, 1.0)

    def __init__(self, group: Any, names: tuple[str, ...], kind: str, shape: tuple[int, ...]):
        self.groups, self.group_names, self.kind, self.sample_shape = group, names, kind, shape

    def __len__(self) -> int:
        return len(self.groups)

    def __getitems__(self, indices: Any) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.as_tensor(np.asarray(indices)).float() / len(self)
        x = index.reshape(-1, *[1] * len(self.sample_shape)).expand(-1, *self.sample_shape)
        return x, torch.zeros(len(x), dtype=torch.int64)

    def fingerprint(self) -> str:
        return "f00"


def planted(
    num_groups: int = 2,
    kind: str = "image",
    names: tuple[str, ...] | None = None,
    effect: float = 3.0,
    num: int = 600,
    seed: int = 1,
    **metadata: Any,
) -> tuple[Any, Diagnosis, dict[str, Any]]:
    """A run whose last group has scores `effect` standard deviations above the others."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, max(num_groups, 1), num) if num_groups else np.full(num, -1)
    rare = group == num_groups - 1 if num_groups else np.zeros(num, bool)
    score = rng.standard_normal(num) + effect * rare
    names = tuple(f"g{i}" for i in range(num_groups)) if names is None else names
    shape = {"image": (3, 8, 8), "points": (2,), "vector": (5,)}[kind]
    history = rng.standard_normal((30, 300)).astype(np.float32)
    diagnosis = Diagnosis(
        ldrm=score,
        ldrv=rng.random(num),
        score=score,
        probability=(score - score.min() + 1) / (score - score.min() + 1).sum(),
        count=np.full(num, 50),
        group=group,
        history=history,
        history_steps=np.arange(30) * 10,
        history_indices=np.arange(300) * (num // 300),
        metadata={"fingerprint": "f00", "k": 1.0, "window": 50, **metadata},
    )
    run = SimpleNamespace(dataset=_Data(group, names, kind, shape), seed=0)
    sizes = np.bincount(group[group >= 0], minlength=num_groups)
    result: dict[str, Any] = {
        "num_generated": 10_000,
        "groups": {
            name: {"share_data": size / num, "share_drawn": None, "share_generated": size / num}
            for name, size in zip(names, sizes, strict=False)
        },
    }
    return run, diagnosis, result


def build(run: Any, diagnosis: Diagnosis, result: dict[str, Any]) -> Report:
    report = Report("demo")
    report.add_section("host", Text("the host's table"), order=40, anchor="shares")
    add_dia_sections(report, run.dataset, result, diagnosis, seed=run.seed)
    return report


def blocks(report: Report, anchor: str, kind: type) -> list[Any]:
    (section,) = [section for section in report.sections if section.anchor == anchor]
    return [block for block in section.blocks if isinstance(block, kind)]


def svgs(html: str) -> str:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    return "".join(base64.b64decode(text).decode() for text in found)


class Page(NamedTuple):
    """A report and what it was made from, to be read only."""

    diagnosis: Diagnosis
    report: Report
    html: str


@pytest.fixture(scope="module")
def full() -> Page:
    """A report with every part."""
    run, diagnosis, result = planted(phase_boundary=200, is_density_ratio="True")
    result["weights"] = {
        "ess": 500.0,
        "ess_share": 0.83,
        "share_at_cap": 0.6,
        "warnings": ["Mind!"],
    }
    result["groups"]["g1"] |= {"share_drawn": 0.8, "share_generated_drs": 0.45}
    result["groups"]["g0"] |= {"share_drawn": 0.2, "share_generated_drs": 0.55}
    report = build(run, diagnosis, result)
    return Page(diagnosis, report, report.html())


@pytest.fixture(scope="module")
def many() -> Page:
    """A report on points of 25 groups, one of which is never generated."""
    run, diagnosis, result = planted(25, "points", num=1500)
    result["groups"]["g24"]["share_generated"] = 0.0
    report = build(run, diagnosis, result)
    return Page(diagnosis, report, report.html())


def test_the_verdict_comes_first_and_every_part_is_there(full: Page) -> None:
    assert [section.anchor for section in full.report.sections] == [
        *(
            "verdict",
            "evidence",
            "samples-by-score",
            "group-shares",
            "scores",
            "history",
            "weights",
        ),
        "explanation",
    ]
    html = full.html
    assert "the host" not in html.split("<style>")[0] + html.split("</style>")[1]
    assert "Mind!" in html
    assert "500 (83.0\xa0%" in html
    assert "begins at step 200" in html
    assert "In phase 2 a sample is drawn in proportion to its weight" in html
    assert "phase 2" in svgs(html)
    (table,) = blocks(full.report, "group-shares", Table)
    assert [title for title, _ in table.headings] == [
        *("Group", "Data", "Draws in phase 2", "Generated", "Corrected by drs")
    ]
    assert table.cells[0][0][0] == "g1"  # what was found comes first
    assert not table.highlight  # D rates it, but it was counted and is made often enough


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        ({"strength": 1.0, "released_at": 3319}, "They acted in full until step 3,319; from then"),
        ({"strength": 0.034, "released_at": None}, "weakened (to the power 0.034) to the end ("),
        ({"released_at": None}, "They acted in full to the end ("),
        ({"strength": 0.0, "released_at": None}, "nothing was missed in phase 1, nothing was weig"),
    ],
)
def test_weights_that_were_let_go_are_told_as_what_the_scores_asked_for(feedback, said) -> None:
    run, diagnosis, result = planted()
    result["weights"] = {"ess": 500.0, "ess_share": 0.83}
    assert "asked for" not in build(run, diagnosis, result).html()
    result["feedback"] = feedback
    assert said in build(run, diagnosis, result).html()


def test_weights_that_no_draw_follows_are_those_of_the_loss() -> None:
    run, diagnosis, result = planted()  # beside it the loss is weighted
    result["weights"] = {"ess": 500.0, "ess_share": 0.83}
    assert "a sample counts in D" in build(run, diagnosis, result).html()


def test_the_shares_in_table_and_chart_are_those_of_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Any] = []
    bars = charts.share_bars
    monkeypatch.setattr(charts, "share_bars", lambda *a: drawn.append(a) or bars(*a))
    run, diagnosis, result = planted(3, names=("b", "c", "a"), phase_boundary=200)
    diagnosis.group[:30] = -1  # belong to no group, but to the data
    shares = {
        "a": {"share_drawn": 0.6, "share_generated": 0.11, "share_generated_drs": 0.31},
        "b": {"share_drawn": 0.3, "share_generated": 0.47, "share_generated_drs": 0.36},
        "c": {"share_drawn": 0.1, "share_generated": 0.42, "share_generated_drs": 0.33},
    }
    for name, entry in shares.items():
        result["groups"][name] |= entry
    (table,) = blocks(build(run, diagnosis, result), "group-shares", Table)
    keys = {
        "Draws in phase 2": "share_drawn",
        "Generated": "share_generated",
        "Corrected by drs": "share_generated_drs",
    }
    titles = ["Data", *keys]
    assert [title for title, _ in table.headings] == ["Group", *titles]
    assert {row[0] for row in table.rows} == set(shares)
    ((columns, names),) = drawn
    assert (list(columns), list(names)) == (titles, [row[0] for row in table.rows])
    for number, (name, *numbers) in enumerate(table.rows):
        of_data = (diagnosis.group == ("b", "c", "a").index(name)).sum() / 600
        expected = [of_data, *(shares[name][key] for key in keys.values())]
        assert numbers == pytest.approx(expected)
        assert [columns[title][number] for title in titles] == numbers
        shown = [cell[0] for cell in table.cells[number][1:]]
        assert shown == [f"{100 * share:.1f}\xa0%" for share in expected]


def test_thumbnails_carry_index_score_and_group(full: Page) -> None:
    diagnosis = full.diagnosis
    most, least = blocks(full.report, "samples-by-score", ImageGrid)
    order = np.argsort(-diagnosis.score)
    for grid, expected in ((most, order[:50]), (least, order[::-1][:50])):
        assert len(grid.images) == 50
        for label, index in zip(grid.labels, expected, strict=True):
            number, score, group = label.split("\n")
            assert number == f"#{index}"
            assert float(score.replace("−", "-")) == pytest.approx(
                diagnosis.score[index], abs=0.006
            )
            assert group == f"g{diagnosis.group[index]}"
    assert most.pixelated


def check_lists(report: Report, diagnosis: Diagnosis, figures: int) -> None:
    most, least = blocks(report, "samples-by-score", Table)
    assert len(most.rows) == len(least.rows) == 50
    assert most.rows[0][0] == diagnosis.score.argmax()
    assert least.rows[0][0] == diagnosis.score.argmin()
    assert len(blocks(report, "samples-by-score", Figure)) == figures
    assert "“g24”" in blocks(report, "verdict", Verdict)[0].sentences[0]


def test_points_are_listed_and_drawn(many: Page) -> None:
    check_lists(many.report, many.diagnosis, figures=1)


def test_vectors_are_listed() -> None:
    run, diagnosis, result = planted(25, "vector", num=1500)
    check_lists(build(run, diagnosis, result), diagnosis, figures=0)


def test_a_missing_mode_is_in_the_headline(many: Page) -> None:
    headline = blocks(many.report, "verdict", Verdict)[0].headline
    assert headline == "The generator never makes “g24”."
    (table,) = blocks(many.report, "group-shares", Table)
    assert table.highlight == {[row[0] for row in table.rows].index("g24")}


def test_no_imbalance_says_so_and_sets_nothing_off() -> None:
    run, diagnosis, result = planted(4, effect=0.0)
    report = build(run, diagnosis, result)
    verdict = blocks(report, "verdict", Verdict)[0]
    assert (verdict.headline, verdict.tone) == ("No group is under-represented.", "ok")
    assert blocks(report, "group-shares", Table)[0].highlight == frozenset()
    assert "set off" not in report.html()


def test_hostile_names_stay_names() -> None:
    run, diagnosis, result = planted(names=("red", HOSTILE), phase_boundary=100)
    result["weights"] = {"warnings": [HOSTILE]}
    html = build(run, diagnosis, result).html()
    assert "<script" not in html
    assert re.findall(r"""\s(?:src|href|action)=["'](?!data:image/|#)""", html) == []
    assert "@import" not in html
    assert not re.search(r"url\(", html)
    inside = svgs(html)
    assert "<script" not in inside
    assert "<img" not in inside
    assert html.count("&lt;script&gt;") > 5


def test_a_dataset_without_groups() -> None:
    run, diagnosis, result = planted(0)
    report = build(run, diagnosis, result)
    assert "shares" in {section.anchor for section in report.sections}  # the host's own stays
    assert "No training samples stand out" in report.html()
    assert all(
        label.count("\n") == 1 for label in blocks(report, "samples-by-score", ImageGrid)[0].labels
    )
    assert "lowest score" in svgs(report.html())


@pytest.mark.parametrize("num_groups", [1, 60])
def test_any_number_of_groups(num_groups: int) -> None:
    run, diagnosis, result = planted(num_groups, num=1200)
    report = build(run, diagnosis, result)
    text = svgs(report.html())
    # Rows are groups while they can be read, else bins of equal score.
    assert ("lowest score" in text) == (num_groups not in range(2, 41))


def test_results_with_gaps() -> None:
    run, diagnosis, _ = planted()
    for result in ({}, {"groups": {"g0": {}}}, {"groups": None, "weights": None}):
        html = build(run, diagnosis, result).html()  # type: ignore[arg-type]
        assert "D rates “g1” as under-represented; no share was measured." in html
    bare = Diagnosis(*(np.full(600, np.nan) for _ in range(4)), np.zeros(600), diagnosis.group)
    html = build(run, bare, {}).html()
    assert "Nothing was recorded" in html
    assert "Too few samples were recorded" in html


def test_records_with_holes_are_drawn() -> None:
    run, diagnosis, result = planted()
    history = diagnosis.history.copy()
    history[3] = np.nan
    history[:, 5] = np.inf
    holes = Diagnosis(**{**vars(diagnosis), "history": history})
    assert "history" in {section.anchor for section in build(run, holes, result).sections}


def test_another_dataset_is_refused() -> None:
    run, diagnosis, result = planted()
    other, *_ = planted(num=900)
    with pytest.raises(UserError, match=r"600 training samples, but the dataset has 900"):
        build(other, diagnosis, result)
    run.dataset.fingerprint = lambda: "bar"
    with pytest.raises(UserError, match="has changed"):
        build(run, diagnosis, result)


def test_the_same_run_gives_the_same_page(many: Page) -> None:
    run, diagnosis, result = planted(25, "points", num=1500)
    result["groups"]["g24"]["share_generated"] = 0.0
    assert build(run, diagnosis, result).html() == many.html
    assert len(many.html) < 3_000_000


def test_hinge_scores_are_called_a_surrogate(full: Page) -> None:
    surrogate = "no true log-density ratio"
    assert surrogate not in full.html
    assert surrogate in build(*planted(is_density_ratio="False")).html()


@pytest.mark.parametrize("num", [0, 1, 2, 7, 200])
def test_extreme_samples_never_overlap(num: int) -> None:
    score = np.round(np.random.default_rng(num).standard_normal(num + 2), 1)
    score[:2] = np.nan, np.inf
    most, least = extreme_samples(score)
    assert len(most) == len(least) == min(50, num // 2)
    assert not set(most.tolist()) & set(least.tolist())
    assert not {0, 1} & {*most.tolist(), *least.tolist()}
    if len(most):
        assert score[most].min() >= score[least].max()
        assert score[most[0]] == score[2:].max()


def test_colours_of_the_heat_map() -> None:
    assert is_diverging(np.array([[-1.0, 2.0, np.nan]]))
    assert not is_diverging(np.array([[1.0, 2.0]]))
    assert not is_diverging(np.full((2, 2), np.nan))
    one = heat_map(np.array([[1.0]]), ["a"], np.array([5]), boundary=9)
    assert "<svg" in one
    assert "phase 2" not in one  # outside of what was recorded


def test_share_bars_take_unknown_shares() -> None:
    for groups in (2, 20):
        names = [f"g{i}" for i in range(groups)]
        svg = share_bars({"data": [0.5] * groups, "drawn": [None] * groups}, names)
        assert "g1" in svg


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_samples_are_shown_with_their_files(kind: str) -> None:
    run, diagnosis, result = planted(kind=kind)
    names = tuple(f"train/{i:03}/<b>picture {i:03}.png" for i in range(600))
    report = build(run, dataclasses.replace(diagnosis, names=names), result)
    worst = int(diagnosis.score.argmax())
    html = report.html()
    assert f"train/{worst:03}/&lt;b&gt;picture {worst:03}.png" in html  # whole, to copy
    assert "<b>picture" not in html
    if kind == "image":
        grid = blocks(report, "samples-by-score", ImageGrid)[0]
        shown = grid.labels[0].split("\n")
        assert shown[:2] == [f"#{worst}", f"…ture {worst:03}"]
        assert "number, name, score, group" in grid.caption
