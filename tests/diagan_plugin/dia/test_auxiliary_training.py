"""The auxiliary discriminator is trained as D is: regularised, and at its learning rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import nn

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.auxiliary import auxiliary_loss, is_logistic
from diagan_plugin.dia.options import AUXILIARY
from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.hookspecs import hookimpl
from gan_registry.losses.logistic import Logistic
from gan_registry.records import Fake, Real
from gan_registry.training.discriminator_regularization import DiscriminatorRegularization

DIA = {"record_every": 1, "window": 2, "phase1": 0.5}


def train(folder=None, dia=None, **settings):
    plugin = DiaPlugin()
    config = points_config(RUN__sampler="dia", **settings)
    plugins = manager(dia=plugin)
    options = plugins.options.resolve({"dia": {**DIA, **(dia or {})}})
    run = fit(config, folder, plugins, **options)
    return run, plugin.driver(run)


@pytest.fixture
def asked(monkeypatch):
    """Which discriminators were regularised, with the number of their update."""
    seen = []
    terms, lazy = DiscriminatorRegularization.terms, DiscriminatorRegularization.lazy_terms

    def noted_terms(self, real, fake, real_out, fake_out, update, piece=0):
        found = terms(self, real, fake, real_out, fake_out, update, piece)
        seen.append((self._name, "terms", update, found is not None))
        return found

    def noted_lazy(self, reals, update):
        found = lazy(self, reals, update)
        seen.append((self._name, "lazy", update, bool(found)))
        return found

    monkeypatch.setattr(DiscriminatorRegularization, "terms", noted_terms)
    monkeypatch.setattr(DiscriminatorRegularization, "lazy_terms", noted_lazy)
    return seen


def of_auxiliary(seen, what):
    return [
        (update, acts) for name, kind, update, acts in seen if (name, kind) == (AUXILIARY, what)
    ]


def test_each_update_is_penalised_as_d_s(asked):
    train(LOSS__apply_gp=True)
    assert of_auxiliary(asked, "terms") == [(0, True), (1, True), (2, True)]


def test_lazy_intervals_count_its_own_updates(asked):
    settings = {
        "LOSS__apply_r1_reg": True, "LOSS__r1_place": "outside_loop", "STYLEGAN__d_reg_interval": 2,
        "OPTIMIZATION__total_steps": 12,
    }  # fmt: skip
    train(dia={"aux_every": 2}, **settings)
    # Every second of D's 6 updates of phase 2 trains it: 3 updates, of which the first and third.
    assert of_auxiliary(asked, "lazy") == [(0, True), (1, False), (2, True)]


def test_without_regularisers_the_loss_alone_is_trained_on(asked):
    train()
    assert of_auxiliary(asked, "terms") == [(0, False), (1, False), (2, False)]


class Added:
    """Adds a known term to the loss, and a lazy one."""

    def __init__(self, network: nn.Module, weight: float = 0.5, lazy: bool = False) -> None:
        self.network, self.weight, self.lazy, self.steps = network, weight, lazy, 0

    def terms(self, real, fake, real_out, fake_out, update, piece=0):
        assert isinstance(real, Real)
        assert isinstance(fake, Fake)
        return self.weight * (real_out.square().mean() + fake_out.square().mean())

    def lazy_terms(self, reals, update):
        if not self.lazy:
            return []
        return [lambda real=real: self.network(real.x).square().mean() for real in reals]

    def stepped(self):
        self.steps += 1


@pytest.mark.parametrize("pieces", [1, 2])
def test_one_step_is_that_of_the_loss_with_what_is_added(pieces):
    torch.manual_seed(0)
    d = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(d.parameters(), 0.1)
    made = []

    def added(network):
        made.append(Added(network))
        return made[0]

    auxiliary = AuxiliaryDiscriminator(
        d, optimizer, Logistic(lambda out: out.squeeze(1)), 8, seed=0, added=added
    )
    assert made[0].network is auxiliary.discriminator
    real, fake = torch.randn(8, 2), torch.randn(8, 2)
    expected = nn.Linear(2, 1)
    expected.load_state_dict(d.state_dict())
    by_hand = torch.optim.SGD(expected.parameters(), 0.1)
    a, b = expected(real), expected(fake)
    loss = nn.functional.softplus(-a).mean() + nn.functional.softplus(b).mean()
    (loss + 0.5 * (a.square().mean() + b.square().mean())).backward()
    by_hand.step()
    losses = auxiliary.step(list(real.chunk(pieces)), list(fake.chunk(pieces)))
    for own, other in zip(auxiliary.discriminator.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    torch.testing.assert_close(losses.real + losses.fake, loss.detach())
    assert made[0].steps == 1


def test_each_kind_is_averaged_over_its_own_number():
    torch.manual_seed(0)
    d = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(d.parameters(), 0.1)
    loss = Logistic(lambda out: out.squeeze(1))
    real, fake = torch.randn(4, 2), torch.randn(8, 2)
    plain, regularised = (
        AuxiliaryDiscriminator(d, optimizer, loss, 8, seed=0, added=added)
        for added in (None, lambda network: Added(network, weight=0.0))
    )
    expected, found = plain.step(real, fake), regularised.step(real, fake)
    torch.testing.assert_close(found.real, expected.real)
    torch.testing.assert_close(found.fake, expected.fake)
    networks = regularised.discriminator.parameters(), plain.discriminator.parameters()
    for own, other in zip(*networks, strict=True):
        torch.testing.assert_close(own, other)


def test_a_lazy_term_is_minimised_in_a_step_of_its_own():
    torch.manual_seed(0)
    d = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(d.parameters(), 0.1)
    loss = Logistic(lambda out: out.squeeze(1))
    real, fake = torch.randn(8, 2), torch.randn(8, 2)

    def step(added):
        auxiliary = AuxiliaryDiscriminator(d, optimizer, loss, 8, seed=0, added=added)
        auxiliary.step(real, fake)
        return auxiliary.discriminator

    without = step(lambda network: Added(network, weight=0.0))
    by_hand = torch.optim.SGD(without.parameters(), 0.1)
    without.zero_grad()
    without(real).square().mean().backward()
    by_hand.step()
    lazy = step(lambda network: Added(network, weight=0.0, lazy=True))
    for own, other in zip(lazy.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(own, other)


class Rates:
    def __init__(self):
        self.seen = []

    @hookimpl
    def gan_discriminator_updated(self, run):
        if AUXILIARY in run.additions:
            optimizers = run.optimizers["discriminator"], run.additions[f"{AUXILIARY}_optimizer"]
            self.seen.append([o.param_groups[0]["lr"] for o in optimizers])


def test_its_learning_rate_is_d_s_at_each_step():
    spy = Rates()
    config = points_config(RUN__sampler="dia", OPTIMIZATION__lr_decay="linear")
    fit(config, None, manager(dia=DiaPlugin(), rates=spy), dia=DIA)
    expected = [1e-3 * (1 - step / 6) for step in (3, 4, 5)]
    assert spy.seen == [pytest.approx([rate, rate]) for rate in expected]


@pytest.mark.parametrize(
    ("loss", "chosen", "logistic"),
    [
        ("hinge", "auto", True), ("wasserstein", "auto", True), ("logistic", "auto", False),
        ("hinge", "run", False), ("logistic", "logistic", True), ("least_square", "auto", False),
    ],
)  # fmt: skip
def test_the_loss_is_logistic_where_the_run_s_has_no_ratio(loss, chosen, logistic):
    run, driver = train(LOSS__adv_loss=loss, LOSS__apply_wc=True, dia={"aux_loss": chosen})
    assert is_logistic(run) is logistic
    assert (type(auxiliary_loss(run)) is Logistic) is (logistic or loss == "logistic")
    assert type(driver.auxiliary.loss) is type(auxiliary_loss(run))


@pytest.mark.parametrize(
    "settings",
    [
        {"LOSS__apply_gp": True}, {"LOSS__apply_lecam": True, "LOSS__lecam_ema_start_iter": 0},
        {"LOSS__apply_r1_reg": True, "LOSS__r1_place": "outside_loop"},
    ],
)  # fmt: skip
def test_a_regularised_one_resumes_bit_for_bit(tmp_path, settings):
    settings |= {"RUN__save_freq": 4, "OPTIMIZATION__total_steps": 8}
    whole, _ = train(tmp_path / "whole", **settings)
    train(tmp_path / "parts", **settings)
    sorted((tmp_path / "parts" / "checkpoints").iterdir())[-1].unlink()
    resumed, _ = train(tmp_path / "parts", **settings)
    assert resumed.first_step == 4
    assert_equal_runs(whole, resumed)


def spread_of_corrected(chosen: str, seed: int) -> float:
    """Standard deviation that an auxiliary D's ratio gives to samples of N(0, 1.5²) as N(0, 1)."""
    from diagan_plugin.postprocessing.rejection import RejectionSampler
    from gan_registry.losses.hinge import Hinge

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)

    def features(x):
        return torch.cat([x, x.square()], 1)

    d = nn.Linear(2, 1)
    loss = {"hinge": Hinge, "logistic": Logistic}[chosen](lambda out: out.squeeze(1))
    data = torch.randn(4000, 1, generator=generator)
    auxiliary = AuxiliaryDiscriminator(
        d, torch.optim.Adam(d.parameters(), 0.02), loss, 4000, seed=seed,
        forward=lambda network, x, y: network(features(x)),
    )  # fmt: skip
    for _ in range(1500):
        fake = 1.5 * torch.randn(256, 1, generator=generator)
        auxiliary.step(lambda rows: (data[torch.from_numpy(rows)], None), fake)

    @torch.no_grad()
    def propose(n):
        x = 1.5 * torch.randn(n, 1, generator=generator)
        return x, auxiliary.discriminator(features(x)).squeeze(1)

    sampler = RejectionSampler(propose, rng=generator, gamma=0.0, burn_in=2000)
    x = torch.cat([batch.x for batch in sampler.sample(20_000)])
    return float(x.std())


def test_a_logistic_one_gives_corrected_samples_the_spread_of_the_data():
    spreads = [spread_of_corrected("logistic", seed) for seed in range(3)]
    assert np.abs(np.array(spreads) - 1).max() < 0.08, spreads
    assert math.isfinite(sum(spreads))


def test_a_loop_s_own_penalty_is_the_auxiliary_d_s_as_well():
    from torch.utils.data import TensorDataset

    from diagan_plugin import Dia

    seen = []

    def penalty(network, real, fake):
        seen.append((network, real.shape, fake.shape))
        return network(real).square().mean()

    torch.manual_seed(0)
    d = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(d.parameters(), 0.1)
    dia = Dia(
        TensorDataset(torch.randn(40, 2)), total_steps=6, batch_size=8, record_every=1, window=2,
        phase1=0.5, aux="uniform", penalty=penalty,
    )  # fmt: skip
    for step in range(6):
        dia.sweep(d)
        dia.update(d, optimizer, torch.arange(8), torch.randn(8, 2))
        dia.step()
        assert len(seen) == max(step - 2, 0)
    network = seen[0][0]
    assert {id(each) for each, *_ in seen} == {id(network)}
    assert network is not d
    assert seen[0][1:] == ((8, 2), (8, 2))
