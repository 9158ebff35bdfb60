"""What a run will cost, told within seconds: by a few updates, a few passes, or counting.

Networks are thrown away afterwards, and no plugin's hook is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import mul
from statistics import mean
from typing import Any

import torch
from torch.nn.functional import conv2d

from gan_registry.plugins import PluginManager
from gan_registry.records import Real
from gan_registry.training.build import build_networks, build_optimizers, build_stream
from gan_registry.training.run import Run
from gan_registry.training.updates import update_discriminator, update_generator
from gan_registry.training.weightless import META, operations, weightless

_BUDGET = 5.0
"""Seconds that the measuring may take, about."""

_TIMED_UPDATES = 5
_LONG_UPDATE = 1.0  # seconds from which an update is estimated instead
_TRIED = 2  # samples of the first pass for an estimate; batch norm needs two
_LONG_PASS = 0.25  # seconds of a pass that tell enough; one that takes longer is not even tried


@dataclass(frozen=True)
class Cost:
    """Seconds of a step, and of one sample's pass through D; how they are known, in brackets."""

    step: float
    sample: float
    said: str = ""


def measure(described: Run) -> Cost:
    """Tells the cost of a run, from one without its plugins on the same data.

    - A few updates are measured.
    - Where an update takes long, it is estimated from forward passes of a few samples.
    - Where even these take long, from the operations of a forward pass, by the speed of a
      convolution on this machine: networks are somewhat slower, by up to a half.
    """
    config, bare = described.config, PluginManager(load_entry_points=False)
    bare.catalogs = described.plugins.catalogs
    plain = config.model_copy(deep=True)
    # A plugin's sampler or objective may ask for what its hooks would have set up.
    plain.RUN.sampler, plain.RUN.samples = "uniform", "plain"
    plain.LOSS.objective = "adversarial"
    run = Run(plain, bare, {}, None)
    run.dataset = described.dataset
    build_stream(run)
    counted = _counted(run)
    if counted is not None and _TRIED * sum(counted) > _LONG_PASS:
        said = " (estimated from the operations of its networks)"
        return Cost(_step(run, *counted), counted[1], said)
    build_networks(run)
    build_optimizers(run)

    started = time.perf_counter()
    batch = run.stream.next()
    generated, judged = _time_passes(run, batch)
    if max(_expected(run, generated, judged)) > _LONG_UPDATE:
        said = " (estimated from forward passes)"
        return Cost(_step(run, generated, judged), judged, said)

    def timed(update: Any) -> float:
        begun = time.perf_counter()
        update(run, 0)
        _wait(run.device)
        return time.perf_counter() - begun

    updates = update_discriminator, update_generator
    first = [timed(update) for update in updates]  # they pay for memory and kernels
    warm: list[list[float]] = []
    while len(warm) < _TIMED_UPDATES:
        spent = time.perf_counter() - started
        if spent + sum(warm[-1] if warm else first) > _BUDGET:
            break
        run.step += 1  # as lazy regularisers are due at some only
        warm.append([timed(update) for update in updates])
    seconds = [mean(of_one) for of_one in zip(*(warm or [first]), strict=True)]
    if judged * len(batch.x) < _LONG_UPDATE:
        judged = _seconds(run, partial(run.discriminator, batch.x, batch.y)) / len(batch.x)
    return Cost(sum(map(mul, _numbers(run), seconds)), judged)


def _numbers(run: Run) -> tuple[int, int]:
    settings = run.config.OPTIMIZATION
    return settings.d_updates_per_step, settings.g_updates_per_step


def _expected(run: Run, generated: float, judged: float) -> tuple[float, float]:
    """Returns the seconds of D's and of G's update, from those of a sample's forward passes.

    A backward pass costs about two forward ones. D's update: G forward, D forward and backward on
    real and on generated samples. G's: both networks forward and backward.
    """
    settings = run.config.OPTIMIZATION
    samples = settings.batch_size * settings.acml_steps // run.world_size
    return samples * (generated + 6 * judged), samples * 3 * (generated + judged)


def _step(run: Run, generated: float, judged: float) -> float:
    return float(sum(map(mul, _numbers(run), _expected(run, generated, judged))))


def _counted(run: Run) -> tuple[float, float] | None:
    """Returns the seconds of a sample's forward pass through G and through D, without any pass.

    None where the networks do not work without weights.
    """
    device, run.device = run.device, META
    try:
        with weightless():
            build_networks(run, trained=False)
            z = torch.empty(_TRIED, run.backbone.z_dim)
            conditional = getattr(run.backbone, "conditional", False)
            y = torch.empty(_TRIED, dtype=torch.int64) if conditional else None
            x = torch.empty(_TRIED, *run.dataset.sample_shape)
        passes = operations(run.generator, z, y), operations(run.discriminator, x, y)
    except Exception:  # those of others may compute while they are made
        return None
    finally:
        run.device = device
    rate = _TRIED * _operations_a_second(run)
    return passes[0] / rate, passes[1] / rate


def _operations_a_second(run: Run) -> float:
    """Measures the speed of a convolution of 64 by 64 channels on this machine."""
    x, weight = (torch.ones(size, device=run.device) for size in ((8, 64, 32, 32), (64, 64, 3, 3)))
    took = min(_seconds(run, partial(conv2d, x, weight, padding=1)) for _ in range(4))
    return float(2 * x.numel() * weight[0].numel() / max(took, 1e-9))


def _time_passes(run: Run, batch: Real) -> tuple[float, float]:
    """Returns the seconds of a sample's forward pass through G and through D.

    More samples at a time take less each, so their number grows until a pass takes long enough.
    """
    n = min(_TRIED, len(batch.x))
    warm = False
    while True:
        z, y = run.latents(n, "plan"), run.labels(n, "plan")
        x, labels = batch.x[:n], None if batch.y is None else batch.y[:n]
        seconds = (
            _seconds(run, partial(run.generator, z, y)),
            _seconds(run, partial(run.discriminator, x, labels)),
        )
        if warm:
            if sum(seconds) >= _LONG_PASS or n == len(batch.x):
                return seconds[0] / n, seconds[1] / n
            n = min(4 * n, len(batch.x))
        warm = True  # the first passes paid for memory and kernels


def _seconds(run: Run, call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    with torch.no_grad(), run.precision.autocast():
        call()
    _wait(run.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
