from __future__ import annotations

import copy
import io
import itertools
import json
import random

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small_runs import fit, manager, points_config
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm as legacy_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.auxiliary.importance import importance_weights
from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.records import Fake, Real
from gan_registry.training.trainer import open_run


class Logistic:
    """Non-saturating logistic terms of a raw output [B] or [B, 1]."""

    def real_terms(self, out: Tensor, y: Tensor | None) -> Tensor:
        return F.softplus(-out.reshape(-1))

    def fake_terms(self, out: Tensor, y: Tensor | None) -> Tensor:
        return F.softplus(out.reshape(-1))


def real(indices, x, y=None):
    return Real(torch.as_tensor(indices), x, y)


def make_net(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            spectral_norm(nn.Linear(3, 8)), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)
        )


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def train_host(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, fake: Tensor) -> None:
    optimizer.zero_grad()
    loss = Logistic()
    total = loss.real_terms(net(x), None).mean() + loss.fake_terms(net(fake), None).mean()
    total.backward()
    optimizer.step()


def host(dropout: float = 0.0, steps: int = 3, **adam):
    net = make_net(dropout=dropout)
    optimizer = torch.optim.Adam(net.parameters(), **{"lr": 0.01, "betas": (0.5, 0.9), **adam})
    for step in range(steps):
        train_host(net, optimizer, randn(4, 3, seed=step), randn(4, 3, seed=100 + step))
    return net, optimizer


def make(net, optimizer, num_samples=20, **kwargs) -> AuxiliaryDiscriminator:
    return AuxiliaryDiscriminator(net, optimizer, Logistic(), num_samples, **{"seed": 0, **kwargs})


def provider(data: Tensor):
    return lambda indices: (data[torch.from_numpy(indices)], None)


def tensors(value) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for key in value for t in tensors(value[key])]
    return [t for item in value for t in tensors(item)] if isinstance(value, (list, tuple)) else []


def equal(a, b) -> bool:
    a, b = tensors(a), tensors(b)
    return len(a) == len(b) > 0 and all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


# --- the copy -----------------------------------------------------------------------------------


def test_the_copy_goes_on_exactly_as_the_host_would_have():
    net, optimizer = host()
    auxiliary = make(net, optimizer)
    x, fake = randn(6, 3, seed=8), randn(6, 3, seed=9)
    auxiliary.step(x, fake)
    train_host(net, optimizer, x, fake)  # weights, moments and power iteration must all agree
    for mine, theirs in (
        (auxiliary.discriminator.state_dict(), net.state_dict()),
        (auxiliary.optimizer.state_dict(), optimizer.state_dict()),
    ):
        torch.testing.assert_close(tensors(mine), tensors(theirs), rtol=1e-5, atol=1e-8)


