"""Training, sampling and hosts do not wait for a GPU: on a machine without one, and on one with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gaussian_proposals import gaussians
from small_runs import digits_config, fit, manager, points_config
from synchronisation import ForbidSynchronisation, OnDevice, travelling
from torch import Tensor

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.progress import is_due
from diagan_plugin.hosts.studiogan.updates import Updates
from diagan_plugin.postprocessing.budgeted import BudgetedRejectionSampler
from diagan_plugin.postprocessing.metropolis_hastings import MetropolisHastingsSampler
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.postprocessing.threshold import ThresholdSampler
from diagan_plugin.remedies.gold import GoldPlugin
from diagan_plugin.remedies.loss_weighting.plugin import LossWeightingPlugin
from diagan_plugin.remedies.mixtures.mix_gan import MixGanPlugin
from diagan_plugin.remedies.mixtures.mix_plus_gan import MixPlusGanPlugin
from diagan_plugin.remedies.mode_seeking import ModeSeekingPlugin
from diagan_plugin.remedies.pacgan.plugin import PacGanPlugin
from diagan_plugin.remedies.top_k import TopKPlugin
from gan_registry import dispatch_values
from gan_registry.arriving import Arriving, read_scalars
from gan_registry.config.schema import Config
from gan_registry.records import Real
from gan_registry.training import trainer
from gan_registry.training.run import Run

STEPS, LOG = 24, 100
QUIET = {"OPTIMIZATION__total_steps": STEPS, "RUN__print_freq": LOG}


def points(**changes: Any) -> Config:
    return points_config(**{**QUIET, **changes})


def digits(**changes: Any) -> Config:
    return digits_config(**{**QUIET, **changes})


HEAVY = {
    "LOSS__apply_r1_reg": True, "LOSS__r1_place": "outside_loop", "LOSS__apply_lecam": True,
    "LOSS__apply_gp": True, "LOSS__apply_fm": True, "LOSS__apply_zcr": True,
    "OPTIMIZATION__acml_steps": 2, "OPTIMIZATION__d_updates_per_step": 2,
    "MODEL__apply_g_ema": True, "MODEL__g_ema_start": 0,
}  # fmt: skip
DIA = {"record_every": 100, "window": 2, "phase1": 0.5}

CASES: dict[str, Callable[[], tuple[Config, dict[str, Any], dict[str, Any]]]] = {
    "plain": lambda: (digits(), {}, {}),
    "flips": lambda: (digits(PRE__apply_rflip=True), {}, {}),
    "regularised": lambda: (points(**HEAVY), {}, {}),
    "consistent": lambda: (digits(LOSS__apply_bcr=True, AUG__bcr_aug_type="bcr"), {}, {}),
    "weighted": lambda: (
        points(DATA__options={"num_samples": 32}),
        {"dia": DiaPlugin(), "loss_weighting": LossWeightingPlugin()},
        {"loss_weighting": {"by": "ldr"}, "dia": {**DIA, "record_every": 1, "phase1": 0.25}},
    ),
    "streaming": lambda: (
        points(DATA__options={"num_samples": 32}), {"dia": DiaPlugin()},
        {"dia": {**DIA, "diagnose": True, "record": "stream"}},
    ),
    **{
        f"phase 2, {mode}": lambda mode=mode: (
            points(DATA__options={"num_samples": 32}, RUN__sampler="dia"), {"dia": DiaPlugin()},
            {"dia": {**DIA, "record_every": 1, "phase1": 0.25, "aux": mode}},
        )
        for mode in ("uniform", "importance")
    },
    "gold": lambda: (points(), {"gold": GoldPlugin()}, {"gold": {"enabled": True, "start": 0.2}}),
    "top_k": lambda: (points(), {"top_k": TopKPlugin()}, {"top_k": {"enabled": True}}),
    "mode_seeking": lambda: (
        points(), {"mode_seeking": ModeSeekingPlugin()}, {"mode_seeking": {"weight": 0.05}},
    ),
    "pacgan": lambda: (points(), {"pacgan": PacGanPlugin()}, {"pacgan": {"size": 2}}),
    "mix_gan": lambda: (
        points(), {"mix_gan": MixGanPlugin()}, {"mix_gan": {"generators": 2, "discriminators": 2}},
    ),
    "mix_plus_gan": lambda: (
        points(LOSS__objective="mix_plus"), {"mix_plus_gan": MixPlusGanPlugin()},
        {"mix_plus_gan": {"generators": 2, "discriminators": 2}},
    ),
}  # fmt: skip


def busy_steps(case: str, watch: Callable[[], Any], patch: pytest.MonkeyPatch, device: str) -> int:
    """Trains, with each step watched that neither reports nor is one of the first; counts these."""
    config, plugins, options = CASES[case]()
    config.RUN.device = device  # type: ignore[assignment]
    step, seen = trainer.train_step, 0

    def watched(run: Run) -> None:
        nonlocal seen
        # Some things are made once; Dia's verdict so far is read ten times a run.
        if run.step < 2 or run.step == STEPS - 1 or is_due(run.step + 1, STEPS):
            step(run)
            return
        with watch():
            step(run)
        seen += 1

    patch.setattr(trainer, "train_step", watched)
    fit(config, plugins=manager(**plugins), **_completed(plugins, options))
    return seen


def _completed(plugins: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    resolved = manager(**plugins).options.resolve(options)
    return {name: dict(values) for name, values in resolved.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_step_never_waits_for_the_device(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: True)  # as on a GPU
    assert busy_steps(case, ForbidSynchronisation, monkeypatch, "cpu") == STEPS // 2 - 1


@contextmanager
def counted() -> Iterator[None]:
    """Fails on each operation that CUDA itself counts as a synchronisation."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
    texts = [str(each.message) for each in caught]
    found = [text for text in texts if "synchroniz" in text]
    assert not found, f"{len(found)} synchronisations, e.g. {found[0]}"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("case", CASES)
