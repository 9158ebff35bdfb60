"""Dia with other remedies, and with its own choices: `python -m benchmarks.claims.combinations`.

Trains packaged configurations by each method on the same seeds: without remedy, with Dia, with
Dia and top-k (published γ and ν), with Dia and mode seeking (λ = 0.05, the better in a published
MNIST study), and with Dia that chooses k and the end of phase 1 itself. Cost is CPU time relative
to the first method. Effect is how far the groups' shares among the generated samples are from the
data's: the total variation distance, "other" included, and the share of the smallest group (the
mean of equally small ones); plain and, where Dia has trained an auxiliary discriminator, after DRS
by it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from benchmarks.claims.command import be_quick, claim_parser, write_rows
from benchmarks.claims.effect import effect
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.postprocessing.sources import RejectionSource
from diagan_plugin.remedies.mode_seeking import ModeSeekingPlugin
from diagan_plugin.remedies.top_k import TopKPlugin
from gan_registry.config.load import read_config, validate_config
from gan_registry.datasets.base import Dataset
from gan_registry.evaluation.sources import PlainSource, collect
from gan_registry.plugins import PluginManager
from gan_registry.training.run import Run
from gan_registry.training.trainer import train

CONFIGS = ("gmm25", "colored_digits")

METHODS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "uniform": {},
    "dia": {"dia": {}},
    "dia + top-k": {"dia": {}, "top_k": {"enabled": True}},
    "dia + mode seeking": {"dia": {}, "mode_seeking": {"weight": 0.05}},
    "dia, auto": {"dia": {"k": "auto", "phase1": "auto"}},
}
"""Name → plugin → options; the sampler is `dia` where that is among them."""


def main(arguments: list[str] | None = None) -> int:
    """Trains the runs and prints cost and effect."""
    parser = claim_parser(__doc__, CONFIGS, 3, "generated samples")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args(arguments)
    if min(options.seeds, options.num) < 1:
        parser.error("--seeds and --num must be at least 1")
    dia: dict[str, Any] = {}
    be_quick(options, "gmm25")
    if options.quick:
        dia["window"] = 5
    rows: list[dict[str, Any]] = []
    for config in options.configs:
        of_config = [
            row
            for seed in range(options.seeds)
            for row in measure(config, seed, options.methods, options.steps, options.num, dia)
        ]
        rows += of_config
        print(f"{config}\n{_HEAD}")
        for name in options.methods:
            print(_line(name, [row for row in of_config if row["name"] == name]), flush=True)
    write_rows(options.json, rows)
    return 0


def measure(
    config: str, seed: int, methods: list[str], steps: int | None, num: int, dia: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Trains a run by each method; returns a row for each."""
    rows = []
    usual: float | None = None
    _train(config, seed, {}, 2, {})  # the first run of a process pays for what torch loads late
    for name in methods:
        started = time.process_time()
        run, plugin = _train(config, seed, METHODS[name], steps, dia)
        seconds = time.process_time() - started
        usual = seconds if usual is None else usual
        row = {
            "config": config, "seed": seed, "name": name, "steps": run.total_steps,
            "cost": seconds / usual, **_effect(run.dataset, collect(PlainSource(run), num)),
        }  # fmt: skip
        driver = plugin.driver(run)
        if driver is not None:
            source = RejectionSource(run)
            corrected = _effect(run.dataset, collect(source, num))
            row |= {f"{key}_drs": value for key, value in corrected.items()}
            row["acceptance_rate"] = source.statistics()["acceptance_rate"]
            row["phase1_end"] = driver.schedule.phase1_end
            row["chosen"] = driver.choices.result()
        rows.append(row)
    return rows


def _train(
    config_name: str,
    seed: int,
    method: Mapping[str, Mapping[str, Any]],
    steps: int | None,
    dia: Mapping[str, Any],
) -> tuple[Run, DiaPlugin]:
    plugin = DiaPlugin()
    plugins = PluginManager(load_entry_points=False)
    plugins.register(plugin, "dia")
    plugins.register(TopKPlugin(), "top_k")
    plugins.register(ModeSeekingPlugin(), "mode_seeking")
    _, where, content = read_config(config_name)
    config = validate_config(content, where, plugins.catalogs.claims)
    config.RUN.seed = seed
    config.RUN.sampler = "dia" if "dia" in method else "uniform"
    options = {name: dict(given) for name, given in method.items()}
    options["dia"] = {**config.PLUGINS.get("dia", {}), **dia, **options.get("dia", {})}
    if steps is not None:
        usual = config.OPTIMIZATION.total_steps
        options["dia"]["record_every"] = max(options["dia"]["record_every"] * steps // usual, 1)
        config.OPTIMIZATION.total_steps = steps
    return train(config, None, plugins, plugins.options.resolve(options), quiet=True), plugin


def _effect(dataset: Dataset, samples: Tensor) -> dict[str, float]:
    return {**effect(dataset, samples), **dataset.evaluate_generated(samples)}


_HEAD = (
    f"{'':<20}{'CPU':>6}{'distance to data':>22}{'smallest group':>22}"
    f"{'after DRS: distance':>22}{'smallest group':>22}{'accepted':>10}{'phase 1 ends':>15}"
)


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    def ranged(key: str) -> str:
        values = [row[key] for row in rows if key in row]
        if not values:
            return "–"
        return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"

    cost = statistics.median(row["cost"] for row in rows)
    accepted = [row["acceptance_rate"] for row in rows if "acceptance_rate" in row]
    ends = sorted({row["phase1_end"] for row in rows if "phase1_end" in row})
    return (
        f"{name:<20}{cost:5.2f}×{ranged('distance'):>22}{ranged('smallest'):>22}"
        f"{ranged('distance_drs'):>22}{ranged('smallest_drs'):>22}"
        f"{f'{statistics.median(accepted):.3f}' if accepted else '–':>10}"
        f"{'–'.join(map(str, dict.fromkeys([*ends[:1], *ends[-1:]]))) or '–':>15}"
        f"   of {rows[0]['smallest_in_data']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