def test_nothing_of_the_host_changes():
    net, optimizer = host(dropout=0.5)
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    gradients = [p.grad.clone() for p in net.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    auxiliary = make(net, optimizer)
    for _ in range(3):
        auxiliary.step(provider(randn(20, 3)), randn(5, 3))
    assert equal(before, (net.state_dict(), optimizer.state_dict()))
    assert equal(gradients, [p.grad for p in net.parameters()])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tobytes() == states[2]  # noqa: NPY002
    assert not equal(auxiliary.discriminator.state_dict(), net.state_dict())


def test_class_groups_and_flags_of_the_optimizer_are_kept():
    net = make_net()
    groups = [
        {"params": list(net[0].parameters()), "lr": 0.5},
        {"params": list(net[3].parameters()), "weight_decay": 0.1},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, amsgrad=True, foreach=True)
    train_host(net, optimizer, randn(4, 3), randn(4, 3, seed=1))
    copied = make(net, optimizer).optimizer
    assert type(copied) is torch.optim.AdamW
    assert copied is not optimizer
    for mine, theirs in zip(copied.param_groups, optimizer.param_groups, strict=True):
        assert {k: v for k, v in mine.items() if k != "params"} == {
            k: v for k, v in theirs.items() if k != "params"
        }
    fused = torch.optim.Adam(net.parameters(), fused=True)
    assert make(net, fused).optimizer.param_groups[0]["fused"] is True


@pytest.mark.parametrize(
    "optimizer_class",
    [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam],
)
def test_other_optimizers(optimizer_class):
    net = make_net()
    optimizer = optimizer_class(net.parameters(), lr=0.01)
    train_host(net, optimizer, randn(4, 3), randn(4, 3, seed=1))
    auxiliary = make(net, optimizer)
    x, fake = randn(6, 3, seed=8), randn(6, 3, seed=9)
    auxiliary.step(x, fake)
    train_host(net, optimizer, x, fake)
    torch.testing.assert_close(auxiliary.discriminator.state_dict(), net.state_dict())


def test_a_network_that_holds_a_graph_can_be_copied():
    net = nn.Sequential(legacy_spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(net.parameters())
    train_host(net, optimizer, randn(4, 3), randn(4, 3))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)  # the reason why this needs care
    auxiliary = make(net, optimizer)
    x, fake = randn(6, 3, seed=8), randn(6, 3, seed=9)
    auxiliary.step(x, fake)
    train_host(net, optimizer, x, fake)
    torch.testing.assert_close(auxiliary.discriminator.state_dict(), net.state_dict())


def test_parameters_of_other_networks_are_left_out():
    net, other = make_net(), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*other.parameters(), *net.parameters()], lr=0.1, momentum=0.9)
    other(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    auxiliary = make(net, optimizer)
    held = [p for group in auxiliary.optimizer.param_groups for p in group["params"]]
    assert set(held) == set(auxiliary.discriminator.parameters())
    assert set(auxiliary.optimizer.state) <= set(held)
    with pytest.raises(ValueError, match="`optimizer` must hold the parameters"):
        make(net, torch.optim.SGD(other.parameters(), lr=0.1))


def test_a_discriminator_frozen_for_the_generators_turn_is_not_frozen_for_ever():
    net, optimizer = host()
    net.requires_grad_(False)
    auxiliary = make(net, optimizer)
    auxiliary.step(randn(4, 3), randn(4, 3, seed=1))
    assert not equal(auxiliary.discriminator.state_dict(), net.state_dict())
    net.requires_grad_(True)
    net[0].requires_grad_(False)  # as FreezeD does
    copied = make(net, optimizer).discriminator
    assert [p.requires_grad for p in copied.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]


# --- the batches --------------------------------------------------------------------------------


def test_own_batches_visit_every_sample_once_an_epoch():
    net, optimizer = host()
    auxiliary, seen = make(net, optimizer, num_samples=20), []

    def record(indices):
        seen.append(indices)
        return randn(len(indices), 3), None

    for _ in range(8):
        auxiliary.step(record, randn(5, 3))
    epochs = np.concatenate(seen).reshape(2, 20)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.arange(20), (2, 1)))
    assert not np.array_equal(epochs[0], epochs[1])


def test_own_batches_follow_from_seed_and_number_of_the_update():
    net, optimizer = host()
    first, again = make(net, optimizer), make(net, optimizer)
    again.calls = first.calls = 7
    first.indices(5)
    again.calls = 3
    again.indices(5)
    again.calls = 7
    assert np.array_equal(first.indices(5), again.indices(5))
    assert not np.array_equal(first.indices(5), make(net, optimizer, seed=1).indices(5))


def test_the_union_over_ranks_is_the_draw_of_one_process():
    net, optimizer = host()
    single = make(net, optimizer)
    ranks = [make(net, optimizer, rank=r, world_size=3) for r in range(3)]
    for auxiliary in (single, *ranks):
        auxiliary.calls = 4
    union = np.concatenate([auxiliary.indices(2) for auxiliary in ranks])
    assert np.array_equal(union, single.indices(6))


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data, fake = randn(20, 3, seed=5), randn(12, 3, seed=6)
    gradients = []

    def keep(parameters):
        gradients.append([p.grad.double().clone() for p in parameters])

    for batches in (fake, list(fake.split([5, 3, 4]))):
        auxiliary = make(net, optimizer, average_gradients=keep)
        losses = auxiliary.step(provider(data), batches)
        gradients[-1].append(torch.stack(losses).double())
    for one, many in zip(*gradients, strict=True):
        torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-7)


