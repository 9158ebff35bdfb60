"""What `--dia-aux-every M` saves and costs: `python -m benchmarks.claims.auxiliary_every`.

Trains the auxiliary discriminators for all M in phase 2 of one run, on the same fakes, and then
rejects the same proposals by each of them (DRS). Cost is CPU time relative to the same run without
any auxiliary. Effect is how far the groups' shares after DRS are from the data's: the total
variation distance, and the share of the smallest group (the mean of equally small ones). `plain` is
the generator without DRS, `D itself` is DRS by the run's own D, which learnt the weighted data.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from torch import Tensor, nn

from benchmarks.claims.command import be_quick, claim_parser, write_rows
from benchmarks.claims.effect import effect
from benchmarks.claims.shadows import Variant, train_with
from diagan_plugin.dia.options import AUXILIARY
from diagan_plugin.postprocessing.sources import RejectionSource
from gan_registry.datasets.base import Dataset
from gan_registry.evaluation.sources import PlainSource, collect
from gan_registry.training.run import Run

CONFIGS = ("colored_digits", "gmm25")
_NUMBERS = ("cost_phase2", "cost_all", "acceptance_rate", "distance", "smallest")


def main(arguments: list[str] | None = None) -> int:
    """Trains the runs and prints cost and effect."""
    parser = claim_parser(__doc__, CONFIGS, 3, "samples after DRS")
    parser.add_argument("--every", nargs="+", type=int, default=[1, 2, 5], metavar="M")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.num, *options.every) < 1:
        parser.error("--seeds, --num and --every must be at least 1")
    be_quick(options, "gmm25")
    rows: list[dict[str, Any]] = []
    for config in options.configs:
        of_config = [
            row
            for seed in range(options.seeds)
            for row in measure(config, seed, options.every, options.steps, options.num)
        ]
        rows += of_config
        print(f"{config}\n{_HEAD}")
        for name in dict.fromkeys(row["name"] for row in of_config):
            print(_line(name, [row for row in of_config if row["name"] == name]), flush=True)
    write_rows(options.json, rows)
    return 0


def measure(
    config: str, seed: int, every: list[int], steps: int | None, num: int
) -> list[dict[str, Any]]:
    """Trains one run; returns a row for each M and for both references."""
    variants = {f"M = {m}": Variant(every=m) for m in every}
    started = time.process_time()
    run, shadows = train_with(variants, config, seed, steps)
    without = time.process_time() - started - sum(shadows.seconds.values())
    rows = [
        _row("plain", 1.0, 1.0, run.dataset, collect(PlainSource(run), num)),
        _row("D itself", 1.0, 1.0, run.dataset, *_corrected(run, run.discriminator, num)),
    ]
    for name, shadow in shadows.auxiliaries.items():
        cost = shadows.seconds[name]
        rows.append(
            _row(
                name, 1 + cost / shadows.rest, 1 + cost / without,
                run.dataset, *_corrected(run, shadow.discriminator, num),
            )
        )  # fmt: skip
    return [{"config": config, "seed": seed, **row} for row in rows]


def _corrected(run: Run, discriminator: nn.Module, num: int) -> tuple[Tensor, float]:
    """Returns samples after DRS by a discriminator, as the run's own DRS makes them."""
    run.additions[AUXILIARY] = discriminator
    source = RejectionSource(run)
    del run.additions[AUXILIARY]
    return collect(source, num), source.statistics()["acceptance_rate"]


def _row(
    name: str,
    cost_phase2: float,
    cost_all: float,
    dataset: Dataset,
    samples: Tensor,
    acceptance_rate: float = 1.0,
) -> dict[str, Any]:
    return {
        "name": name,
        "cost_phase2": cost_phase2,
        "cost_all": cost_all,
        "acceptance_rate": acceptance_rate,
        **effect(dataset, samples),
    }


_HEAD = (
    f"{'':<10}{'CPU phase 2':>13}{'CPU in all':>12}{'accepted':>10}"
    f"{'distance to data':>26}{'smallest group':>27}"
)


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    middle, low, high = {}, {}, {}
    for key in _NUMBERS:
        values = [row[key] for row in rows]
        middle[key], low[key], high[key] = statistics.median(values), min(values), max(values)

    def ranged(key: str) -> str:
        return f"{middle[key]:.3f} ({low[key]:.3f}–{high[key]:.3f})"

    return (
        f"{name:<10}{middle['cost_phase2']:12.2f}×{middle['cost_all']:11.2f}×"
        f"{middle['acceptance_rate']:10.3f}{ranged('distance'):>26}{ranged('smallest'):>27}"
        f" of {rows[0]['smallest_in_data']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
