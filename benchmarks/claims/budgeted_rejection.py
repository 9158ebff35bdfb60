"""Compares rejection samplers at equal acceptance, on a Gaussian pair whose ratio is known.

    python -m benchmarks.claims.budgeted_rejection [--seeds 8] [--num 10000]

What is generated is N(0, 1), the data are N(1.5, 0.6²): exact rejection keeps one in ten. Each
method is set to keep the same share: a chain begins at a generated sample and makes 1/share − 1
steps, so that it costs 1/share samples. The table shows the total variation between what is kept
and the data, and the KL divergence, over 20 intervals that hold 5 % of the data each.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
from scipy import optimize, stats

from diagan_plugin.postprocessing.budgeted import BudgetedRejectionSampler
from diagan_plugin.postprocessing.metropolis_hastings import MetropolisHastingsSampler
from diagan_plugin.postprocessing.rejection import RejectionSampler, acceptance_probability
from diagan_plugin.postprocessing.streaming import Proposal, SampleStream

DATA = stats.norm(1.5, 0.6)
EDGES = DATA.ppf(np.linspace(0, 1, 21))[1:-1]
LOG_M = 1.5**2 / (2 * (1 - 0.6**2)) - math.log(0.6)


def log_ratio(x: torch.Tensor) -> torch.Tensor:
    """Computes log p_data/p_g."""
    return x**2 / 2 - ((x - 1.5) / 0.6) ** 2 / 2 - math.log(0.6)


def divergences(x: np.ndarray) -> tuple[float, float]:
    """Measures total variation and KL(data, samples) of samples [n]."""
    shares = np.bincount(np.searchsorted(EDGES, x), minlength=20) / len(x)
    return float(np.abs(shares - 0.05).sum() / 2), float((0.05 * np.log(0.05 / shares)).sum())


def samplers(rate: float, seed: int) -> dict[str, SampleStream]:
    """Builds a sampler a method, each of which keeps `rate` of the proposals."""
    grid = log_ratio(torch.from_numpy(stats.norm.ppf((np.arange(50_000) + 0.5) / 50_000)))
    gamma = optimize.brentq(
        lambda g: float(acceptance_probability(grid, LOG_M, g).mean()) - rate, -30, 30
    )

    def source(extra: int) -> torch.Generator:
        return torch.Generator().manual_seed(10 * seed + extra)

    noise = source(0)

    def propose(n: int) -> Proposal:
        x = torch.randn(n, generator=noise, dtype=torch.float64)
        return Proposal(x, log_ratio(x))

    return {
        "drs": RejectionSampler(propose, rng=source(1), gamma=gamma),
        "mh": MetropolisHastingsSampler(propose, rng=source(2), steps=round(1 / rate) - 1),
        "obrs": BudgetedRejectionSampler(propose, rng=source(3), budget=rate),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--num", type=int, default=10_000)
    args = parser.parse_args()
    print("| kept | method | total variation | KL |\n| --- | --- | --- | --- |")
    for rate in (0.5, 0.2):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(args.seeds):
            for name, sampler in samplers(rate, seed).items():
                x = torch.cat([batch.x for batch in sampler.sample(args.num)]).numpy()
                found.setdefault(name, []).append(divergences(x))
        for name, values in found.items():
            cells = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in zip(*values, strict=True)]
            print(f"| {rate} | `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
