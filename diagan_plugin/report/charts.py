"""Charts of the diagnosis, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from diagan_plugin.report.groups import group_name
from gan_registry.report.figures import INK, LINE, PALETTE, SOFT, group_colors, legend_above, render

MAX_GROUPS = 40
"""Beyond this many groups, rows of single groups are no longer readable."""

_GREY = "#9aa7b4"
_ROW = 0.24


def shorten(name: str) -> str:
    """Cuts a long name so that it does not push the chart aside."""
    return name if len(name) <= 22 else f"{name[:21]}…"


def score_histogram(
    score: NDArray[Any], group: NDArray[Any], names: Sequence[str], highlight: Sequence[int] = ()
) -> str:
    """Draws how scores [N] are distributed, each group as shares of its own samples.

    Scaled to the group, since a rare group would be invisible among the others. Scores that are not
    finite are left out, and where there are too many groups for all (more than 6), those of
    `highlight` are told apart.
    """
    kept = np.isfinite(score)
    score, group = score[kept], group[kept]
    present = [int(g) for g in np.unique(group) if g >= 0]
    series: list[tuple[str, NDArray[Any], str]]
    if len(present) < 2:
        series = [("all samples", score, PALETTE[0])]
    elif len(present) <= 6:
        colors = group_colors([group_name(g, names) for g in present])
        series = [
            (shorten(group_name(g, names)), score[group == g], color)
            for g, color in zip(present, colors, strict=True)
        ]
    else:
        chosen = [g for g in highlight if g in present][:4]
        rest = score[~np.isin(group, chosen)]
        series = [("all other groups" if chosen else "all groups", rest, "#8894a0")]
        series += [
            (
                shorten(group_name(g, names)),
                score[group == g],
                PALETTE[(number * 2 + 1) % len(PALETTE)],
            )
            for number, g in enumerate(chosen)
        ]
    series = [entry for entry in series if entry[1].size]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        if series:
            low, high = np.quantile(score, [0.001, 0.999])
            high = high if high > low else low + 1.0
            edges = np.linspace(low, high, 41)
            for label, values, color in series:
                weights = np.full(values.size, 100.0 / values.size)
                axes.hist(
                    np.clip(values, low, high), bins=edges.tolist(), weights=weights,
                    histtype="stepfilled", facecolor=(color, 0.25), edgecolor=color,
                    linewidth=1.4, label=f"{label} ({values.size:,})",
                )  # fmt: skip
            legend_above(axes, len(series), columns=2)
        axes.set_xlabel("Discrepancy score  (right: more under-represented)")
        axes.set_ylabel("% of the group's samples" if len(series) > 1 else "% of samples")

    return render(paint, 5.4, 3.5)


def group_dots(
    ldrm: NDArray[Any],
    ldrv: NDArray[Any],
    group: NDArray[Any],
    names: Sequence[str],
    order: Sequence[int],
    highlight: Sequence[int] = (),
) -> str:
    """Draws LDRM and LDRV [N] of each group: the mean as a dot, the middle half as a bar.

    `group` are group numbers [N] and `names` those of groups 0, 1, …; the groups in `order` are
    shown from top to bottom, those in `highlight` set off.
    """
    plain = _GREY if highlight else PALETTE[0]
    colors = [PALETTE[0] if g in highlight else plain for g in order]

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, values, title in ((left, ldrm, "Mean (LDRM)"), (right, ldrv, "Variance (LDRV)")):
            for row, (g, color) in enumerate(zip(order, colors, strict=True)):
                members = values[(group == g) & np.isfinite(values)]
                if members.size:
                    axes.plot(
                        np.quantile(members, [0.25, 0.75]), [row, row],
                        color=color, alpha=0.35, linewidth=5, solid_capstyle="butt",
                    )  # fmt: skip
                    axes.plot(members.mean(), row, "o", color=color, markersize=6)
            axes.set_title(title)
            axes.grid(axis="y", visible=False)
            axes.margins(x=0.08)
        left.set_yticks(range(len(order)), [shorten(group_name(g, names)) for g in order])
        left.set_ylim(len(order) - 0.4, -0.6)
        if left.get_xlim()[0] < 0 < left.get_xlim()[1]:
            left.axvline(0, color=SOFT, linewidth=0.9, linestyle="--", zorder=0.5)

    return render(paint, 5.4, max(1.9, 0.9 + _ROW * len(order)))


def recovery_scatter(counts: Sequence[int], ldrm: Sequence[NDArray[Any]]) -> str:
    """Draws each group's LDRM over its number of generated samples: mean, and the middle half.

    Args:
        counts: How many generated samples each group has.
        ldrm: The LDRM of each group's training samples, finite.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        low, high = np.array([np.quantile(values, [0.25, 0.75]) for values in ldrm]).T
        axes.vlines(counts, low, high, color=PALETTE[0], alpha=0.35, linewidth=4)
        means = [values.mean() for values in ldrm]
        axes.plot(counts, means, "o", color=PALETTE[0], markersize=5)
        axes.set_xlim(left=-0.03 * max(1, *counts))
        axes.set_xlabel("Generated samples of the group")
        axes.set_ylabel("LDRM of its training samples")

    return render(paint, 5.4, 3.5)


