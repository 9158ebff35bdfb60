"""The calibration curves as a section of a run's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure as Canvas

from gan_registry.report.document import Block, Column, Figure, Report, Table, Text
from gan_registry.report.figures import PALETTE, SOFT, legend_above, render

ORDER_CALIBRATION = 75

_LIMIT = 2.0
"""|Z| above which a calibration is called off; about the 95 % interval of a normal variable."""

_SEEN = (
    "The discriminator was calibrated on its own training samples, which it rates higher than new "
    "ones; the true ratios are lower than these. Samples of a held-out part of the data "
    "(--post-holdout) would tell."
)


def add_calibration(report: Report, calibrations: Mapping[str, Any] | None) -> None:
    """Adds a curve for each calibrated post-processor, and a table; nothing if there is none.

    Args:
        report: The document.
        calibrations: The entry `calibration` of `result.json`: post-processor → `method`,
            `num_real`, `num_generated`, `unseen`, `z_before`, `z_after`, and the curves `before`
            and `after`.
    """
    if not calibrations:
        return
    blocks: list[Block] = []
    for name, found in calibrations.items():
        blocks.append(
            Figure(
                calibration_chart({title: found[key] for title, key in _curves(found).items()}),
                f"{name}: share of real samples among those that the discriminator takes for real "
                "with the probability below, with 95 % intervals, if real and generated samples "
                "are equally frequent. On the diagonal it is right; below it takes too many for "
                "real. Measured on samples that the calibration was not fitted to.",
                alt=f"Calibration curve of {name}; the table gives the statistic Z.",
                width="half",
            )
        )
    rows = [
        [name, found["method"], found["num_real"], found["z_before"], found["z_after"]]
        for name, found in calibrations.items()
    ]
    off = frozenset(number for number, row in enumerate(rows) if abs(row[4] or 0.0) > _LIMIT)
    blocks.append(
        Table(
            [
                Column("Post-processor"),
                Column("Calibration"),
                Column("Real samples"),
                Column("Z before", "+.2f", "right"),
                Column("Z after", "+.2f", "right"),
            ],
            rows,
            "Z compares the number of real samples with what the discriminator expects: within "
            f"±{_LIMIT:g} is chance, above it says “real” too seldom, below too often. Half of the "
            "real samples, and as many generated ones, served to fit, the others to measure.",
            off,
            width="half",
        )
    )
    if any(not found["unseen"] for found in calibrations.values()):
        blocks.append(Text(_SEEN, "note"))
    report.add_section(
        "Calibration of the discriminator",
        *blocks,
        order=ORDER_CALIBRATION,
        anchor="calibration",
    )


def calibration_chart(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """Draws calibration curves, title → `predicted`, `observed`, `low` and `high`, as SVG text."""

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle="--", zorder=0.5)
        for number, (title, curve) in enumerate(curves.items()):
            color = PALETTE[(1, 0)[number % 2]]
            axes.vlines(curve["predicted"], curve["low"], curve["high"], color=color, alpha=0.4)
            axes.plot(
                curve["predicted"],
                curve["observed"],
                "os"[number % 2] + "-",
                color=color,
                markersize=4.5,
                linewidth=1.4,
                label=title,
            )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("Probability of being real, as predicted")
        axes.set_ylabel("Share of real samples")
        legend_above(axes, len(curves))

    return render(paint, 4.6, 4.6)


def _curves(found: Mapping[str, Any]) -> dict[str, str]:
    """Returns the titles of the curves, with their keys."""
    if found["method"] == "none":
        return {"not calibrated": "before"}
    return {"before": "before", f"after ({found['method']})": "after"}
