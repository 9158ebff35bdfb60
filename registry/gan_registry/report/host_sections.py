"""The host's own sections: what was run, what came out beside the real data, metrics, losses."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gan_registry.config.settings import CONFIG_FILE
from gan_registry.config.yaml_text import YamlError, read_yaml_file
from gan_registry.errors import UserError
from gan_registry.evaluation.metric_directions import group_metrics, metric_kinds, with_arrow
from gan_registry.evaluation.shown_result import KEPT, as_shown
from gan_registry.formatting import duration, is_number, percent
from gan_registry.live_run import LiveRun
from gan_registry.report.document import Block, Column, Details, Facts, Figure, Report, Table, Text
from gan_registry.report.figures import line_chart
from gan_registry.report.metric_meanings import MEANINGS
from gan_registry.report.sample_pictures import how_made, load_generated, made, sample_blocks
from gan_registry.training.logs import read_lines

_LOG = logging.getLogger(__name__)
_SHARES = frozenset({"high_quality", "other", "non_finite", "acceptance_rate"})


def run_sections(
    report: Report,
    run: LiveRun,
    result: Mapping[str, Any],
    samples: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Adds the host's sections to the report of a run.

    Args:
        report: The document.
        run: The run, with a folder. Generated samples are read from `samples/final.npz` in it
            (`x`, `kept_<name>`, and `x_<name>` for each post-processor), losses from
            `metrics.jsonl`.
        result: What `result.json` holds; missing keys leave their part out.
        samples: What `samples/final.npz` would hold, of a run that is not finished.
    """
    folder = run.folder
    assert folder is not None
    if samples is None:
        samples = load_generated(folder / "samples" / "final.npz")
    shown, notes = as_shown(result)
    sections: list[tuple[int, str, str, list[Block]]] = [
        (12, "health", "Sick training", _health(result)),
        (20, "run", "What was run", [_what_was_run(run, folder, result)]),
        (11, "samples", "Data, before and after", sample_blocks(run, samples, result)),
        (40, "shares", "Shares of the groups", _shares(shown, notes)),
        (70, "metrics", "Metrics", [*_metrics(shown), *_group_metrics(shown)]),
        (80, "losses", "Losses over time", _losses(folder / "metrics.jsonl")),
        (900, "config", "Configuration", [_configuration(run, folder)]),
    ]
    for order, anchor, title, blocks in sections:
        if blocks:
            report.add_section(title, *blocks, order=order, anchor=anchor)


def _health(result: Mapping[str, Any]) -> list[Block]:
    return [
        Text(f"Step {entry['step']}: {entry['evidence']} {entry['advice']}", "warning")
        for entry in result.get("health") or ()
    ]


