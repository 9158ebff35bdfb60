"""How well one sweep predicts LDRV (paper §3.2): `python -m benchmarks.claims.laplace_vs_measured`.

Trains with the diagnosis on, then compares the LDRV measured over the window with
`diagan_plugin.laplace_ldrv` from the features of the final discriminator: Spearman's rank
correlation over the training samples, and how well each tells the minor groups (ROC AUC). The rows
`s_0 = 0` are the limit of a narrow prior, ‖φ‖²: what the estimate has to beat to be of any use.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from diagan_plugin.recording.laplace import LaplaceLDRV
from diagan_plugin.recording.logit_modes import logit_mode
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.config.load import read_config, validate_config
from gan_registry.plugins import PluginManager
from gan_registry.training.run import Run
from gan_registry.training.trainer import train

_BATCH = 256
_AREAS = ("auc_measured", "auc_laplace")


def main(arguments: list[str] | None = None) -> int:
    """Trains one run a seed and prints the correlations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="gaussian", help="gaussian, colored_digits, …")
    parser.add_argument("--steps", type=int, help="default: the configuration's")
    parser.add_argument("--record-every", type=int, help="default: the configuration's")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument(
        "--prior-variance", type=float, nargs="+", default=[0.01, 1.0, 100.0], metavar="S0"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args(arguments)
    rows = [
        row
        for seed in range(options.seeds)
        for row in measure(
            options.config, seed, options.steps, options.record_every, options.prior_variance
        )
    ]
    print("seed  s_0      Spearman  AUC measured  AUC Laplace")
    for row in rows:
        print(_line(str(row["seed"]), row))
    for prior_variance in [0.0, *options.prior_variance]:
        of_prior = [row for row in rows if row["prior_variance"] == prior_variance]
        middle: dict[str, Any] = {"prior_variance": prior_variance}
        for key in ("spearman", *_AREAS):
            known = [row[key] for row in of_prior if row[key] is not None]
            middle[key] = statistics.median(known) if known else None
        print(_line("med.", middle))
    if options.json is not None:
        text = json.dumps({"config": options.config, "rows": rows}, indent=2, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(
    config_name: str,
    seed: int,
    steps: int | None,
    record_every: int | None,
    prior_variances: list[float],
) -> list[dict[str, Any]]:
    """Trains one run and compares both estimates, for each s_0."""
    plugins = PluginManager()
    _, where, content = read_config(config_name)
    config = validate_config(content, where, plugins.catalogs.claims)
    config.RUN.seed = seed
    if steps is not None:
        config.OPTIMIZATION.total_steps = steps
    dia = {**config.PLUGINS.get("dia", {}), "diagnose": True}
    if record_every is not None:
        dia["record_every"] = record_every
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "run")
        run = train(config, folder, plugins, plugins.options.resolve({"dia": dia}), quiet=True)
        measured = Diagnosis.load(folder / DIAGNOSIS_FILE).ldrv
    minor = minority(run.dataset.groups, len(run.dataset))
    known = np.isfinite(measured)
    rows = []
    for prior_variance in [0.0, *prior_variances]:
        estimate = estimate_ldrv(run, prior_variance)
        row = {
            "seed": seed,
            "prior_variance": prior_variance,
            "spearman": float(spearmanr(measured[known], estimate[known]).statistic),
            "auc_measured": None,
            "auc_laplace": None,
        }
        if minor[known].any():
            row["auc_measured"] = float(roc_auc_score(minor[known], measured[known]))
            row["auc_laplace"] = float(roc_auc_score(minor[known], estimate[known]))
        rows.append(row)
    return rows


def minority(groups: NDArray[np.int64] | None, size: int) -> NDArray[np.bool_]:
    """Which samples are of groups with less than half of an equal share, [N]; maybe none."""
    if groups is None:
        return np.zeros(size, np.bool_)
    counts = np.bincount(groups[groups >= 0])
    small = np.flatnonzero(2 * counts * np.count_nonzero(counts) < counts.sum())
    return np.isin(groups, small)


@torch.no_grad()
def estimate_ldrv(run: Run, prior_variance: float) -> NDArray[np.float64]:
    """The one-sweep estimate [N]: a pass to sum the information, and one to read the variance.

    A prior variance of 0 stands for the limit of the estimate's ordering, ‖φ‖².
    """
    batches = np.array_split(np.arange(len(run.dataset)), -(-len(run.dataset) // _BATCH))
    with logit_mode(run.discriminator, "auto"):
        x, _ = run.dataset.__getitems__(batches[0])
        num_features = run.backbone.features(x.to(run.device)).shape[1]
        # Without an update, the variance is that of the prior: s_0·‖φ‖².
        estimate = LaplaceLDRV(num_features, prior_variance=prior_variance or 1.0)
        for indices in batches if prior_variance else []:
            x, y = run.dataset.__getitems__(indices)
            x, y = x.to(run.device), y.to(run.device)
            estimate.update(run.backbone.features(x), run.logits(x, y))
        variance = [
            estimate.variance(
                run.backbone.features(run.dataset.__getitems__(indices)[0].to(run.device))
            )
            for indices in batches
        ]
    return np.asarray(torch.cat(variance).cpu(), np.float64)


def _line(name: str, row: dict[str, Any]) -> str:
    areas = ["–" if area is None else f"{area:.3f}" for area in map(row.get, _AREAS)]
    return (
        f"{name:<4}  {row['prior_variance']:<7g}  {row['spearman']:8.3f}  "
        f"{areas[0]:>12}  {areas[1]:>11}"
    )


if __name__ == "__main__":
    sys.exit(main())
