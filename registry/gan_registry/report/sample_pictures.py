"""Real samples beside generated ones: pictures, or points of the plane."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_registry.evaluation.shown_result import KEPT
from gan_registry.images import TINY, grid_png
from gan_registry.integrity import ZIP, DamagedError, read_sealed
from gan_registry.live_run import LiveRun
from gan_registry.numpy_files import NoArraysError, read_arrays
from gan_registry.report.document import Block, Figure, Text, Width
from gan_registry.report.figures import PALETTE, scatter

_LOG = logging.getLogger(__name__)
_KEPT = "kept_"

Arrays = Mapping[str, NDArray[Any]]


def load_generated(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the arrays of generated samples, `x`, `x_NAME` and `kept_NAME`.

    A file that is missing or damaged counts as empty, the latter with a warning: the rest of the
    report is worth having.
    """
    try:
        content = read_sealed(path, ZIP)
        arrays = read_arrays(io.BytesIO(content), len(content))
    except FileNotFoundError:
        return {}
    except (DamagedError, NoArraysError) as error:
        reason = error if isinstance(error, DamagedError) else "holds no arrays"
        _LOG.warning(
            "%s is damaged: it %s; it is left out, and 'gan-registry evaluate' writes it anew.",
            path, reason,
        )  # fmt: skip
        return {}
    return {
        name: array
        for name, array in arrays.items()
        if len(array) and (name == "x" or name.startswith(("x_", _KEPT)))
    }


def sample_blocks(run: LiveRun, arrays: Arrays, result: Mapping[str, Any]) -> list[Block]:
    """Shows real samples, those of kept generators, plain ones and corrected ones, side by side.

    Args:
        run: The run.
        arrays: As :func:`load_generated` returns them.
        result: What `result.json` holds; `kept` is read.
    """
    dataset = run.dataset
    generated = _titled(arrays, result)
    if not generated:
        return [Text("This run stored no generated samples (samples/final.npz).", "note")]
    blocks: list[Block] = []
    if dataset.kind == "image":
        side = int(dataset.sample_shape[-1])
        count = 64 if side <= 32 else 36
        real = _draw_real(run, count)
        pictures = {"Real training samples": real}
        pictures.update({title: x[:count] for title, x in generated.items()})
        for title, x in pictures.items():
            caption = f"{title}: {len(x)} drawn at random."
            blocks.append(
                Figure(
                    grid_png(x, value_range=dataset.value_range),
                    caption,
                    alt=caption,
                    pixelated=side <= TINY,
                    width=_width(len(pictures)),
                )
            )
    elif (place := _placing(dataset)) is not None:
        real = place(_draw_real(run, 5000))
        projected = "" if tuple(dataset.sample_shape) == (2,) else ", projected onto a plane"
        panels = {"Real training samples": real}
        panels.update({title: place(x) for title, x in generated.items()})
        blocks += [
            Figure(
                scatter(x, real, PALETTE[number % len(PALETTE)]),
                f"{title}{projected}, a dot each.",
                alt=f"Scatter plot: {title}.",
                width=_width(len(panels)),
            )
            for number, (title, x) in enumerate(panels.items())
        ]
        blocks.append(
            Text(
                "Where the real data has a cluster and the generator has none, a part of the data "
                "is missing; where the generated dots are thinner, it is made too rarely."
            )
        )
    else:
        blocks.append(Text("Samples of this shape cannot be drawn.", "note"))
    return blocks


def _placing(dataset: Any) -> Callable[[Any], NDArray[Any]] | None:
    """Returns what maps samples to points of the plane; None where the dataset knows nothing."""
    if tuple(dataset.sample_shape) == (2,):
        return np.asarray
    in_plane: Callable[[Any], NDArray[Any]] | None = getattr(dataset, "in_plane", None)
    return in_plane


def _draw_real(run: LiveRun, count: int) -> NDArray[Any]:
    """Returns real samples drawn without replacement; the same for the same seed."""
    size = len(run.dataset)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(run.seed), 64])))
    indices = generator.choice(size, size=min(count, size), replace=False)
    x, _ = run.dataset.__getitems__(indices)
    return np.asarray(x)


def _titled(arrays: Arrays, result: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Gives each array its title, in the order of time: kept, plain, corrected."""
    kept = result.get("kept") or {}
    titled = {
        made(f"{KEPT}{name}", result): arrays[f"{_KEPT}{name}"]
        for name in sorted(kept)
        if f"{_KEPT}{name}" in arrays
    }
    names = sorted(name for name in arrays if not name.startswith(_KEPT))
    return titled | {made(name[2:], result): arrays[name] for name in names}


def made(kind: str, result: Mapping[str, Any]) -> str:
    """Returns what to call generated samples: plain (""), corrected, or of a kept generator."""
    how = how_made(kind, result)
    return f"Generated{' ' if kind.startswith(KEPT) else ', '}{how}" if how else "Generated"


def how_made(kind: str, result: Mapping[str, Any]) -> str:
    """Returns how a kind of samples differs from the plain ones, which have ""."""
    if kind.startswith(KEPT):
        return f"at step {result['kept'][kind.removeprefix(KEPT)]['step']:,}"
    return f"corrected by {kind}" if kind else ""


def _width(panels: int) -> Width:
    widths: dict[int, Width] = {2: "half", 3: "third"}
    return widths.get(panels, "quarter" if panels > 3 else "half")
