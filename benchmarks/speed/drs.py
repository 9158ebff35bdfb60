"""Discriminator rejection sampling: what an accepted sample costs beyond G and D.

The floor is one forward pass of G and one of D for each proposal, burn-in included, with latents
and batches ready. Above it come latents, acceptance, and putting batches together.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.speed.harness import Row, Settings, alternate, at_most
from benchmarks.speed.setups import NoiseImages, dcgan32, packaged, plugin_manager, untrained
from diagan_plugin.postprocessing.sources import RejectionSource
from gan_registry.training.run import Run

NAME = "drs"
_BATCH = 256
_AIM = at_most(1.15)


def run(settings: Settings) -> list[Row]:
    """Measures two networks; how well they are trained decides the rate, not the overhead."""
    quick = settings.quick
    plugins = plugin_manager(noise=NoiseImages(128))
    width: dict[str, Any] = {"MODEL__g_conv_dim": 8, "MODEL__d_conv_dim": 8} if quick else {}
    return [
        _measure(
            "colored_digits", untrained(packaged("colored_digits", plugins), plugins), settings
        ),
        _measure("DCGAN, 32 px", untrained(dcgan32(plugins, **width), plugins), settings),
    ]


def _measure(label: str, run: Run, settings: Settings) -> Row:
    wanted = 200 if settings.quick else 4_000
    proposed = 0

    def count(module: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal proposed
        proposed += len(output)

    def ours() -> None:
        taken = sum(len(batch) for batch in RejectionSource(run).batches(wanted))
        assert taken == wanted

    handle = run.generator.register_forward_hook(count)
    ours()  # the draw is the same each time
    handle.remove()
    z = run.latents(_BATCH, "floor")

    @torch.no_grad()
    def floor() -> None:
        for _ in range(proposed // _BATCH):
            run.discriminator(run.generator(z))

    def in_eval(work: Any) -> Any:
        def wrapped() -> None:
            run.generator.eval()
            run.discriminator.eval()
            work()

        return wrapped

    pair = alternate(in_eval(ours), in_eval(floor), settings.pairs(5))
    rate = wanted / proposed
    return pair.row(
        NAME, f"{label}: an accepted sample", _AIM, unit="ms", scale=1e3 / wanted,
        note=f"{wanted:,} accepted of {proposed:,} proposed ({rate:.0%}, with the burn-in)",
    )  # fmt: skip