def test_the_gradient_is_that_of_the_two_means_by_hand():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 0.5)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    auxiliary = make(net, optimizer)
    losses = auxiliary.step(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0]]))

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    gradient = np.mean([-1 * sigmoid(-0.5), -3 * sigmoid(-1.5)]) + 2 * sigmoid(1.0)
    assert auxiliary.discriminator.weight.item() == pytest.approx(0.5 - gradient, rel=1e-5)
    want = np.mean([np.log1p(np.exp(-0.5)), np.log1p(np.exp(-1.5))])
    assert losses.real.item() == pytest.approx(want, rel=1e-5)
    assert losses.fake.item() == pytest.approx(np.log1p(np.exp(1.0)), rel=1e-5)


def test_batches_of_every_form_and_labels():
    class Conditional(nn.Linear):
        def forward(self, x, y=None):
            return super().forward(x) + (0 if y is None else 10 * y[:, None])

    net = Conditional(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = randn(4, 2), torch.arange(4)
    results = []
    for form in ((x, y), Fake(x=x, z=x, y=y), [(x[:2], y[:2]), (x[2:], y[2:])]):
        results.append(make(net, optimizer).step(form, form))
    tupled = tuple(Fake(x=part[0], z=part[0], y=part[1]) for part in form)
    results.append(make(net, optimizer).step(tupled, tupled))
    results.append(make(net, optimizer).step(lambda indices: (x, y), (x, y)))
    for result in results:
        torch.testing.assert_close(result, results[0])
    assert results[0].fake > 10  # labels did reach D


def test_fakes_are_detached():
    net, optimizer = host()
    z = randn(4, 3).requires_grad_()
    make(net, optimizer).step(randn(4, 3), z * 2)
    assert z.grad is None


def test_every_second_call_trains_and_the_stream_skips_nothing():
    net, optimizer = host()
    auxiliary, seen = make(net, optimizer, num_samples=12, every=2), []

    def record(indices):
        seen.append(indices)
        return randn(len(indices), 3), None

    results = [auxiliary.step(record, randn(4, 3)) for _ in range(6)]
    assert [result is not None for result in results] == [True, False] * 3
    assert sorted(np.concatenate(seen)) == list(range(12))


def test_averaging_sees_the_gradients_before_the_step():
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def stop(parameters):
        assert any(p.grad.abs().sum() > 0 for p in parameters)
        for p in parameters:
            p.grad.zero_()

    auxiliary = make(net, optimizer, average_gradients=stop)
    before = [p.clone() for p in auxiliary.discriminator.parameters()]
    auxiliary.step(randn(4, 3), randn(4, 3, seed=1))
    assert equal(before, list(auxiliary.discriminator.parameters()))


# --- saving -------------------------------------------------------------------------------------


def test_resuming_is_bit_equal_with_dropout_and_a_noisy_dataset():
    data = randn(20, 3, seed=3)

    def noisy(indices):
        return data[torch.from_numpy(indices)] + torch.rand(()), None

    net, optimizer = host(dropout=0.5)
    straight = make(net, optimizer, every=2)
    for step in range(9):
        straight.step(noisy, randn(6, 3, seed=step))
    first = make(net, optimizer, every=2)
    for step in range(4):
        first.step(noisy, randn(6, 3, seed=step))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    other = make_net(seed=4, dropout=0.5)
    second = make(other, torch.optim.Adam(other.parameters(), 0.01), every=2)
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(4, 9):
        second.step(noisy, randn(6, 3, seed=step))
    assert equal(straight.state_dict(), second.state_dict())
    assert second.calls == 9


def test_a_foreign_state_is_refused():
    net, optimizer = host()
    state = make(net, optimizer, num_samples=20).state_dict()
    with pytest.raises(ValueError, match="`state` must have num_samples 21, but got 20"):
        make(net, optimizer, num_samples=21).load_state_dict(state)
    with pytest.raises(ValueError, match="`state` must have mode 'importance', but got 'uniform'"):
        make(net, optimizer, mode="importance").load_state_dict(state)
    with pytest.raises(ValueError, match="`state` must have version 1, but got None"):
        make(net, optimizer).load_state_dict({})


# --- importance ---------------------------------------------------------------------------------


def real_gradient(net: nn.Module, batch, probabilities=None) -> Tensor:
    """The gradient an update makes from these reals (its fakes are all zero, so give none)."""
    kept = []
    auxiliary = make(
        net,
        torch.optim.SGD(net.parameters(), lr=0.1),
        num_samples=5,
        mode="uniform" if probabilities is None else "importance",
        average_gradients=lambda parameters: kept.append(parameters[0].grad.double().clone()),
    )
    if probabilities is not None:
        auxiliary.set_probabilities(probabilities)
    auxiliary.step(batch, torch.zeros(1, 3))
    return kept[0]


def test_importance_weighting_is_exactly_unbiased():
    net = nn.Linear(3, 1, bias=False)
    nn.init.constant_(net.weight, 0.4)
    data, p = randn(5, 3, seed=2), np.array([0.5, 0.25, 0.15, 0.08, 0.02])
    weighted = unweighted = torch.zeros(1, 3, dtype=torch.float64)
    for pair in itertools.product(range(5), repeat=2):  # every batch of two there is
        chance, batch = p[pair[0]] * p[pair[1]], real(pair, data[list(pair)])
        weighted = weighted + chance * real_gradient(net, batch, p)
        unweighted = unweighted + chance * real_gradient(net, batch)
    uniform = real_gradient(net, data)
    torch.testing.assert_close(weighted, uniform, rtol=1e-5, atol=1e-7)
    assert (unweighted - uniform).abs().max() > 0.05


def test_importance_weights_have_mean_1_and_the_stated_variance():
    p = np.array([0.5, 0.25, 0.15, 0.08, 0.02])
    weights = importance_weights(p)
    assert (p * weights).sum() == pytest.approx(1)
    net, optimizer = host()
    auxiliary = make(net, optimizer, num_samples=5, mode="importance")
    assert auxiliary.weight_variance is None
    auxiliary.set_probabilities(p)
    assert auxiliary.weight_variance == pytest.approx((p * (weights - 1) ** 2).sum(), rel=1e-6)
    assert np.array_equal(importance_weights(np.full(8, 1 / 8)), np.ones(8))


def test_importance_with_uniform_probabilities_is_uniform_training():
    net, optimizer = host()
    batch, fake = real([3, 1, 2], randn(3, 3, seed=4)), randn(3, 3, seed=5)
    weighted = make(net, optimizer, mode="importance")
    weighted.set_probabilities(np.full(20, 1 / 20))
    plain = make(net, optimizer)
    weighted.step(batch, fake)
    plain.step(batch, fake)
    assert equal(weighted.discriminator.state_dict(), plain.discriminator.state_dict())


def test_importance_is_refused_with_batch_norm():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    optimizer = torch.optim.Adam(net.parameters())
    make(net, optimizer)
    with pytest.raises(ValueError, match=r"batch norm.*statistics of a weighted batch"):
        make(net, optimizer, mode="importance")


def test_importance_needs_indices_and_probabilities():
    net, optimizer = host()
    auxiliary = make(net, optimizer, mode="importance")
    with pytest.raises(ValueError, match="no probabilities"):
        auxiliary.step(real([0], randn(1, 3)), randn(1, 3))
    auxiliary.set_probabilities(np.full(20, 1 / 20))
    with pytest.raises(ValueError, match="no indices"):
        auxiliary.step(randn(1, 3), randn(1, 3))
    with pytest.raises(ValueError, match="but got a function"):
        auxiliary.step(provider(randn(20, 3)), randn(1, 3))
    assert auxiliary.calls == 0


@pytest.mark.parametrize(
    "probabilities",
    [[0.5, 0.5, 0.0], [0.5, 0.6, -0.1], [0.5, float("nan"), 0.5], [0.5, 0.5, 0.5], [[1.0]], []],
)
def test_bad_probabilities(probabilities):
    with pytest.raises(ValueError, match="Argument `probabilities` must"):
        importance_weights(probabilities)
    net, optimizer = host()
    with pytest.raises(ValueError, match="must have length 20, but got 2"):
        make(net, optimizer, mode="importance").set_probabilities([0.5, 0.5])


# --- what it is for -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["uniform", "importance"])
def test_it_learns_the_unweighted_ratio_that_the_hosts_d_forgets(mode):
    # Two kinds of sample, one logit each: 90 % and 10 % of the data. Sampling is weighted to
    # half and half, and the generator follows, so that D's logits go to 0. The unweighted ratio
    # is log(0.9/0.5) and log(0.1/0.5).
    kinds = torch.cat([torch.zeros(900), torch.ones(100)]).long()
    data = F.one_hot(kinds, 2).float()
    p = np.where(kinds.numpy() == 0, 0.5 / 900, 0.5 / 100)
    net = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    nn.init.constant_(net.weight, 0.7)
    auxiliary = make(net, optimizer, num_samples=1000, mode=mode)
    if mode == "importance":
        auxiliary.set_probabilities(p)
    rng = np.random.default_rng(0)
    fake = F.one_hot(torch.arange(500) % 2, 2).float()
    for _ in range(250):
        indices = rng.choice(1000, 500, p=p)
        batch = real(indices, data[indices])
        train_host(net, optimizer, batch.x, fake)
        auxiliary.step(provider(data) if mode == "uniform" else batch, fake)
    host_logits = net.weight.detach().flatten().numpy()
    logits = auxiliary.discriminator.weight.detach().flatten().numpy()
    np.testing.assert_allclose(host_logits, [0, 0], atol=0.25)
    np.testing.assert_allclose(logits, np.log([0.9 / 0.5, 0.1 / 0.5]), atol=0.25)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mode": "both"}, "`mode` must be one of"),
        ({"num_samples": 0}, "`num_samples` and `every` must be at least 1"),
        ({"every": 0}, "`num_samples` and `every` must be at least 1"),
        ({"rank": 1}, r"`rank` must lie in \[0, 1\)"),
        ({"rank": -1}, r"`rank` must lie in \[0, 1\)"),
    ],
)
def test_bad_arguments(kwargs, message):
    net, optimizer = host(steps=0)
    with pytest.raises(ValueError, match=message):
        make(net, optimizer, **kwargs)