def test_a_step_on_a_gpu_has_no_synchronisation(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert busy_steps(case, counted, monkeypatch, "cuda") == STEPS // 2 - 1


# ------------------------------------------------------------------ reading numbers


def test_scalars_of_a_log_line_are_read_together() -> None:
    values = {
        "a": torch.tensor(0.1), "text": "x", "b": torch.tensor([2.5]), "n": torch.tensor(2**60 + 1),
        "half": torch.tensor(0.1, dtype=torch.bfloat16), "flag": torch.tensor(True), "c": 3,
    }  # fmt: skip
    found = read_scalars(values)
    assert list(found) == list(values)
    expected = {k: v.item() if isinstance(v, Tensor) else v for k, v in values.items()}
    assert found == expected
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


def test_a_log_line_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run, reads = fit(points()), []
    run.log({f"loss/{n}": torch.tensor(float(n)) for n in range(5)})
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: reads.append(self.shape) or tolist(self))
    monkeypatch.setattr(Tensor, "item", lambda self: pytest.fail("one by one"))
    assert run.take_log() == {f"loss/{n}": float(n) for n in range(5)}
    assert reads == [(5,)]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_values_arrive_from_a_gpu() -> None:
    values = torch.arange(5.0, device="cuda")
    with counted():
        coming = Arriving(values * 2)
    assert coming.travels
    assert coming.read().tolist() == [0, 2, 4, 6, 8]
    assert coming.has_arrived


# ------------------------------------------------------------------ samplers

SAMPLERS: dict[str, Callable[..., Any]] = {
    "rejection": lambda propose, rng: RejectionSampler(propose, rng=rng, burn_in=600),
    "per batch": lambda propose, rng: RejectionSampler(
        propose, rng=rng, burn_in=600, per_batch=True
    ),
    "budgeted": lambda propose, rng: BudgetedRejectionSampler(propose, rng=rng, burn_in=600),
    "threshold": lambda propose, rng: ThresholdSampler(propose, burn_in=600),
}


def sampled(name: str, on_device: bool) -> tuple[Tensor, int]:
    """Draws 1,000 samples; returns them and how many were proposed."""
    propose, made = gaussians(1), 0

    def proposed(n: int) -> tuple[Tensor, ...]:
        nonlocal made
        made += n
        drawn = propose(n)
        return tuple(each.as_subclass(OnDevice) for each in drawn) if on_device else drawn

    sampler = SAMPLERS[name](proposed, torch.Generator().manual_seed(2))
    parts = [batch.x for batch in sampler.sample(1000)]
    assert all(isinstance(part, OnDevice) for part in parts) == on_device
    return torch.cat([part.as_subclass(Tensor) for part in parts]), made


@pytest.mark.parametrize("name", SAMPLERS)
def test_rejection_reads_each_batch_while_the_next_is_made(name: str) -> None:
    plain, made = sampled(name, on_device=False)
    with travelling() as reads:
        ahead, made_ahead = sampled(name, on_device=True)
    assert torch.equal(plain, ahead)
    assert made_ahead == made + 256
    # What comes before, where there is a burn-in, is read at once.
    assert reads == [768] + [256] * (made // 256 - 3)


def test_a_chain_is_read_at_its_end_alone() -> None:
    propose, noise = gaussians(1), torch.Generator().manual_seed(2)
    sampler = MetropolisHastingsSampler(
        lambda n: tuple(each.float() for each in propose(n)), rng=noise, steps=30,
        initial=lambda n: torch.zeros(n),
    )  # fmt: skip
    step, steps = sampler._tallied, 0

    def tallied(count: int) -> Any:
        nonlocal steps
        steps += 1
        with ForbidSynchronisation():
            return step(count)

    sampler._tallied = tallied  # type: ignore[method-assign]
    decide = sampler._decide

    def decided(current: Tensor, proposed: Tensor) -> Tensor:
        with ForbidSynchronisation():
            return decide(current, proposed)

    sampler._decide = decided  # type: ignore[method-assign]
    assert sum(len(batch.x) for batch in sampler.sample(256)) == 256
    assert steps >= 30


# ------------------------------------------------------------------ StudioGAN


def test_pseudo_augmentation_is_read_while_d_works() -> None:
    seen: list[tuple[Real, Tensor]] = []

    class Host:
        device = torch.device("cpu")
        hooks = SimpleNamespace(
            implements=lambda name: False,
            real_logits=lambda run, real, logits: seen.append((real, logits)),
        )

    updates = Updates(Host())  # type: ignore[arg-type]
    before = torch.arange(12.0).view(6, 2)
    after = before.clone()
    after[[1, 4]] = -1.0
    logits = torch.arange(6.0).as_subclass(OnDevice)
    real = Real(
        torch.arange(10, 16), before.as_subclass(OnDevice), torch.arange(6).as_subclass(OnDevice)
    )
    updates.phase = "discriminator"
    with travelling() as reads:
        updates.replaced(before.as_subclass(OnDevice), after.as_subclass(OnDevice))
        assert not reads
        updates.show(real, logits)
        assert reads == [6]
        updates.show(real, logits)  # nothing was replaced since
    (shown, kept), (whole, _) = seen
    assert shown.indices.tolist() == [10, 12, 13, 15]
    assert shown.x.as_subclass(Tensor)[:, 0].tolist() == [0.0, 4.0, 6.0, 10.0]
    assert shown.y is not None
    assert shown.y.as_subclass(Tensor).tolist() == kept.as_subclass(Tensor).tolist() == [0, 2, 3, 5]
    assert whole is real
