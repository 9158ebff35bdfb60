"""`diagan report --run A --run B`: what the second run makes that the first does not, as a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.report.coverage_change import Change, Comparison, Reach, reach_of
from diagan_plugin.report.section_wording import short_name
from diagan_plugin.report.shares import DATA, GENERATED, group_share
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.metric_choice import NUM_REAL, choose_indices
from gan_registry.evaluation.results import read_result
from gan_registry.evaluation.shown_result import with_counts
from gan_registry.evaluation.sources import PlainSource, collect
from gan_registry.features.base import FeatureContext, FeatureExtractor
from gan_registry.features.choose import AUTO, extractor_for
from gan_registry.features.store import extract, real_features
from gan_registry.files import cache_folder
from gan_registry.formatting import percent
from gan_registry.images import TINY, grid_png, to_pngs
from gan_registry.report.document import (
    Block,
    Column,
    Details,
    Figure,
    ImageGrid,
    Report,
    Table,
    Text,
    Verdict,
)
from gan_registry.report.figures import PALETTE, scatter
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run

NUM = 2000
"""Generated samples of a draw, unless something else is asked for."""

_SHOWN, _LISTED, _GRID = 48, 1000, 64
_THUMBNAIL = 48  # pixels
_BATCH = 256
_TALL = 15  # rows


def compare_runs(
    folders: Sequence[Path], *, features: str = AUTO, num: int = NUM, trust: bool = False
) -> Report:
    """Compares two trained runs, sample by sample and group by group.

    Args:
        folders: The two run folders, the one to compare with first.
        features: What distances are measured between; "auto": the classifier's where there are
            classes, else the values themselves.
        num: Generated samples of a draw; there are two draws from each run.
        trust: Whether the folders may name code to run.

    Raises:
        UserError: A run cannot be opened, or the two have learnt different data.
    """
    results = [with_counts(read_result(folder)) for folder in folders]
    runs = [open_run(folder, trust=trust) for folder in folders]
    dataset = runs[0].dataset
    if runs[0].fingerprint != runs[1].fingerprint:
        raise UserError(
            f"{folders[0]} and {folders[1]} have learnt different data (their fingerprints "
            "differ): only runs on the same samples can be compared sample by sample. For their "
            "numbers: gan-registry compare."
        )
    extractor, chosen = _extractor(features, runs[0])
    indices = choose_indices(len(dataset), NUM_REAL)
    real = real_features(
        extractor, dataset, indices, batch_size=_BATCH, device=runs[0].device
    ).features
    generated, reaches = [], list[Reach]()
    for run in runs:
        draws = [collect(PlainSource(run, seed), num) for seed in (1, 2)]
        generated.append(np.asarray(draws[0]))
        reaches.append(reach_of(real, [_of_samples(extractor, x, run.device) for x in draws]))
    found = Comparison(reaches[0], reaches[1])
    labels = [f"{name} = {folder.name}" for name, folder in zip("AB", folders, strict=True)]
    report = Report("What B makes that A does not", "; ".join(labels))
    report.add_section("Verdict", _verdict(found, dataset, indices), order=10, anchor="verdict")
    if table := _groups(found, dataset, indices, results):
        report.add_section("Groups", table, order=20, anchor="groups")
    for title, order, rows in (
        ("Recovered: A misses them, B makes them", 30, found.recovered),
        ("Lost: A makes them, B misses them", 40, found.lost),
    ):
        blocks = _samples(dataset, indices[rows])
        report.add_section(title, *blocks, order=order, anchor=title.partition(":")[0].lower())
    if pictures := _pictures(dataset, generated):
        report.add_section("What the two make", *pictures, order=50, anchor="generated")
    said = (
        f"A training sample counts as made if it lies within the reach of a generated one: the "
        f"distance of that one to its third nearest other generated sample, by the features "
        f"{chosen}. Two draws of {num:,} samples were made from each run, and only samples on "
        f"which both draws agree are counted. Real samples compared: {len(indices):,}. A "
        "difference is called clear by a sign test in which "
        f"{found.of().together:.2g} training samples count as one, since one generated sample "
        "reaches several: with a larger --num smaller differences are clear."
    )
    report.add_section("How this was measured", Text(said), order=90, anchor="how")
    return report


def _extractor(features: str, run: Run) -> tuple[FeatureExtractor, str]:
    context = FeatureContext(run.dataset, run.device, cache_folder())
    catalogs = run.plugins.catalogs
    if features != AUTO:
        return extractor_for(features, catalogs, context), features
    try:
        extractor = extractor_for(AUTO, catalogs, context)
    except PluginError:
        raise
    except UserError:  # no classes that it could tell
        extractor = extractor_for("raw", catalogs, context)
    return extractor, extractor.identity.split(" ")[0]


def _of_samples(extractor: FeatureExtractor, x: Tensor, device: torch.device) -> Tensor:
    batches = (to_device(x[start : start + _BATCH], device) for start in range(0, len(x), _BATCH))
    return torch.cat([extract(extractor, batch).features.cpu() for batch in batches])


def _members(dataset: Dataset, indices: NDArray[np.int64]) -> Mapping[str, NDArray[np.bool_]]:
    """Returns the groups that have samples: name → which of the samples belong to it."""
    if dataset.groups is None:
        return {}
    groups = dataset.groups[indices]
    named = {name: groups == number for number, name in enumerate(dataset.group_names)}
    return {name: members for name, members in named.items() if members.any()}


def _verdict(found: Comparison, dataset: Dataset, indices: NDArray[np.int64]) -> Verdict:
    whole = found.of()
    if not whole.is_clear():
        headline = "B makes neither clearly more nor clearly less of the training data than A."
    elif whole.recovered > whole.lost:
        headline = "B makes more of the training data than A."
    else:
        headline = "B makes less of the training data than A."
    sentences = [
        f"Of {whole.size:,} training samples B recovers {whole.recovered:,} that A misses, and "
        f"loses {whole.lost:,} that A makes; A misses {whole.missed[0]:,}, B {whole.missed[1]:,}."
    ]
    members = _members(dataset, indices)
    clear = {
        name: change
        for name, mask in members.items()
        if (change := found.of(mask)).is_clear(len(members))
    }
    for word, sign in (("Recovered", 1), ("Lost", -1)):
        if named := [
            f"{name} ({_missed(change)})"
            for name, change in clear.items()
            if sign * (change.recovered - change.lost) > 0
        ]:
            sentences.append(f"{word} beyond chance: {', '.join(named)}.")
    worse = any(change.lost > change.recovered for change in (whole, *clear.values()) if
                change.is_clear())  # fmt: skip
    differ = whole.is_clear() or bool(clear)
    tone: Literal["attention", "ok", "neutral"] = "ok" if differ else "neutral"
    todo = (
        "Runs of the same settings differ, too, by their seed alone: before you choose by it, see "
        "whether a second seed says the same.",
    )
    return Verdict(
        headline, tuple(sentences), "attention" if worse else tone, todo=todo if differ else ()
    )


def _missed(change: Change) -> str:
    before, after = (percent(missed / change.size) for missed in change.missed)
    return f"missed {before}, now {after}"


def _groups(
    found: Comparison,
    dataset: Dataset,
    indices: NDArray[np.int64],
    results: Sequence[Mapping[str, Any]],
) -> Table | None:
    members = _members(dataset, indices)
    if len(members) < 2:
        return None
    rows, clear = [], set[int]()
    for number, (name, mask) in enumerate(members.items()):
        change = found.of(mask)
        clear |= {number} if change.is_clear(len(members)) else set()
        shares = [group_share(result, name, GENERATED) for result in results]
        missed = [missed / change.size for missed in change.missed]
        data = group_share(results[0], name, DATA)
        rows.append([name, data, *shares, *missed, change.recovered, change.lost])
    columns = [
        Column("Group"),
        *(
            Column(title, "percent", "right")
            for title in ("In the data", "Made by A", "Made by B", "A misses", "B misses")
        ),
        Column("Recovered", align="right"),
        Column("Lost", align="right"),
    ]
    caption = (
        "Shares of the data and of what is made; the share of the group's own samples that each "
        "run misses; how many of these B recovers, and how many others it loses. Set off: a "
        "change beyond chance."
    )
    return Table(columns, rows, caption, frozenset(clear), tall=len(rows) > _TALL)


def _samples(dataset: Dataset, indices: NDArray[np.int64]) -> list[Block]:
    if not len(indices):
        return [Text("None.", "note")]
    names = [name.replace("\n", "  ") for name in _names(dataset, indices[:_LISTED])]
    more = f"\n… {len(indices) - _LISTED:,} more" if len(indices) > _LISTED else ""
    text = Details(f"All {len(indices):,}", "\n".join(names) + more)
    if dataset.kind == "image":
        chosen = indices[np.linspace(0, len(indices) - 1, min(_SHOWN, len(indices))).astype(int)]
        x, _ = dataset.__getitems__(chosen)
        pngs = to_pngs(x, dataset.value_range, max_size=_THUMBNAIL)
        caption = f"{len(chosen)} of {len(indices):,}, evenly over the dataset."
        pixelated = int(dataset.sample_shape[-1]) <= TINY
        return [ImageGrid(pngs, _names(dataset, chosen, short_name), caption, pixelated), text]
    if tuple(dataset.sample_shape) == (2,):
        every = np.asarray(dataset.__getitems__(np.arange(len(dataset)))[0])
        caption = f"{len(indices):,} training samples, on the axes of all."
        return [Figure(scatter(every[indices], every), caption, f"Scatter plot: {caption}"), text]
    return [text]


def _names(
    dataset: Dataset, indices: NDArray[np.int64], shorten: Callable[[str], str] = str
) -> list[str]:
    """Names samples: number, file where there is one, group."""
    named = [shorten(name) if "." in name else "" for name in dataset.sample_names(indices)]
    groups = [-1] * len(indices) if dataset.groups is None else dataset.groups[indices].tolist()
    of = [dataset.group_names[g] if 0 <= g < len(dataset.group_names) else "" for g in groups]
    return [
        "\n".join(part for part in (f"#{index}", name, group) if part)
        for index, name, group in zip(indices.tolist(), named, of, strict=True)
    ]


def _pictures(dataset: Dataset, generated: Sequence[NDArray[Any]]) -> list[Block]:
    blocks: list[Block] = []
    for number, (name, x) in enumerate(zip("AB", generated, strict=True)):
        caption = f"Generated by {name}: {min(_GRID, len(x))} drawn at random."
        if dataset.kind == "image":
            picture: str | bytes = grid_png(x[:_GRID], value_range=dataset.value_range)
        elif tuple(dataset.sample_shape) == (2,):
            caption = f"Generated by {name}, a dot each."
            reference = np.asarray(fetch(dataset, choose_indices(len(dataset), 5000))[0])
            picture = scatter(x, reference, PALETTE[number])
        else:
            return []
        tiny = int(dataset.sample_shape[-1]) <= TINY
        blocks.append(Figure(picture, caption, caption, pixelated=tiny, width="half"))
    return blocks


def default_path(folders: Sequence[Path]) -> Path:
    """Returns where the page is written unless the user says: named after both runs, here."""
    a, b = (re.sub(r"[^\w.-]", "_", folder.resolve().name) for folder in folders)
    return Path(f"{a}-and-{b}.html")
