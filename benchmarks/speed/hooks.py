"""The hooks where no plugin uses them: their share of a step of the smallest network.

The calls that one step makes are recorded, and replayed by themselves many times: their cost lies
far below the noise of a step's time, so a difference of two steps could not show it.

A step with `dia` loaded but not asked for has no aim. The last rows are the whole step of the host,
seeds, health and all, against a loop written by hand that does the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.harness import Pair, Row, Settings, alternate, at_most, seconds
from benchmarks.speed.setups import packaged, plugin_manager, untrained
from gan_registry.dispatch import Dispatcher
from gan_registry.training.run import Run
from gan_registry.training.step import train_step

NAME = "hooks"
_SHARE = 0.03
Call = Callable[[], object]


class Recorder:
    """Stands in for a dispatcher, and remembers the calls made to it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.dispatcher, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append(lambda: method(*arguments, **keywords))
            return method(*arguments, **keywords)

        return call


def run(settings: Settings) -> list[Row]:
    """Measures on the `gaussian` configuration: two MLPs for points in the plane."""
    steps, replays = (5, 50) if settings.quick else (30, 2_000)
    pairs = settings.pairs(5)
    bare = _run(dia=False)
    recorder = Recorder(bare.hooks)
    bare.hooks = recorder  # type: ignore[assignment]
    train_step(bare)
    bare.hooks = recorder.dispatcher

    def replay() -> None:
        for _ in range(replays):
            for call in recorder.calls:
                call()

    many = _times(lambda: train_step(bare), steps)
    many()
    measured = Pair(
        [seconds(replay) / replays for _ in range(pairs)],
        [seconds(many) / steps for _ in range(pairs)],
    ).row(
        NAME, "hooks without plugins, a step of the mlp", unit="µs", scale=1e6,
        note=f"{len(recorder.calls)} calls of the dispatcher a step",
    )  # fmt: skip
    assert measured.ratio is not None
    rows = [_with_aim(measured, measured.ratio)]

    idle = _run(dia=True)
    pair = alternate(_times(lambda: train_step(idle), steps), many, pairs)
    rows.append(
        pair.row(
            NAME, "a step with dia loaded but idle, against none", unit="µs", scale=1e6 / steps
        )
    )
    for name in ("gaussian",) if settings.quick else ("gaussian", "gmm25", "colored_digits"):
        host, by_hand = _run(dia=False, name=name), hand_written_step(_run(dia=False, name=name))
        few = 2 if settings.quick else 10
        pair = alternate(_times(partial(train_step, host), few), _times(by_hand, few), 3 * pairs)
        label = f"{name}: a step of the host, against a loop by hand"
        rows.append(pair.row(NAME, label, at_most(1.05), unit="µs", scale=1e6 / few))
    return rows


def _with_aim(row: Row, share: float) -> Row:
    return Row(
        row.benchmark, row.name, row.ours, row.theirs, row.unit, share,
        f"≤ {_SHARE:g}×", share <= _SHARE, row.note,
    )  # fmt: skip


def _run(*, dia: bool, name: str = "gaussian") -> Run:
    plugins = plugin_manager(dia=dia)
    return untrained(packaged(name, plugins), plugins)


def _times(work: Call, steps: int) -> Call:
    def many() -> None:
        for _ in range(steps):
            work()

    return many


def hand_written_step(run: Run) -> Call:
    """Returns a step as one would write it for this GAN alone, with the run's networks and data."""
    g, d, data = run.generator, run.discriminator, run.dataset
    opt_g, opt_d = run.optimizers["generator"], run.optimizers["discriminator"]
    size, z_dim = run.batch_size, run.backbone.z_dim
    rng = torch.Generator()
    shuffler = np.random.default_rng(0)
    order, start = shuffler.permutation(len(data)), 0

    def latents() -> Tensor:
        return torch.randn(size, z_dim, generator=rng)

    def step() -> None:
        nonlocal order, start
        if start + size > len(order):
            order, start = shuffler.permutation(len(data)), 0
        x, _ = data.__getitems__(order[start : start + size])
        start += size
        opt_d.zero_grad()
        with torch.no_grad():
            fake = g(latents())
        torch.autograd.backward(F.softplus(-d(x)).mean() + F.softplus(d(fake)).mean())
        opt_d.step()
        opt_g.zero_grad()
        d.requires_grad_(False)
        torch.autograd.backward(F.softplus(-d(g(latents()))).mean())
        d.requires_grad_(True)
        opt_g.step()

    return step
