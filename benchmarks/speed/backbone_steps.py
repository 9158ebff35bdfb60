"""Steps a second of the paper's SNGAN on 32-px images, and what makes them faster.

The backbone `sngan` as the packaged `cifar10_sngan` has it: the published widths (256 channels in
G, 128 in D), batches of 64 and five updates of D a step. The parts of a step are measured in turns
in two memory layouts and added up; each of three choices of the host is compared with doing
without: channels-last, the fused Adam, and an auxiliary discriminator that learns from the fakes
which D's update has made already, rather than from its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.speed.harness import Pair, Row, Settings, at_least, seconds
from benchmarks.speed.setups import NoiseImages, packaged, plugin_manager, untrained
from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from gan_registry.datasets.fetching import fetch
from gan_registry.records import Fake
from gan_registry.training.run import Run
from gan_registry.training.updates import update_discriminator, update_generator

NAME = "backbone_steps"
_NO_LOSS = at_least(1.0)
_Round = dict[tuple[str, str], float]  # (side, part) → seconds


class Side:
    """A run in one memory layout, and what a step of it consists of.

    Args:
        run: The run, untrained.
        memory_format: Of both networks.
    """

    def __init__(self, run: Run, memory_format: torch.memory_format) -> None:
        for network in (run.generator, run.discriminator):
            network.to(memory_format=memory_format)
            network.train()
        self.run = run
        optimizer = run.optimizers["discriminator"]
        self._auxiliary = AuxiliaryDiscriminator(
            run.discriminator, optimizer, run.loss, len(run.dataset), seed=run.seed
        )
        self._fakes = self._made()

    def parts(self) -> dict[str, Callable[[], object]]:
        """Returns the parts of a step by name."""
        return {
            "D": partial(update_discriminator, self.run, 0),
            "G": partial(update_generator, self.run, 0),
            "auxiliary": lambda: self._auxiliary.step(self._read, self._fakes),
            "fakes": self._made,
        }

    def adam(self) -> dict[str, Callable[[], object]]:
        """Returns the optimisers' steps, on the gradients that the last updates have left."""
        work: dict[str, Callable[[], object]] = {}
        for name, optimizer in self.run.optimizers.items():
            group = optimizer.param_groups[0]
            plain = torch.optim.Adam(group["params"], lr=group["lr"], betas=group["betas"])
            work |= {f"fused {name}": optimizer.step, f"plain {name}": plain.step}
        return work

    @torch.no_grad()
    def _made(self) -> Fake:
        z = self.run.latents(self.run.batch_size, "benchmark")
        return Fake(self.run.generator(z), z)

    def _read(self, indices: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        return fetch(self.run.dataset, indices)


def run(settings: Settings) -> list[Row]:
    """Measures the parts, and adds them up."""
    ours, theirs = (
        _side(settings, each) for each in (torch.channels_last, torch.contiguous_format)
    )
    work = {("ours", name): call for name, call in ours.parts().items()}
    work |= {("theirs", name): call for name, call in theirs.parts().items()}
    work |= {("adam", name): call for name, call in ours.adam().items()}
    for call in work.values():
        call()
    pairs = settings.pairs(3)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in work}
    for number in range(pairs):
        # There and back, so that neither layout always finds the caches as the other left them.
        for key in work if number % 2 == 0 else reversed(work):
            times[key].append(seconds(work[key]))
    updates = ours.run.config.OPTIMIZATION.d_updates_per_step
    rounds = [{key: times[key][number] for key in work} for number in range(pairs)]
    return _rows(rounds, updates, ours.run.batch_size)


def _side(settings: Settings, memory_format: torch.memory_format) -> Side:
    plugins = plugin_manager(dia=False, noise=NoiseImages(64 if settings.quick else 1_000))
    small: dict[str, Any] = {"MODEL__g_conv_dim": 4, "MODEL__d_conv_dim": 4}
    small |= {"OPTIMIZATION__batch_size": 8}
    config = packaged(
        "cifar10_sngan", plugins, DATA__name="noise32", **(small if settings.quick else {})
    )
    return Side(untrained(config, plugins), memory_format)


def _rows(rounds: list[_Round], updates: int, batch: int) -> list[Row]:
    def both(cost: Callable[[_Round, str], float]) -> Pair:
        return Pair(*([cost(each, side) for each in rounds] for side in ("ours", "theirs")))

    def phase1(each: _Round, side: str) -> float:
        return updates * each[side, "D"] + each[side, "G"]

    def extra(each: _Round, side: str) -> float:
        """What the auxiliary discriminator adds to a step, with fakes of its own on their side."""
        own = each[side, "fakes"] if side == "theirs" else 0.0
        return updates * (each[side, "auxiliary"] + own)

    def saved(each: _Round, network: str) -> float:
        return each["adam", f"plain {network}"] - each["adam", f"fused {network}"]

    def phase2(each: _Round, side: str) -> float:
        slower = 2 * updates * saved(each, "discriminator") + saved(each, "generator")
        return phase1(each, side) + extra(each, side) + (slower if side == "theirs" else 0.0)

    def rates(pair: Pair) -> Pair:
        return Pair([1 / each for each in pair.ours], [1 / each for each in pair.theirs])

    label = f"SNGAN-32, batch {batch}"
    networks = ("discriminator", "generator")
    adam = Pair(
        *(
            [sum(each["adam", f"{kind} {name}"] for name in networks) for each in rounds]
            for kind in ("fused", "plain")
        )
    )
    shared = Pair(
        [each["ours", "auxiliary"] for each in rounds],
        [each["ours", "auxiliary"] + each["ours", "fakes"] for each in rounds],
    )
    milliseconds: dict[str, Any] = {"unit": "ms", "scale": 1e3}
    return [
        both(phase1).row(NAME, f"{label}: channels-last, D and G", _NO_LOSS, **milliseconds),
        adam.row(NAME, f"{label}: fused Adam, its steps of D and G", _NO_LOSS, **milliseconds),
        shared.row(NAME, f"{label}: shared fakes, auxiliary D", _NO_LOSS, **milliseconds),
        rates(both(phase1)).row(
            NAME, f"{label}: phase 1", unit="steps/s", note="theirs: without channels-last"
        ),
        rates(both(phase2)).row(
            NAME, f"{label}: phase 2", unit="steps/s", note="theirs: without any of the three"
        ),
    ]