def heat_map(
    rows: NDArray[Any], labels: Sequence[str], steps: NDArray[Any], boundary: int | None = None
) -> str:
    """Draws log-density ratios over training, means [G, R] at R steps, one row a group or bin.

    NaN stands where nothing is known; an empty label leaves its row unmarked; a line marks the
    `boundary`, where phase 2 begins.
    """
    edges = _edges(np.asarray(steps, dtype=float))
    norm, cmap = _scale(rows)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        mesh = axes.pcolormesh(
            edges, np.arange(len(labels) + 1), rows, cmap=cmap, norm=norm, rasterized=True
        )
        axes.grid(visible=False)
        marked = [row for row, label in enumerate(labels) if label]
        axes.set_yticks([row + 0.5 for row in marked], [shorten(labels[row]) for row in marked])
        axes.set_ylim(len(labels), 0)
        axes.set_xlim(edges[0], edges[-1])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Training step")
        if boundary is not None and edges[0] < boundary < edges[-1]:
            axes.axvline(boundary, color=INK, linewidth=1.3, linestyle="--")
            for text, offset, side in (("phase 2", 4, "left"), ("phase 1", -4, "right")):
                axes.annotate(
                    text, (boundary, 1.0), xycoords=("data", "axes fraction"),
                    xytext=(offset, 3), textcoords="offset points",
                    fontsize=9, horizontalalignment=side,
                )  # fmt: skip
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, fraction=0.05, aspect=30)
        bar.set_label("Mean log-density ratio")
        bar.outline.set_visible(False)

    return render(paint, 8.4, max(2.6, 1.0 + min(_ROW, 8.0 / len(labels)) * len(labels)))


def share_bars(shares: Mapping[str, Sequence[float | None]], names: Sequence[str]) -> str:
    """Draws the share of each group in the data, among the draws and in what is generated.

    Few groups get bars; many get a row each, with a tick for the data and dots for the others.
    `shares` map the kind, "data" first, to the share of each group, None where it is not known.
    """
    kinds = list(shares)
    colors = ["#5b6875", PALETTE[1], PALETTE[0], PALETTE[2], PALETTE[3], PALETTE[4]]
    values = {
        kind: np.array([np.nan if v is None else 100.0 * v for v in row], dtype=float)
        for kind, row in shares.items()
    }
    labels = [shorten(name) for name in names]

    def bars(axes: Axes) -> None:
        thickness = 0.8 / len(kinds)
        for number, kind in enumerate(kinds):
            place = np.arange(len(labels)) - 0.4 + (number + 0.5) * thickness
            color = colors[number % len(colors)]
            drawn = axes.barh(
                place, np.nan_to_num(values[kind]), thickness * 0.86, color=color, label=kind
            )
            text = ["" if np.isnan(v) else f"{v:.1f}" for v in values[kind]]
            axes.bar_label(drawn, text, padding=3, fontsize=8.5)
        axes.margins(x=0.1)

    def dots(axes: Axes) -> None:
        place = np.arange(len(labels))
        for number, kind in enumerate(kinds):
            color = colors[number % len(colors)]
            if number == 0:
                axes.scatter(
                    values[kind], place, marker="|", s=130, linewidths=2.4, color=color, label=kind
                )
            else:
                marker = ("o", "D", "s", "^", "v")[(number - 1) % 5]
                axes.scatter(values[kind], place, marker=marker, s=24, color=color, label=kind)
        axes.hlines(place, 0, np.nanmax(np.vstack(list(values.values()))), color=LINE, zorder=0.5)

    few = len(labels) <= 8

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        (bars if few else dots)(axes)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("Share in %")
        axes.grid(axis="y", visible=False)
        legend_above(axes, len(kinds), columns=2)

    rows = len(labels) * (max(0.5, 0.2 * len(kinds)) if few else _ROW)
    return render(paint, 5.4, 1.2 + 0.2 * ((len(kinds) + 1) // 2) + rows)


def score_scatter(points: NDArray[Any], score: NDArray[Any]) -> str:
    """Draws 2-D training points [N, 2], coloured by their score [N]."""
    shown = np.isfinite(points).all(axis=1) & np.isfinite(score)
    points, score = points[shown], score[shown]
    if len(points) > 20_000:
        # Both ends of the score are what the chart is for; of the middle a part is enough.
        order = np.argsort(score, kind="stable")
        middle = np.linspace(1000, len(order) - 1001, 18_000).round().astype(int)
        order = np.concatenate([order[:1000], order[middle], order[-1000:]])
        points, score = points[order], score[order]
    # The highest scores are drawn last, on top.
    order = np.argsort(score, kind="stable")

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        low, high = _extremes(score)
        dots = axes.scatter(
            points[order, 0], points[order, 1], c=score[order], s=5, linewidths=0,
            cmap="viridis_r", norm=Normalize(low, high), rasterized=len(order) > 500,
        )  # fmt: skip
        axes.set_aspect("equal")
        figure.colorbar(dots, ax=axes, pad=0.02, label="Discrepancy score").outline.set_visible(
            False
        )

    return render(paint, 7.0, 5.6)


def is_diverging(values: NDArray[Any]) -> bool:
    """Whether the chart of these values has two colours, meeting at 0."""
    return bool(_scale(values)[1].name == "RdBu_r")


def _scale(values: NDArray[Any]) -> tuple[Normalize, Any]:
    """Returns a scale that ignores single extremes: two colours if both signs occur, else one."""
    low, high = _extremes(values)
    if low < 0.0 < high:
        # Equal steps of colour on both sides, so that neither sign looks stronger than it is.
        extreme = max(-low, high)
        return Normalize(-extreme, extreme), mpl.colormaps["RdBu_r"]
    return Normalize(low, high), mpl.colormaps["viridis_r"]


def _extremes(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.01, 0.99]).tolist() if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _edges(steps: NDArray[Any]) -> NDArray[Any]:
    if steps.size == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middle = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - middle[0]], middle, [2 * steps[-1] - middle[-1]]])
