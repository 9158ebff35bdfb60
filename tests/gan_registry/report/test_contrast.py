"""Text can be read on its ground: the contrast that WCAG 2.1 asks for, from the CSS and as shown.

The CSS is checked everywhere; what a browser makes of it where Chromium is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from gan_registry.images import to_pngs
from gan_registry.report.document import (
    Column,
    Details,
    Facts,
    Figure,
    ImageGrid,
    Number,
    Numbers,
    Report,
    Table,
    Text,
    Verdict,
)
from gan_registry.report.figures import INK, SOFT, line_chart

LEAST = 4.5
CSS = (Path(__file__).parents[3] / "registry/gan_registry/report/style.css").read_text()
SCHEMES = ("light", "dark", "print")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

READ_PAIRS = """
const parse = (text) => {
  const n = text.match(/[\\d.]+/g).map(Number);
  return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
};
const pairs = {};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const of = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || of.closest("script")) continue;
  let ground = of, colour = [0, 0, 0, 0];
  while (ground && colour[3] === 0) {
    colour = parse(getComputedStyle(ground).backgroundColor);
    ground = ground.parentElement;
  }
  const ink = parse(getComputedStyle(of).color);
  pairs[JSON.stringify([ink, colour])] = of.tagName + "." + of.className;
}
document.title = JSON.stringify(pairs);
"""


def luminance(colour: list[float]) -> float:
    parts = [c / 255 for c in colour[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: list[float], b: list[float]) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def of_hex(text: str) -> list[float]:
    return [int(text[place : place + 2], 16) for place in (1, 3, 5)]


def colours(scheme: str) -> dict[str, list[float]]:
    """Reads the variables that hold in a scheme: those of print stand above the dark ones."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert len(blocks) == len(SCHEMES)
    read = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    merged = {
        name: text for block in read[: SCHEMES.index(scheme) + 1] for name, text in block.items()
    }
    return {name: of_hex(text) for name, text in merged.items()}


def test_the_measure_of_contrast():
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast(of_hex("#777777"), of_hex("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_colour_of_text_is_legible_on_every_ground(scheme: str):
    inks = set(re.findall(r"[^-]color: var\(--([\w-]+)\)", CSS))
    grounds = set(re.findall(r"background: var\(--([\w-]+)\)", CSS))
    assert {"ink", "soft", "link", "attention"} <= inks
    assert {"page", "panel", "ok-panel", "attention-panel", "highlight"} <= grounds
    assert not re.findall(r"[^-]color: (?!var)", CSS)  # no colour of text but these
    known = colours(scheme)
    poor = {
        (ink, ground): round(ratio, 2)
        for ink in inks
        for ground in grounds
        if (ratio := contrast(known[ink], known[ground])) < LEAST
    }
    assert not poor


def test_charts_write_in_colours_that_are_legible_on_white():
    assert all(contrast(of_hex(ink), of_hex("#ffffff")) >= LEAST for ink in (INK, SOFT))


def every_block() -> Report:
    report = Report("All kinds of blocks", "a subtitle")
    (png,) = to_pngs(torch.zeros(1, 3, 4, 4))
    verdicts = [
        Verdict("Found", ("because",), tone, ("Do.",)) for tone in ("ok", "attention", "neutral")
    ]
    chart = line_chart({"a": [1, 2]}, {"a": [1, 2]}, "x", "y")
    report.add_section("Verdicts", *verdicts, order=1, anchor="verdicts")
    report.add_section(
        "The rest",
        *(Text("Some text", kind) for kind in ("plain", "note", "warning")),
        Numbers((Number("Label", "1.5", "a note"),)),
        Facts((("Label", "value"),)),
        Table(["Group", Column("Share", "percent")], [["a", 0.1]], "Set off", frozenset({0})),
        Table(list("abcd"), [list("abcd")], "Tall", tall=True),
        Figure(chart, "A chart", "A line"),
        Figure(png, "A picture", "Pixels"),
        ImageGrid([png], ["#1\nits name"], "A grid"),
        Details("More", "text"),
        order=2,
        anchor="rest",
    )  # fmt: skip
    return report


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_as_a_browser_shows_it_all_text_is_legible(tmp_path: Path, scheme: str, width: int):
    page = re.sub(r"<meta http-equiv.*", "", every_block().html())  # lets the script below run
    page = page.replace("<details>", "<details open>")
    script = f"<script>{READ_PAIRS}</script></body>"
    (tmp_path / "page.html").write_text(page.replace("</body>", script))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
        "--dump-dom", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*)</title>", done.stdout)
    assert title, done.stderr
    pairs = {tuple(map(tuple, json.loads(key))): who for key, who in json.loads(title[1]).items()}
    inks = {ink[:3] for ink, _ in pairs}
    assert tuple(colours(scheme)["ink"]) in inks  # it is this scheme that was shown
    assert len(inks) == 4
    assert all(ground[3] == 1 and ink[3] == 1 for ink, ground in pairs)  # nothing shines through
    poor = {
        who: (ink, ground)
        for (ink, ground), who in pairs.items()
        if contrast([*ink], [*ground]) < LEAST
    }
    assert not poor
