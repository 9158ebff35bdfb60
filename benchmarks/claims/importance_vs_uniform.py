"""What `--dia-aux importance` is worth: `python -m benchmarks.claims.importance_vs_uniform`.

Trains, in phase 2 of one run, an auxiliary discriminator on uniform batches and one on the weighted
batches with importance weights, both on the same fakes, and compares their logits by Spearman's
rank correlation, over the training samples and over generated ones. Two references stand beside it:
a second auxiliary on other uniform batches (`again`: as well as any could agree) and the run's own
D (`D itself`: what an auxiliary has to beat). Batch norm in D is refused by `dia`; the rows with it
show why. DRS reads logits in evaluation mode, a sweep reads batch norm by batch statistics.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from scipy.stats import spearmanr

from benchmarks.claims.command import be_quick, claim_parser, write_rows
from benchmarks.claims.shadows import Variant, logits_of, train_with
from gan_registry.evaluation.sources import PlainSource, collect

CONFIGS = ("gaussian", "gmm25", "colored_digits")
VARIANTS = {
    "uniform": Variant(),
    "importance": Variant("importance"),
    "again": Variant(seed=1_000_003),
}
_COMPARED = ("importance", "again", "D itself")


def main(arguments: list[str] | None = None) -> int:
    """Trains the runs and prints the correlations."""
    parser = claim_parser(__doc__, CONFIGS, 2, "generated samples")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.num < 2:
        parser.error("--seeds must be at least 1 and --num at least 2")
    be_quick(options, "gaussian")
    rows: list[dict[str, Any]] = []
    print(_HEAD)
    for config in options.configs:
        for batch_norm in (False, True):
            of_case = [
                row
                for seed in range(options.seeds)
                for row in measure(config, seed, batch_norm, options.steps, options.num)
            ]
            rows += of_case
            lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for row in of_case:
                lines.setdefault((row["mode"], row["samples"]), []).append(row)
            for of_line in lines.values():
                print(_line(of_line), flush=True)
    write_rows(options.json, rows)
    return 0


def measure(
    config: str, seed: int, batch_norm: bool, steps: int | None, num: int
) -> list[dict[str, Any]]:
    """Trains one run; returns a row for each mode of reading logits and kind of samples."""
    run, shadows = train_with(VARIANTS, config, seed, steps, batch_norm)
    generated = collect(PlainSource(run), num)
    networks = {name: shadow.discriminator for name, shadow in shadows.auxiliaries.items()}
    networks["D itself"] = run.discriminator
    rows = []
    for mode in ("eval", "batchstat") if batch_norm else ("eval",):
        for samples, x in (("training", None), ("generated", generated)):
            logits = {name: logits_of(run, net, mode, x) for name, net in networks.items()}
            row: dict[str, Any] = {
                "config": config,
                "batch_norm": batch_norm,
                "mode": mode,
                "samples": samples,
                "seed": seed,
                "weight_variance": shadows.auxiliaries["importance"].weight_variance,
            }
            for name in _COMPARED:
                row[name] = float(spearmanr(logits["uniform"], logits[name]).statistic)
            rows.append(row)
    return rows


_HEAD = (
    f"{'configuration':<16}{'D':<12}{'logits':<11}{'samples':<11}{'var. of weights':>15}  "
    + "  ".join(f"{name:<22}" for name in _COMPARED)
).rstrip()


def _line(rows: list[dict[str, Any]]) -> str:
    """Writes the seeds of one case as a line of medians and ranges."""
    first = rows[0]
    middle = statistics.median(row["weight_variance"] for row in rows)
    kind = "batch norm" if first["batch_norm"] else "plain"
    cells = [
        f"{first['config']:<16}{kind:<12}{first['mode']:<11}{first['samples']:<11}{middle:15.3f}"
    ]
    for name in _COMPARED:
        values = [row[name] for row in rows]
        spread = f"({min(values):.3f} to {max(values):.3f})"
        cells.append(f"{statistics.median(values):.3f} {spread}".ljust(22))
    return "  ".join(cells).rstrip()


if __name__ == "__main__":
    sys.exit(main())