def read_metrics(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Reads `metrics.jsonl`: name -> (steps, values).

    A line cut off by a crash is skipped. Of a step that a resumed run logged again, the last line
    counts.
    """
    series: dict[str, dict[float, float]] = {}
    for entry in read_lines(path):
        if not is_number(entry["step"]):
            continue
        for name, value in entry.items():
            if name != "step" and is_number(value):
                series.setdefault(name, {})[float(entry["step"])] = float(value)
    return {
        name: ([step for step, _ in sorted(v.items())], [value for _, value in sorted(v.items())])
        for name, v in series.items()
    }


def _what_was_run(run: LiveRun, folder: Path, result: Mapping[str, Any]) -> Facts:
    config = run.config
    facts: list[tuple[str, Any]] = [
        ("Config", result.get("config", run.config_name)),
        ("Sampler", result.get("sampler")),
        ("Training samples", len(run.dataset)),
        ("Backbone", config.MODEL.backbone),
        ("Loss", config.LOSS.adv_loss),
        ("Steps", result.get("steps", run.total_steps)),
        ("Batch size", config.OPTIMIZATION.batch_size),
        ("Seed", str(result.get("seed", run.seed))),  # a name rather than a quantity
    ]
    if is_number(result.get("seconds")):
        facts.append(("Time", duration(result["seconds"])))
    facts.append(("Device", str(result.get("device", run.device))))
    facts.extend(
        (f"{name} version", version) for name, version in _versions(folder, result).items()
    )
    return Facts(tuple((label, _plain(value)) for label, value in facts if value is not None))


def _shares(result: Mapping[str, Any], notes: Sequence[str]) -> list[Block]:
    groups = result["groups"]
    if not groups:
        return []
    prefix = "share_generated"
    found = {key for entry in groups.values() for key in entry if key.startswith(prefix)}
    kinds = sorted(
        (key for key in found if any(e.get(key) is not None for e in groups.values())),
        key=lambda key: (KEPT not in key, key),
    )
    columns = [Column("Group"), Column("In the data", "percent", "right")]
    columns += [Column(made(key[len(prefix) + 1 :], result), "percent", "right") for key in kinds]
    rows = [
        [name, entry.get("share_data"), *(entry.get(key) for key in kinds)]
        for name, entry in groups.items()
    ]
    said = ["The share of each group, in the data and in what is generated"]
    said += [note[0].upper() + note[1:] for note in notes if "classifier" in note]
    return [Table(columns, rows, f"{'. '.join(said)}.")]


def _metrics(result: Mapping[str, Any]) -> list[Block]:
    kinds = {made(kind, result): metrics for kind, metrics in metric_kinds(result).items()}
    directions = result.get("directions") or {}
    names = dict.fromkeys(name for metrics in kinds.values() for name in metrics)
    rows = [
        [
            with_arrow(name, directions.get(name)),
            *(_metric(name, metrics.get(name)) for metrics in kinds.values()),
            MEANINGS.get(name),
        ]
        for name in names
        if any(is_number(metrics.get(name)) for metrics in kinds.values())
    ]
    if not rows:
        return []
    explained = any(row[-1] for row in rows)
    columns = [Column("Metric"), *(Column(kind, align="right") for kind in kinds)]
    if explained:
        columns.append(Column("What it says"))
        rows = [[*row[:-1], row[-1] or ""] for row in rows]
    else:
        rows = [row[:-1] for row in rows]
    caption = "↑: more is better; ↓: less is better." if directions else ""
    return [Table(columns, rows, caption)]


def _group_metrics(result: Mapping[str, Any]) -> list[Block]:
    """Returns a table of the metrics that each group has of its own, if there are any."""
    found = group_metrics(result)
    if not found:
        return []
    directions = result["directions"]
    columns = [Column("Group")]
    for name, kind in found.values():
        title = with_arrow(name, directions.get(name))
        how = how_made(kind, result)
        columns.append(Column(f"{title}, {how}" if how else title, align="right"))
    groups = result["groups"]
    rows = [[group, *(entry.get(key) for key in found)] for group, entry in groups.items()]
    meanings = {name: MEANINGS[name] for name, _ in found.values() if name in MEANINGS}
    caption = "By group. " + "; ".join(f"{name}: {text}" for name, text in meanings.items())
    return [Table(columns, rows, caption.strip() + ("." if meanings else ""), tall=len(rows) > 12)]


def _losses(path: Path) -> list[Block]:
    series = {
        name.removeprefix("loss/"): values
        for name, values in read_metrics(path).items()
        if name.startswith("loss/")
    }
    if not series:
        return []
    chart = line_chart(
        {name: steps for name, (steps, _) in series.items()},
        {name: values for name, (_, values) in series.items()},
        "Training step",
        "Loss",
        width=7.0,
    )
    broken = sorted(n for n, (_, values) in series.items() if not all(map(math.isfinite, values)))
    blocks: list[Block] = [
        Figure(
            chart,
            "The losses of the two networks, which train against each other. Levels that hold are "
            "a good sign; a discriminator's loss that falls to zero means that the generator no "
            "longer learns.",
            alt=f"Line chart of {', '.join(series)} over the training steps.",
        )
    ]
    if broken:
        text = f"The loss of {', '.join(broken)} was not a number at some steps."
        blocks.insert(0, Text(text, "warning"))
    return blocks


def _configuration(run: LiveRun, folder: Path) -> Details:
    try:
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = json.dumps(run.config.model_dump(), indent=2, default=str, ensure_ascii=False)
    return Details("Show every setting of this run", text)


def _versions(folder: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    found = result.get("versions")
    if not isinstance(found, Mapping):
        try:
            found = read_yaml_file(folder / CONFIG_FILE).get("VERSIONS")
        except (UserError, YamlError, AttributeError):
            found = None
    return dict(found) if isinstance(found, Mapping) else {}


def _metric(name: str, value: Any) -> Any:
    return percent(value) if name in _SHARES and is_number(value) else value


def _plain(value: Any) -> Any:
    # Separators only help from 10,000 on.
    return str(value) if isinstance(value, int) and abs(value) < 10_000 else value
