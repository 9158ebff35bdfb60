"""What black-box diagnosis finds, and mends: `python -m benchmarks.claims.black_box`.

1. The repeated identity (Wu et al., 2021, §4.2.2, in small). A generator makes small images from 4
   latents by a random network; its twin makes the same, but some 3 % of its mass all but repeat one
   image. Real images come from the network without the error that both share. Measured are the FID
   of both, MCCS of the densest mode with its interval, and both again after each calibration of the
   twin. Intervals and scores are of samples that neither found nor calibrated the mode.
2. PacGAN (Lin et al., 2018). A small GAN learns 25 Gaussians, once with single samples and once
   with 4 in a pack. MCCS is of a Gaussian kernel's random features, as points have no angle of
   their own; what is half a point apart, a quarter of the way to the next Gaussian, is alike.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.harness import machine
from diagan_plugin.blackbox.collapse_diagnosis import diagnose
from diagan_plugin.blackbox.generator_calibration import (
    METHODS,
    Calibration,
    calibrate,
    prior_latents,
)
from diagan_plugin.blackbox.latent_sampler import Prior
from diagan_plugin.blackbox.mccs import angular_distances, unit_vectors
from gan_registry.features.base import Features
from gan_registry.metrics.frechet import fid
from gan_registry.seeding import generator_for, kept_random_state

Z_DIM = 4
PIXELS = 64
RADIUS = 1.15
PACKS = (1, 4)
ALIKE = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Measures both claims and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--num", type=int, default=10_000, help="samples of each draw")
    parser.add_argument("--steps", type=int, default=2500, help="of the small GANs; 0: no PacGAN")
    parser.add_argument("--quick", action="store_true", help="tiny; the numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.num < 500 or options.steps < 0:
        parser.error("--seeds must be at least 1, --num at least 500, --steps at least 0")
    if options.quick:
        options.seeds, options.num, options.steps = 1, 1000, 20
    rows: list[dict[str, Any]] = []
    print(f"{'seed':<6}{'generator':<22}{'FID':>8}  {'MCCS of the mode':<26}{'mean MCCS':>10}")
    for seed in range(options.seeds):
        for row in repeated_identity(seed, options.num):
            rows.append(row)
            print(
                f"{seed:<6}{row['generator']:<22}{row['fid']:>8.3f}  "
                f"{row['mccs']:.3f} ({row['low']:.3f} to {row['high']:.3f})".ljust(64)
                + f"{row['mean']:>8.3f}",
                flush=True,
            )
    if options.steps:
        head = f"{'seed':<6}{'pack':<6}{'modes':>6}  {'MCCS of the densest':<26}"
        print(f"\n{head}{'mean':>7}{'std':>7}")
        packs = [
            pac_gan(seed, pack, options.steps, options.num)
            for seed in range(options.seeds)
            for pack in PACKS
        ]
        for row in packs:
            print(
                f"{row['seed']:<6}{row['pack']:<6}{row['modes']:>6}  "
                f"{row['mccs']:.3f} ({row['low']:.3f} to {row['high']:.3f})".ljust(46)
                + f"{row['mean']:>7.3f}{row['std']:>7.3f}"
            )
        for pack in PACKS:
            of_pack = [row for row in packs if row["pack"] == pack]
            middle = [statistics.median(row[key] for row in of_pack) for key in ("mccs", "mean")]
            print(f"median of pack {pack}: densest {middle[0]:.3f}, mean {middle[1]:.3f}")
        rows += packs
    if options.json is not None:
        content = {"machine": machine(torch.get_num_threads()), "rows": rows}
        text = json.dumps(content, indent=2, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


# -------------------------------------------------------- the repeated identity


@dataclass
class RandomImages:
    """A fixed random network as a generator of 1×8×8 images.

    Attributes:
        seed: Of the network.
        shrink: To what share of their size latents in a ball are drawn together; 1 plants nothing.
        error: How far the last layer is from that of the real images.
    """

    seed: int
    shrink: float = 1.0
    error: float = 0.7
    z_dim: int = Z_DIM
    prior: Prior = "gaussian"
    name: str = "random images"
    identity: str = "random images"

    def __post_init__(self) -> None:
        rng = generator_for(self.seed, "random images")
        self.first = torch.randn(Z_DIM, PIXELS, generator=rng) * 0.75
        self.bias = torch.randn(PIXELS, generator=rng) * 0.5
        self.second = torch.randn(PIXELS, PIXELS, generator=rng) / 8
        self.second += self.error * torch.randn(PIXELS, PIXELS, generator=rng) / 8
        center = torch.randn(Z_DIM, generator=rng)
        self.center = center / center.norm()

    def __call__(self, z: Tensor) -> Tensor:
        """Returns images [n, 1, 8, 8]."""
        away = z - self.center
        share = ((away.norm(dim=1, keepdim=True) / RADIUS - 0.7) / 0.3).clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        z = self.center + away * (self.shrink + (1.0 - self.shrink) * share)
        hidden = torch.tanh(z @ self.first + self.bias)
        return torch.tanh(2.0 * hidden @ self.second).reshape(-1, 1, 8, 8)


class Pixels:
    """The pixels as features."""

    identity = "pixels"
    num_features = PIXELS

    def __call__(self, samples: Tensor) -> Features:
        """Returns [B, 64]."""
        return Features(samples.flatten(1))


def repeated_identity(seed: int, num: int) -> list[dict[str, Any]]:
    """Measures the twin without a planted mode, with it, and with it calibrated."""
    exact, plain, planted = (
        RandomImages(seed, error=0.0), RandomImages(seed), RandomImages(seed, shrink=0.1)
    )  # fmt: skip
    real = exact(prior_latents(exact, num, seed, "real")).flatten(1)
    z = prior_latents(planted, num, seed, "fid")
    found: dict[str, Calibration] = {
        method: calibrate(planted, Pixels(), method, num=num, anchors=min(num, 2000), seed=seed)
        for method in METHODS
    }
    first = found[METHODS[0]]
    own = diagnose(
        *(
            unit_vectors(plain(prior_latents(plain, count, seed, what)).flatten(1))
            for count, what in ((min(num, 2000), "anchors"), (num, "samples"))
        ),
        theta=first.before.theta, radius=first.before.radius, seed=seed,
    )  # fmt: skip
    mode = own.modes[0]
    rows = [
        _row("nothing planted", fid(real, plain(z).flatten(1)), mode.mccs, mode.mccs_interval, own),
        _row(
            "planted", fid(real, planted(z).flatten(1)),
            first.modes[0][0].mccs, first.modes[0][0].mccs_interval, first.before,
        ),
    ]  # fmt: skip
    for method, one in found.items():
        after = one.modes[0][1]
        x = planted(one.latents.sample(num, seed + 1)).flatten(1)
        rows.append(
            _row(f"calibrated, {method}", fid(real, x), after.mccs, after.mccs_interval, one.after)
        )
    return [{"claim": "repeated identity", "seed": seed, **row} for row in rows]


def _row(generator: str, distance: float, mccs: float, interval: Any, of: Any) -> dict[str, Any]:
    return {
        "generator": generator, "fid": distance, "mccs": mccs, "low": interval.low,
        "high": interval.high, "mean": of.mean, "std": of.std,
    }  # fmt: skip


# ---------------------------------------------------------------------- PacGAN


def grid(n: int, rng: torch.Generator) -> Tensor:
    """Draws from 25 Gaussians at {−4, −2, 0, 2, 4}², standard deviation 0.05 [n, 2]."""
    which = torch.randint(5, (n, 2), generator=rng)
    return 2.0 * (which - 2.0) + 0.05 * torch.randn(n, 2, generator=rng)


def kernel_features(width: float = 0.4, count: int = 512) -> Callable[[Tensor], Tensor]:
    """Returns random features whose angle tells the distance of points (a Gaussian kernel)."""
    frequencies = torch.randn(2, count, generator=generator_for(0, "frequencies")) / width

    def features(x: Tensor) -> Tensor:
        phase = x @ frequencies
        return torch.cat([phase.cos(), phase.sin()], 1) / math.sqrt(count)

    return features


def pac_gan(seed: int, pack: int, steps: int, num: int, batch: int = 128) -> dict[str, Any]:
    """Trains a GAN whose D sees `pack` samples at once, and diagnoses it."""
    rng = generator_for(seed, "pac", pack)
    with kept_random_state(torch.device("cpu")):
        torch.manual_seed(seed)
        G, D = _perceptron(2, 2), _perceptron(2 * pack, 1)
    g_step, d_step = (torch.optim.Adam(net.parameters(), 5e-4, (0.5, 0.9)) for net in (G, D))
    softplus = nn.functional.softplus
    for _ in range(steps):
        real = grid(batch * pack, rng).reshape(batch, -1)
        fake = G(torch.randn(batch * pack, 2, generator=rng)).reshape(batch, -1)
        d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
        d_step.zero_grad()
        torch.autograd.backward(d_loss)
        d_step.step()
        g_loss = softplus(-D(fake)).mean()
        g_step.zero_grad()
        torch.autograd.backward(g_loss)
        g_step.step()
    features = kernel_features()
    anchors = min(num, 2000)
    with torch.no_grad():
        x = G(torch.randn(num + anchors, 2, generator=rng))
    ends = unit_vectors(features(torch.tensor([[0.0, 0.0], [ALIKE, 0.0]])))
    theta = float(angular_distances(ends[:1], ends[1:]))
    found = diagnose(
        unit_vectors(features(x[:anchors])), unit_vectors(features(x[anchors:])),
        theta=theta, radius=theta, modes=1, seed=seed,
    )  # fmt: skip
    nearest = (x / 2.0).round().clamp(-2, 2)
    hit = (x - 2.0 * nearest).norm(dim=1) < 0.2
    places = ((nearest + 2) @ torch.tensor([5.0, 1.0])).long()[hit]
    mode = found.modes[0]
    return {
        "claim": "PacGAN", "seed": seed, "pack": pack,
        "modes": int((places.bincount(minlength=25) >= num / 1000).sum()),
        "mccs": mode.mccs, "low": mode.mccs_interval.low, "high": mode.mccs_interval.high,
        "mean": found.mean, "std": found.std,
    }  # fmt: skip


def _perceptron(inputs: int, outputs: int, width: int = 128) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
