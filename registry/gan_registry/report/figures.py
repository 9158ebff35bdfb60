"""Charts as SVG text: no global state, equal bytes for equal input, safe for the colour-blind."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK = "#1b2733"
SOFT = "#576675"
LINE = "#d9e0e7"
PALETTE = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # pink
    "#56B4E9",  # sky
    "#D55E00",  # red
    "#7A6A00",  # olive
    "#4D4D4D",  # grey
)
"""Okabe and Ito's colours, which people with any colour vision tell apart (yellow darkened)."""

_NAMED = {
    "red": "#D55E00",
    "green": "#009E73",
    "blue": "#0072B2",
    "orange": "#E69F00",
    "pink": "#CC79A7",
    "grey": "#4D4D4D",
    "gray": "#4D4D4D",
}

_STYLE: dict[Any, Any] = {
    # Text stays text: smaller files, and a name in any script is drawn by the reader's own fonts.
    "svg.fonttype": "none",
    "svg.hashsalt": "gan-registry",
    # A group may be called "$x$"; that is a name, not a formula.
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def render(paint: Callable[[Figure], None], width: float = 5.4, height: float = 3.2) -> str:
    """Draws a chart on an empty figure of a size in inches, and returns it as SVG.

    A width of 5.4 fills half of a wide page and stays readable on a phone.

    Returns:
        SVG text, equal for equal drawings.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's browser picks the fonts, so a glyph that is missing here does no harm.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained", dpi=130)
        paint(figure)
        buffer = io.StringIO()
        # Neither a date nor a version of matplotlib: equal input gives equal bytes.
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _stable_names(buffer.getvalue())


def group_colors(names: Sequence[str]) -> list[str]:
    """Returns a colour for each group; a group named after a colour gets that one."""
    named: list[str | None] = []
    for name in names:
        words = re.findall(r"[a-z]+", name.lower())
        color = next((_NAMED[word] for word in words if word in _NAMED), None)
        named.append(color if color not in named else None)
    free = [color for color in PALETTE if color not in named] or list(PALETTE)
    chosen, position = [], 0
    for color in named:
        if color is None:
            color = free[position % len(free)]
            position += 1
        chosen.append(color)
    return chosen


def line_chart(
    x: Mapping[str, Sequence[float]],
    y: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    width: float = 5.4,
) -> str:
    """Draws one line for each name, values `y` over positions `x`, e.g. losses over steps.

    A long series is shown faintly as it is, and strongly as a running mean; values that are not
    finite leave gaps.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, name in enumerate(y):
            color = PALETTE[number % len(PALETTE)]
            steps = np.asarray(x[name], dtype=float)
            values = np.asarray(y[name], dtype=float)
            values[~np.isfinite(values)] = np.nan
            window = len(values) // 40
            if window >= 3:
                steps_raw, raw = _thin(steps, values)
                axes.plot(steps_raw, raw, color=color, linewidth=0.6, alpha=0.35)
                steps, values = _thin(*_running_mean(steps, values, window))
            style = ("-", "--", ":", "-.")[number // len(PALETTE) % 4]
            axes.plot(steps, values, color=color, linewidth=1.6, linestyle=style, label=name)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.margins(x=0.01)
        if y:
            legend_above(axes, len(y))

    return render(paint, width, 3.1)


def scatter(points: NDArray[Any], reference: NDArray[Any], color: str = PALETTE[0]) -> str:
    """Draws points [n, 2] on the axes of a reference set [m, 2], so that two charts compare.

    Stray points therefore do not shrink the picture; how many lie beyond it is written below. Of a
    large set 5,000 evenly spaced members are shown.
    """
    low, high = _window(np.asarray(reference, dtype=float).reshape(-1, 2))
    points = np.asarray(points, dtype=float).reshape(-1, 2)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        inside = ((points >= low) & (points <= high)).all(axis=1)
        beyond = len(points) - int(inside.sum())
        shown = _spread(points[inside], 5000)
        axes.scatter(
            shown[:, 0],
            shown[:, 1],
            s=3,
            color=color,
            alpha=0.5,
            linewidths=0,
            rasterized=len(shown) > 500,
        )
        axes.set_aspect("equal")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        if beyond:
            axes.set_xlabel(f"{beyond:,} of {len(points):,} lie outside", color=SOFT)

    return render(paint, 4.6, 4.3)


def legend_above(axes: Axes, entries: int, columns: int = 3) -> None:
    """Puts the legend above the plot, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(entries, columns),
        borderaxespad=0.2,
        handlelength=1.4,
        columnspacing=1.4,
    )


def _window(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.maximum(0.08 * (high - low), 1e-3)
    return low - margin, high + margin


def _spread(points: NDArray[Any], count: int) -> NDArray[Any]:
    if len(points) <= count:
        return points
    picked: NDArray[Any] = points[np.linspace(0, len(points) - 1, count).round().astype(int)]
    return picked


def _thin(x: NDArray[Any], y: NDArray[Any], count: int = 1000) -> tuple[NDArray[Any], NDArray[Any]]:
    return _spread(x, count), _spread(y, count)


def _running_mean(
    x: NDArray[Any], y: NDArray[Any], window: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns centred means over the finite values of each full window."""
    kernel = np.ones(window)
    finite = np.isfinite(y)
    total = np.convolve(np.where(finite, y, 0.0), kernel, mode="valid")
    count = np.convolve(finite.astype(float), kernel, mode="valid")
    centre = np.convolve(x, kernel / window, mode="valid")
    return centre, np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def _stable_names(svg: str) -> str:
    """Renames what matplotlib names by chance, so that equal charts are equal bytes.

    Images (rasterised layers) get random ids in matplotlib; shapes get hashes of their content.
    """
    ids = dict.fromkeys(re.findall(r'id="(image[0-9a-f]{6,})"', svg))
    for number, name in enumerate(ids):
        digest = hashlib.sha256(f"image{number}".encode()).hexdigest()[:10]
        svg = svg.replace(name, f"image{digest}")
    return svg