def test_bad_batches_and_losses():
    net, optimizer = host()
    with pytest.raises(ValueError, match="at least one sample each"):
        make(net, optimizer).step(randn(0, 3), randn(2, 3))
    with pytest.raises(ValueError, match="at least one sample each"):
        make(net, optimizer).step(randn(2, 3), [])

    class Reduced(Logistic):
        def real_terms(self, out, y):
            return super().real_terms(out, y).mean()

    auxiliary = AuxiliaryDiscriminator(net, optimizer, Reduced(), 20, seed=0)
    with pytest.raises(ValueError, match="one term for each of 2 samples, but got the shape"):
        auxiliary.step(randn(2, 3), randn(2, 3))


@pytest.mark.parametrize("mode", ["importance", "uniform"])
def test_a_run_reports_the_variance_of_the_importance_weights(mode, tmp_path):
    plugins = manager(dia=DiaPlugin())
    config = points_config(RUN__sampler="dia", OPTIMIZATION__total_steps=10)
    config.PLUGINS = {"dia": {"record_every": 2, "aux": mode}}
    result = evaluate(fit(config, tmp_path / "run", plugins), 50)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    name = "weights/importance_weight_variance"
    logged = [json.loads(line)[name] for line in lines if name in json.loads(line)]
    if mode == "uniform":
        assert "importance_weight_variance" not in result["weights"]
        assert not logged
        return
    variance = result["weights"]["importance_weight_variance"]
    p = load_file(tmp_path / "run" / "diagnosis.safetensors")["probability"]
    assert variance == pytest.approx((1 / (len(p) ** 2 * p)).sum() - 1, rel=1e-5)
    assert logged == [pytest.approx(variance)]
    opened = open_run(tmp_path / "run", manager(dia=DiaPlugin()))
    assert evaluate(opened, 50)["weights"]["importance_weight_variance"] == variance
