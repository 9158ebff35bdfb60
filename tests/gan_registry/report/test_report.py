from __future__ import annotations

import io
import json
import math
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from gan_registry.config.schema import Config
from gan_registry.datasets.gaussian_mixtures import GaussianMixture
from gan_registry.errors import UserError
from gan_registry.formatting import duration, format_cell, percent
from gan_registry.images import grid_png, to_pngs, to_uint8
from gan_registry.integrity import seal_zip
from gan_registry.report.document import (
    Column,
    Details,
    Facts,
    Figure,
    ImageGrid,
    Report,
    Table,
    Text,
    Verdict,
)
from gan_registry.report.figures import group_colors, line_chart, scatter
from gan_registry.report.host_sections import read_metrics, run_sections
from gan_registry.report.sample_pictures import load_generated

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/a.png> $\\frac{$ & {{ 7*7 }}"


class _Page(HTMLParser):
    """Collects what a browser would load, run or show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_self_contained(html: str) -> _Page:
    page = _Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    assert page.handlers == []
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "@import" not in style
    assert "url(" not in style
    return page


def full_report(name: str) -> Report:
    report = Report(name, name)
    (png,) = to_pngs(torch.zeros(1, 3, 4, 4))
    report.add_section(
        name,
        Text(name, "warning"),
        Verdict(name, (name,), "attention"),
        Facts(((name, name),)),
        Table([name, Column(name)], [[name, name]], name),
        Figure(line_chart({name: [1, 2]}, {name: [1, 2]}, name, name), name, name),
        ImageGrid([png], [name], name),
        Details(name, name),
        order=1,
        anchor="a",
    )
    return report


def test_every_block_escapes_and_the_page_loads_nothing() -> None:
    page = assert_self_contained(full_report(HOSTILE).html())
    assert page.tags.count("img") == 2  # the figure and the grid, not the hostile one
    assert page.text.count(HOSTILE) >= 10
    assert "49" not in page.text  # no second round of templates


def test_sections_stand_by_order_not_by_call() -> None:
    def build(calls: list[tuple[str, int]]) -> str:
        report = Report("t")
        for anchor, order in calls:
            report.add_section(anchor.upper(), order=order, anchor=anchor)
        return report.html()

    calls = [("c", 5), ("a", 5), ("b", 1)]
    html = build(calls)
    assert html == build(calls[::-1])
    assert html.index('id="b"') < html.index('id="a"') < html.index('id="c"')


@pytest.mark.parametrize("replacement_first", [True, False])
def test_a_section_replaces_another_in_either_order(replacement_first: bool) -> None:
    report = Report("t")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("old", {"anchor": "shares"}),
        ("new", {"anchor": "better", "replaces": "shares"}),
    ]
    for text, options in calls[:: -1 if replacement_first else 1]:
        report.add_section(text, Text(text), order=1, **options)
    assert [section.title for section in report.sections] == ["new"]


def test_bad_sections_are_refused() -> None:
    report = Report("t")
    report.add_section("x", order=1, anchor="x")
    with pytest.raises(ValueError, match="unique"):
        report.add_section("y", order=1, anchor="x")
    with pytest.raises(ValueError, match="anchor"):
        report.add_section("y", order=1, anchor='"><b>')
    with pytest.raises(TypeError, match="blocks"):
        report.add_section("y", "<b>", order=1, anchor="z")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows"):
        Table(["a", "b"], [[1]])
    with pytest.raises(ValueError, match="labels"):
        ImageGrid([b""], [])


def test_write_is_whole_or_not_at_all(tmp_path: Any, monkeypatch: Any) -> None:
    report = Report("Größe")
    report.write(tmp_path / "report.html")
    before = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Größe" in before
    monkeypatch.setattr(Report, "html", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        report.write(tmp_path / "file" / "report.html")


def test_tables_format_and_align() -> None:
    table = Table(
        ["name", Column("share", "percent"), Column("score", ".2f"), "count"],
        [["a", 0.0314, -1.234, 12345], ["b", None, float("nan"), 7]],
    )
    assert [align for _, align in table.headings] == ["left", "right", "right", "right"]
    assert [value for value, _ in table.cells[0]] == ["a", "3.1\xa0%", "−1.23", "12,345"]
    assert [value for value, _ in table.cells[1]] == ["b", "–", "–", "7"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0\xa0%"),
        (1.0, "100.0\xa0%"),
        (0.05, "5.0\xa0%"),
        (0.0004, "0.04\xa0%"),
        (1e-6, "<\xa00.01\xa0%"),
    ],
)
def test_percent(value: float, text: str) -> None:
    assert percent(value) == text


def test_formatting_of_other_values() -> None:
    assert duration(192) == "3 min 12 s"
    assert duration(7260) == "2 h 01 min"
    assert [duration(s) for s in (0.4, 59.6)] == ["0 s", "1 min 00 s"]
    assert format_cell(True) == "yes"
    assert format_cell(math.inf) == "∞"
    assert format_cell(np.int64(1234)) == "1,234"
    assert format_cell(np.float32(0.5)) == "0.5"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_their_pixels(dtype: torch.dtype, channels: int) -> None:
    x = torch.tensor([-1.0, 0.0, 1.0, 5.0, -5.0, math.nan, math.inf, -math.inf]).to(dtype)
    (png,) = to_pngs(x.reshape(1, 1, 2, 4).repeat(1, channels, 1, 1))
    image = Image.open(io.BytesIO(png))
    assert image.size == (4, 2)
    assert image.mode == ("L" if channels == 1 else "RGB")
    values = np.asarray(image).reshape(8, -1)[:, 0]
    assert values.tolist() == [0, 128, 255, 255, 0, 0, 255, 0]


def test_images_of_other_ranges() -> None:
    assert to_uint8(np.array([0.0, 1.0]).reshape(2, 1, 1, 1), (0, 1)).ravel().tolist() == [0, 255]
    assert to_uint8(np.array([3.0, 5.0]).reshape(2, 1, 1, 1), None).ravel().tolist() == [0, 255]
    assert to_uint8(torch.full((1, 1, 2, 2), 7.0), None).shape == (1, 2, 2, 1)
    assert to_pngs(torch.zeros(0, 3, 4, 4)) == []
    small = Image.open(io.BytesIO(to_pngs(torch.zeros(1, 3, 96, 64), max_size=48)[0]))
    assert small.size == (32, 48)
    for bad in (torch.zeros(3, 4, 4), torch.zeros(1, 0, 4, 4)):
        with pytest.raises(ValueError, match="images"):
            to_uint8(bad)
    with pytest.raises(ValueError, match="value_range"):
        to_uint8(torch.zeros(1, 1, 2, 2), (1.0, 1.0))


@pytest.mark.parametrize(("channels", "shown"), [(2, 1), (4, 3), (7, 3)])
def test_of_images_of_other_channels_the_first_are_shown(channels: int, shown: int) -> None:
    x = torch.rand(2, channels, 3, 4, generator=torch.Generator().manual_seed(0))
    assert (to_uint8(x) == to_uint8(x[:, :shown])).all()
    assert len(to_pngs(x)) == 2


def test_grid_places_images_row_by_row() -> None:
    x = torch.arange(5).float().reshape(5, 1, 1, 1).expand(5, 1, 2, 3) / 4
    sheet = np.asarray(Image.open(io.BytesIO(grid_png(x, 3, (0, 1), padding=1))))
    assert sheet.shape == (5, 11)
    tiles = [sheet[r * 3, c * 4] for r in range(2) for c in range(3)]
    assert tiles == [0, 64, 128, 191, 255, 128]  # the last place is empty
    assert Image.open(io.BytesIO(grid_png(x[:1]))).size == (3, 2)
    with pytest.raises(ValueError, match="at least one"):
        grid_png(x[:0])


def test_charts_are_deterministic_and_leave_no_trace() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2000, 2))
    before, state = dict(mpl.rcParams), np.random.get_state()[1].copy()  # noqa: NPY002
    first = scatter(points, points)
    assert first == scatter(points, points)
    assert "<image" in first  # many points are a picture within the chart
    lines = line_chart({"a": range(500)}, {"a": rng.random(500)}, "x", "y")  # type: ignore[dict-item]
    assert "<svg" in lines
    assert "<dc:date>" not in lines
    assert dict(mpl.rcParams) == before
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_charts_take_any_name_and_any_values() -> None:
    name = "$\\frac{<b>$"  # as a formula it would be an error
    svg = line_chart({name: [1, 2, 3]}, {name: [1.0, math.nan, math.inf]}, name, name)
    assert svg.count("$\\frac{&lt;b&gt;$") >= 3
    assert "名前" in line_chart({"名前": [1]}, {"名前": [1]}, "", "")
    assert "<svg" in line_chart({}, {}, "", "")
    stray = np.array([[0.0, 0.0], [99.0, 0.0], [math.nan, 0.0]])
    assert "2 of 3 lie outside" in scatter(stray, np.array([[-1.0, -1.0], [1.0, 1.0]]))
    assert "<svg" in scatter(np.zeros((0, 2)), np.zeros((0, 2)))


def test_groups_named_after_colours_get_them() -> None:
    red, green, other = group_colors(["red", "green digits", "blurred"])
    assert (red, green) == ("#D55E00", "#009E73")
    assert other not in {red, green}
    assert len(set(group_colors(["red", "dark red", "a", "b", "c", "d", "e"]))) == 7


def test_metrics_survive_a_crash_and_a_resumed_run(tmp_path: Any) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 10, "a": 1}, {"step": 20, "a": 2, "b": "text"}, {"step": 20, "a": 3}, [1]]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 30, "a"')
    assert read_metrics(path) == {"a": ([10.0, 20.0], [1.0, 3.0])}
    assert read_metrics(tmp_path / "none") == {}


def write_samples(path: Any, **arrays: Any) -> None:
    np.savez(path, **arrays)
    seal_zip(path)


def test_generated_samples_may_be_absent_or_broken(tmp_path: Any, caplog: Any) -> None:
    path = tmp_path / "final.npz"
    assert load_generated(path) == {}
    path.write_bytes(b"no archive")
    assert load_generated(path) == {}
    assert f"{path} is damaged" in caplog.text
    write_samples(path, x=np.ones((2, 3)), x_drop=np.zeros((1, 3)), x_none=np.zeros((0, 3)))
    assert not caplog.messages[1:]
    assert {name: len(x) for name, x in load_generated(path).items()} == {"x": 2, "x_drop": 1}
    path.write_bytes(path.read_bytes()[:-60])
    assert load_generated(path) == {}


class _Data:
    group_names = ("red", HOSTILE)
    value_range = (-1.0, 1.0)

    def __init__(self, kind: str, shape: tuple[int, ...]) -> None:
        self.kind, self.sample_shape = kind, shape

    def __len__(self) -> int:
        return 100

    def __getitems__(self, indices: Any) -> tuple[torch.Tensor, torch.Tensor]:
        scale = torch.as_tensor(np.asarray(indices)).float() / 100
        x = scale.reshape(-1, *[1] * len(self.sample_shape)).expand(-1, *self.sample_shape)
        return x, torch.zeros(len(x), dtype=torch.int64)


@pytest.mark.parametrize(("kind", "shape"), [("image", (1, 8, 8)), ("points", (2,)), ("x", (5,))])
def test_run_sections(tmp_path: Any, kind: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "samples").mkdir()
    x = np.zeros((80, *shape), np.float32)
    write_samples(tmp_path / "samples" / "final.npz", x=x, x_filter=x)
    rows = [{"step": s, "loss/generator": s, "loss/d": math.nan, "lr": 1} for s in range(50)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "config.yaml").write_text("NAME: demo\nVERSIONS: {torch: 9.9.9}\n")
    run = SimpleNamespace(
        folder=tmp_path,
        config=Config(),
        config_name="demo",
        dataset=_Data(kind, shape),
        seed=3,
        total_steps=50,
        device=torch.device("cpu"),
    )
    result = {
        "config": HOSTILE,
        "seconds": 192,
        "metrics": {"high_quality": 0.93, "odd": 2, "text": "no", "null": None},
        "metrics_filter": {"acceptance_rate": 0.4},
        "groups": {
            "red": {"share_data": 0.9, "share_generated": 0.97, "share_generated_filter": 0.95},
            HOSTILE: {"share_data": 0.1, "share_generated": 0.03, "share_generated_filter": None},
        },
    }
    report = Report("run")
    run_sections(report, run, result)
    assert [section.anchor for section in report.sections] == [
        *("samples", "run", "shares", "metrics", "losses", "config")
    ]
    html = report.html()
    page = assert_self_contained(html)
    for expected in ("3 min 12 s", "9.9.9", "93.0\xa0%", "40.0\xa0%", "3.0\xa0%", "NAME: demo"):
        assert expected in page.text
    assert "The loss of d was not a number" in page.text
    assert "corrected by filter" in page.text
    again = Report("run")
    run_sections(again, run, result)
    assert again.html() == html


def test_points_of_many_dimensions_are_drawn_where_the_data_tell_how(tmp_path: Any) -> None:
    (tmp_path / "samples").mkdir()
    write_samples(tmp_path / "samples" / "final.npz", x=np.zeros((80, 5), np.float32))
    shown = {}
    for dim in (5, 1):
        dataset = GaussianMixture(1, dim, 0.3, 100, seed=0)
        run = SimpleNamespace(
            folder=tmp_path, config=Config(), config_name="demo", dataset=dataset, seed=3,
            total_steps=5, device=torch.device("cpu"),
        )  # fmt: skip
        report = Report("run")
        run_sections(report, run, {})
        (section,) = [section for section in report.sections if section.anchor == "samples"]
        shown[dim] = [block.caption for block in section.blocks if isinstance(block, Figure)]
    assert shown[5] == [
        "Real training samples, projected onto a plane, a dot each.",
        "Generated, projected onto a plane, a dot each.",
    ]
    assert shown[1] == []


def test_run_sections_of_an_empty_folder(tmp_path: Any) -> None:
    run = SimpleNamespace(
        folder=tmp_path, config=Config(), config_name="demo", dataset=_Data("image", (1, 8, 8)),
        seed=0, total_steps=1, device="cpu",
    )  # fmt: skip
    report = Report("run")
    run_sections(report, run, {})
    assert [section.anchor for section in report.sections] == ["samples", "run", "config"]
    assert "stored no generated samples" in report.html()
