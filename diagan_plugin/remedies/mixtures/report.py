"""What each generator of a mixture makes: for the report and for `result.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.remedies.mixtures.networks import MixtureGenerator
from gan_registry.images import TINY, grid_png
from gan_registry.report.document import Block, Column, Figure, Report, Table, Text
from gan_registry.report.figures import PALETTE, scatter
from gan_registry.training.samples import generate_batches

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

ORDER_MIXTURE = 45

_SAMPLES = 1000  # of each generator
_SHOWN = 16  # images of each generator
_MAX_FIGURES = 12
_MAKES = 0.02  # a generator "makes" a group of which it has at least this share
_NAMED = 3  # of the groups that a generator makes most often


def mixture_result(run: LiveRun) -> dict[str, Any]:
    """Returns each generator's share, and the shares of the data's groups among its samples.

    Returns:
        `{"shares": [n_G floats]}` and, where generated samples can be classified, `groups`, a
        mapping name → share for each generator, of groups that it makes at all.
    """
    generator = _mixture(run)
    result: dict[str, Any] = {"shares": _shares(run, generator).tolist()}
    if run.dataset.can_classify and run.dataset.group_names:
        result["groups"] = [
            _group_shares(run, _samples_of(run, generator, number))
            for number in range(len(generator.components))
        ]
    return result


def add_mixture_section(report: Report, run: LiveRun) -> None:
    """Adds a table of the generators' shares, and samples of each."""
    generator = _mixture(run)
    shares, dataset = _shares(run, generator).tolist(), run.dataset
    blocks: list[Block] = []
    rows: list[list[Any]] = []
    known = dataset.can_classify and bool(dataset.group_names)
    for number, share in enumerate(shares):
        x = _samples_of(run, generator, number)
        row: list[Any] = [f"Generator {number + 1}", share]
        if known:
            found = _group_shares(run, x)
            often = sorted(found, key=lambda name: -found[name])
            row += [
                sum(value >= _MAKES for value in found.values()),
                ", ".join(f"{name} ({found[name]:.0%})" for name in often[:_NAMED]),
            ]
        rows.append(row)
        if number < _MAX_FIGURES and (figure := _figure(run, x, number)) is not None:
            blocks.append(figure)
    columns = [Column("Generator"), Column("Share of the samples", "percent", "right")]
    caption = "How many of the mixture's samples each generator makes."
    if known:
        columns += [Column("Groups it makes", align="right"), Column("Most often")]
        caption = (
            f"How many of the mixture's samples each generator makes, and of which groups of the "
            f"data; a group counts from {_MAKES:.0%} of the generator's samples."
        )
    if len(shares) > _MAX_FIGURES:
        blocks.append(Text(f"Samples of the first {_MAX_FIGURES} generators are shown.", "note"))
    report.add_section(
        "The generators of the mixture",
        Table(columns, rows, caption),
        *blocks,
        order=ORDER_MIXTURE,
        anchor="mixture",
    )


def _mixture(run: LiveRun) -> MixtureGenerator:
    generator = run.sampling_generator
    assert isinstance(generator, MixtureGenerator)
    return generator


def _shares(run: LiveRun, generator: MixtureGenerator) -> Tensor:
    """Returns each generator's share of all samples, float64 [n_G] on the CPU."""
    if generator.owners is None:
        return generator.shares.detach().cpu().double()
    labels, classes = run.dataset.labels, len(generator.owners)
    counts = np.ones(classes) if labels is None else np.bincount(labels, minlength=classes)
    shares = torch.zeros(len(generator.components), dtype=torch.float64)
    for count, makers in zip(counts / counts.sum(), generator.owners, strict=True):
        shares[list(makers)] += count / len(makers)
    return shares


@torch.no_grad()
def _samples_of(run: LiveRun, generator: MixtureGenerator, number: int) -> Tensor:
    """Returns samples that one generator made, [n, ...] on the CPU."""
    z = run.latents(_SAMPLES, "mixture report", number)
    y = run.labels(_SAMPLES, "mixture report", number)
    if y is not None and generator.owners is not None:
        own = [label for label, makers in enumerate(generator.owners) if number in makers]
        y = torch.tensor(own, device=y.device)[torch.arange(_SAMPLES, device=y.device) % len(own)]
    return generate_batches(generator.components[number], z, y).cpu()


def _group_shares(run: LiveRun, x: Tensor) -> dict[str, float]:
    names = run.dataset.group_names
    groups = run.dataset.classify(x)
    counts = np.bincount(groups[groups >= 0], minlength=len(names))
    return {name: float(n / len(x)) for name, n in zip(names, counts, strict=True) if n}


def _figure(run: LiveRun, x: Tensor, number: int) -> Figure | None:
    dataset, caption = run.dataset, f"Samples of generator {number + 1}."
    if dataset.kind == "image":
        image = grid_png(x[:_SHOWN], value_range=dataset.value_range)
        sharp = int(dataset.sample_shape[-1]) <= TINY
        return Figure(image, caption, alt=caption, pixelated=sharp, width="third")
    if tuple(dataset.sample_shape) != (2,):
        return None
    rng = np.random.default_rng(np.random.SeedSequence([run.seed, ORDER_MIXTURE]))
    real = dataset.__getitems__(rng.integers(len(dataset), size=_SAMPLES))[0].numpy()
    drawn = scatter(x.numpy(), real, PALETTE[number % len(PALETTE)])
    return Figure(drawn, caption, alt=f"Scatter plot: {caption}", width="third")
