"""What `diagan diagnose` and `diagan calibrate` leave behind: JSON, a page, a picture a mode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from diagan_plugin.blackbox.bootstrap import Interval, smallest_above
from diagan_plugin.blackbox.collapse_diagnosis import BlackBoxDiagnosis, DenseMode
from diagan_plugin.blackbox.generator_calibration import Calibration
from diagan_plugin.blackbox.thresholds import RESOLUTION, share_of
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import fetch
from gan_registry.files import atomic_write
from gan_registry.formatting import percent
from gan_registry.images import grid_png, to_pngs
from gan_registry.report.document import Column, Facts, Figure, ImageGrid, Report, Table, Verdict
from gan_registry.report.figures import INK, PALETTE, render

NOTABLE = 2.0
"""A mode is called dense where surely so many times as many samples are near as is typical."""

ALIKE = 0.5
"""From this share near a typical anchor on, samples that repeat one another are mostly alike."""

SURELY = 5.0
"""So many times the rule's share must a typical anchor have of samples that repeat it: in a plane a
healthy generator's samples may lie as close as r can tell, at about the rule's share."""

MANY = 0.01
"""Share of the anchors from which on such as are more alike than the densest mode are told."""

COARSE = 0.1
"""Where a mode must hold more than this share to be told, that none was told says little."""

Part = tuple[Dataset, NDArray[np.int64]]
"""Some samples of a dataset, and the index there of each."""

_PIXELS = 96


def verdict(diagnosis: BlackBoxDiagnosis) -> Verdict:
    """Says in words what was found."""
    worst = diagnosis.modes[0]
    # A typical anchor without any neighbour has less than one of the samples.
    typical = max(diagnosis.typical_share, 1.0 / diagnosis.num_samples)
    sentences = (
        f"Around the densest anchor lie {percent(worst.share)} of the samples "
        f"({percent(worst.share_interval.low)} to {percent(worst.share_interval.high)}); around a "
        f"typical one {percent(diagnosis.typical_share)}.",
        f"Its MCCS is {with_interval(worst.mccs, worst.mccs_interval)}, that of the median anchor "
        f"{diagnosis.typical_mccs:.3f}.",
    )
    rule = share_of(diagnosis.num_samples)
    if diagnosis.radius <= RESOLUTION and diagnosis.typical_share >= rule:
        # What is typical here is to be repeated, and nothing need stand out from that.
        surely = diagnosis.typical_share >= SURELY * rule
        found = "Samples repeat one another"
        if diagnosis.typical_share >= ALIKE:
            found = "Most samples are alike: the generator has collapsed as a whole"
        return Verdict(
            f"{found}, or the features do not tell them apart",
            sentences, "attention" if surely else "neutral",
            todo=("Where samples differ, subtract the features' mean (--center), or take others.",),
        )  # fmt: skip
    if worst.share_interval.low >= NOTABLE * typical:
        times = f"{worst.times_typical:.1f} times as densely as is typical"
        if not np.isfinite(worst.times_typical):
            times = "far more densely than is typical"
        headline = f"In one place samples lie {times}"
        return Verdict(headline, (*_tighter(diagnosis), *sentences), "attention",
                       todo=_uneven(diagnosis))  # fmt: skip
    headline = f"No mode is surely {NOTABLE:g} times as dense as is typical"
    least = smallest_above(NOTABLE * typical, diagnosis.num_samples // 2, diagnosis.level)
    if least <= COARSE:
        seen = (
            f"A mode of less than about {percent(least)} of the samples might not have been told."
        )
        return Verdict(headline, (*sentences, seen), "ok")
    only = f"only one of {percent(least)} of them or more" if least <= 1.0 else "none at all"
    return Verdict(
        f"{headline}; of so few samples {only} would be told", sentences, "neutral",
        todo=("Take more samples: --num and --anchors, or a fuller folder or file.",),
    )  # fmt: skip


def _tighter(diagnosis: BlackBoxDiagnosis) -> Iterator[str]:
    """Tells of copies that share their place with more samples, which only look alike."""
    (low, high), scores = diagnosis.modes[0].mccs_interval, diagnosis.scores
    above = float((scores > high + (high - low)).mean())
    if above >= MANY:
        yield (
            f"{percent(above)} of the anchors have a clearly higher MCCS, to {scores.max():.3f}: "
            "samples that all but repeat one another. A smaller --radius shows them "
            f"({diagnosis.radius / 5:.2g}, say)."
        )


def _uneven(diagnosis: BlackBoxDiagnosis) -> tuple[str, ...]:
    """Says how collapse is told from data that are denser in some places themselves."""
    return (
        "Look at its neighbours: where they are one sample again and again, the generator has "
        "collapsed there; where they are different samples of one kind, it need not have.",
        "Data can be as uneven: diagnose as many real samples (--samples) with the same features, "
        f"--theta {diagnosis.theta:.4f} and --radius {diagnosis.radius:.4f}, and compare.",
    )


def with_interval(value: float, interval: Interval) -> str:
    """Formats a score with its interval."""
    return f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def summary(diagnosis: BlackBoxDiagnosis) -> str:
    """Writes the diagnosis as lines for a terminal."""
    said = verdict(diagnosis)
    lines = [
        said.headline,
        f"MCCS  mean {with_interval(diagnosis.mean, diagnosis.mean_interval)}  "
        f"standard deviation {with_interval(diagnosis.std, diagnosis.std_interval)}  "
        f"median {diagnosis.typical_mccs:.3f}",
        f"theta {diagnosis.theta:.4f}  radius {diagnosis.radius:.4f}  "
        f"anchors {len(diagnosis.scores):,}  samples {diagnosis.num_samples:,}",
        f"{'mode':<6}{'MCCS':<27}{'share of samples':<31}{'times typical':>13}",
    ]
    for number, mode in enumerate(diagnosis.modes, 1):
        shares = (
            f"{percent(mode.share)} ({percent(mode.share_interval.low)} to "
            f"{percent(mode.share_interval.high)})"
        )
        score = with_interval(mode.mccs, mode.mccs_interval)
        lines.append(f"{number:<6}{score:<27}{shares:<31}{mode.times_typical:>13.1f}")
    lines[1:1] = _tighter(diagnosis)
    lines += [f"{'' if number else 'next':<6}{text}" for number, text in enumerate(said.todo)]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def calibration_summary(calibration: Calibration) -> str:
    """Writes what a calibration did as lines for a terminal."""
    lines = [
        calibration_outcome(calibration),
        f"{'mode':<6}{'MCCS before':<27}{'after':<27}{'share before':>13}{'after':>9}",
    ]
    for number, (before, after) in enumerate(calibration.modes, 1):
        cells = [with_interval(level.mccs, level.mccs_interval) for level in (before, after)]
        shares = f"{percent(before.share):>13}{percent(after.share):>9}"
        lines.append(f"{number:<6}{cells[0]:<27}{cells[1]:<27}{shares}")
    first, then = calibration.before, calibration.after
    lines += [
        f"mean MCCS {with_interval(first.mean, first.mean_interval)} before, "
        f"{with_interval(then.mean, then.mean_interval)} after; densest mode after: "
        f"{with_interval(then.modes[0].mccs, then.modes[0].mccs_interval)}",
        f"Fréchet distance between samples before and after {calibration.drift:.4g} "
        f"(two draws before: {calibration.drift_by_chance:.4g})",
    ]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def calibration_outcome(calibration: Calibration) -> str:
    """Says of how many modes it is sure that they are less dense than before: of fresh samples."""
    pairs = [(first.share_interval, then.share_interval) for first, then in calibration.modes]
    less = sum(after.high < before.low for before, after in pairs)
    return f"Surely less dense than before: {less} of {len(pairs)} modes"


def write_report(
    folder: Path,
    diagnosis: BlackBoxDiagnosis,
    facts: Mapping[str, Any],
    anchors: Part,
    samples: Part,
) -> Path:
    """Writes `diagnosis.json`, `report.html` and, of images, `mode1.png` and so on into a folder.

    Anchors and samples are a dataset each, and the index there of each row of the diagnosis;
    `facts` say for both files what was diagnosed and how.

    Returns:
        The path of the page.

    Raises:
        UserError: They cannot be written.
    """
    content = {**facts, **diagnosis.to_dict()}
    for entry, mode in zip(content["modes"], diagnosis.modes, strict=True):
        # As the user counts: by the place in the folder or file, or in the draw.
        entry["anchor_index"] = int(anchors[1][mode.anchor])
        entry["neighbor_indices"] = [int(samples[1][row]) for row in mode.neighbors]
    write_json(folder / "diagnosis.json", content)
    report = Report("Black-box diagnosis", str(facts.get("source", "")))
    report.add_section("Findings", verdict(diagnosis), order=10, anchor="findings")
    report.add_section(
        "The population",
        Facts(
            (
                ("mean of MCCS", with_interval(diagnosis.mean, diagnosis.mean_interval)),
                ("standard deviation", with_interval(diagnosis.std, diagnosis.std_interval)),
                ("θ", diagnosis.theta),
                ("r", diagnosis.radius),
                *((name.replace("_", " "), value) for name, value in facts.items()),
            )
        ),
        Figure(
            _histogram(diagnosis),
            "MCCS of the anchors. Each line is a dense mode.",
            "Histogram of the collapse scores of all anchors",
            width="half",
        ),
        order=20,
        anchor="population",
    )
    report.add_section("Dense modes", _mode_table(diagnosis), order=30, anchor="modes")
    for number, mode in enumerate(diagnosis.modes, 1):
        pictures = _pictures(mode, anchors, samples)
        if pictures is None:
            continue
        with atomic_write(folder / f"mode{number}.png") as temporary:
            temporary.write_bytes(grid_png(pictures))
        labels = ["anchor", *(f"{distance:.3f}" for distance in mode.distances)]
        report.add_section(
            f"Mode {number} and its nearest neighbours",
            ImageGrid(
                to_pngs(pictures, max_size=_PIXELS),
                labels,
                "Below each its distance to the anchor, from 0 to 1.",
            ),
            order=30 + number,
            anchor=f"mode-{number}",
        )
    path = folder / "report.html"
    report.write(path)
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes plain values, whole or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _mode_table(diagnosis: BlackBoxDiagnosis) -> Table:
    rows: Sequence[Sequence[Any]] = [
        (
            number,
            with_interval(mode.mccs, mode.mccs_interval),
            mode.share,
            mode.share_interval.low,
            mode.share_interval.high,
            mode.times_typical if np.isfinite(mode.times_typical) else None,
            mode.distances[0] if mode.distances else None,
        )
        for number, mode in enumerate(diagnosis.modes, 1)
    ]
    return Table(
        (
            "mode",
            "MCCS",
            Column("share within r", "percent"),
            Column("from", "percent"),
            Column("to", "percent"),
            Column("times typical", ".1f"),
            Column("nearest sample at", ".3f"),
        ),
        rows,
        f"Looked for in one half of the samples and measured in the other; intervals of "
        f"{percent(diagnosis.level)}.",
        frozenset({0}),
    )


def _pictures(mode: DenseMode, anchors: Part, samples: Part) -> NDArray[np.float32] | None:
    """Returns the anchor and its neighbours [1 + n, C, H, W]; None if they are no images."""
    if anchors[0].kind != "image":
        return None
    anchor, _ = fetch(anchors[0], anchors[1][[mode.anchor]])
    rows = samples[1][list(mode.neighbors)]
    others = [fetch(samples[0], rows)[0].numpy()] if len(rows) else []
    return np.concatenate([anchor.numpy(), *others])


def _histogram(diagnosis: BlackBoxDiagnosis) -> str:
    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.hist(diagnosis.scores, bins=40, color=PALETTE[4])
        for mode in diagnosis.modes:
            axes.axvline(mode.mccs, color=PALETTE[5], linewidth=1.2)
        axes.axvline(diagnosis.mean, color=INK, linewidth=1.0, linestyle=":")
        axes.set_xlabel("MCCS")
        axes.set_ylabel("anchors")

    return render(paint)
