"""What `--dia-rule feedback` does where the ratio is known: a mixture of Gaussians.

python -m benchmarks.claims.feedback_simulation [--seeds N]

The data are points of two normal distributions four standard deviations apart, a rare one among
them. The generator is the same mixture with a share π of its own, so that the ratio of every point
is known; it follows the draws late, and drops a group that it sees too rarely, as a GAN does.
The auxiliary discriminator is that ratio with an error: of scale, of level, or memorised.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.scoring.feedback import UPDATES, FeedbackRule, FeedbackWeights
from diagan_plugin.scoring.score import sampling_probabilities
from gan_registry.formatting import align

Floats = NDArray[np.float64]

NUM = 2000
DISTANCE = 4.0
RECORDS = 50


@dataclass(frozen=True)
class Setting:
    """A generator and an auxiliary discriminator.

    Attributes:
        truth: Share of the rare group in the data.
        dropped_below: Half of a group's share is lost when this is its share of the draws.
        inertia: Updates of the weights that it takes the generator to go 63 % of the way.
        scale: The auxiliary discriminator's ratios are so many times the true ones,
        level: plus this,
        noise: plus a normal error of this deviation, a new one each time,
        memorised: plus a constant of each sample, of this deviation.
    """

    truth: float = 0.05
    dropped_below: float = 0.1
    inertia: float = 10.0
    scale: float = 1.0
    level: float = 0.0
    noise: float = 0.5
    memorised: float = 0.0


def densities(x: Floats, share: float) -> Floats:
    """Returns the log density of the mixture with a share of the rare group, up to a constant."""
    common = np.log1p(-share) - x**2 / 2
    rare = np.log(max(share, 1e-6)) - (x - DISTANCE) ** 2 / 2
    both: Floats = np.logaddexp(common, rare)
    return both


def simulate(setting: Setting, rule: FeedbackRule | None, seed: int) -> Floats:
    """Returns the generator's share of the rare group after each update of phase 2.

    Args:
        setting: Generator and auxiliary discriminator.
        rule: The constants; None for the paper's rule, which keeps the weights of the scores.
        seed: Of points and errors.
    """
    rng = np.random.default_rng(seed)
    rare = np.arange(NUM) < round(setting.truth * NUM)
    x = rng.normal(size=NUM) + DISTANCE * rare
    own = rng.normal(size=NUM) * setting.memorised

    def followed(drawn: float) -> float:
        """Where the generator's share ends if a group takes this share of the draws."""
        kept = drawn**2 / (drawn + setting.dropped_below)
        rest = (1 - drawn) ** 2 / (1 - drawn + setting.dropped_below)
        return kept / (kept + rest)

    def measured(share: float) -> Floats:
        ratio = densities(x, setting.truth) - densities(x, share)
        error = setting.level + setting.noise * rng.normal(size=NUM) + own
        estimate = setting.scale * ratio + error
        # What `as_a_ratio` does: p_g/p_data averages to 1 over the data.
        shifted: Floats = estimate + np.log(np.exp(-estimate).mean())
        return shifted

    share = followed(setting.truth)  # as phase 1 has left it
    score = np.mean([measured(share) for _ in range(RECORDS)], 0)
    probabilities = sampling_probabilities(score)
    loop = FeedbackWeights(probabilities, score, rule)
    shares = []
    for update in range(UPDATES):
        w = probabilities if rule is None else loop.weights
        share += (followed(float(w[rare].sum() / w.sum())) - share) / setting.inertia
        shares.append(share)
        if rule is not None:
            loop.update(measured(share), (update + 1) / UPDATES)
    return np.asarray(shares)


SETTINGS = {
    "5 % rare": Setting(),
    "1 % rare": Setting(truth=0.01),
    "nothing missed": Setting(dropped_below=0.0),
    "a slow generator": Setting(inertia=20.0),
    "ratios half as large": Setting(scale=0.5),
    "ratios twice as large": Setting(scale=2.0),
    "a level of 2": Setting(level=2.0),
    "noisy ratios (2)": Setting(noise=2.0),
    "a memorising auxiliary D (1)": Setting(memorised=1.0),
}


def main() -> None:
    """Prints the table of docs/dia.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    rows = []
    for name, setting in SETTINGS.items():
        row = [name, f"{setting.truth:.0%}"]
        for rule in (None, FeedbackRule()):
            runs = np.stack([simulate(setting, rule, seed) for seed in seeds])
            row.append(f"{runs[:, -1].mean():.1%} ± {runs[:, -1].std():.1%}")
            if rule is not None:
                row.append(f"{runs.max(1).mean():.0%}")
        rows.append(row)
    heads = ["", "data", "paper", "feedback", "highest on the way"]
    print("\n".join(align([heads, *rows])))


if __name__ == "__main__":
    main()
