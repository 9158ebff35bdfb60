from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from diagan_plugin.postprocessing.after_the_fact import train_after_the_fact
from diagan_plugin.postprocessing.rejection import RejectionSampler

MEAN, STD = 0.4, 0.7  # of the data; the generator's are 0 and 1


def log_ratio(x):
    return x**2 / 2 - ((x - MEAN) / STD) ** 2 / 2 - math.log(STD)


class Labelled(nn.Module):
    """A discriminator that insists on labels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x, y):
        assert y is not None
        return self.network(x)


def network(seed: int, width: int = 24, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1)
        )


def generate(seed: int):
    noise = torch.Generator().manual_seed(seed)
    return lambda n: torch.randn(n, 1, generator=noise)


def data(seed: int, n: int = 4000):
    return MEAN + STD * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed))


def fitted(seed: int, start: nn.Module | None = None, **kwargs) -> nn.Module:
    x = data(seed)
    settings = {"steps": 200, "batch_size": 200, "lr": 0.01, "betas": (0.9, 0.999)} | kwargs
    return train_after_the_fact(
        start or network(seed),
        lambda indices: (x[torch.from_numpy(indices)], None),
        len(x),
        generate(100 + seed),
        realness=lambda out: out.squeeze(1),
        seed=seed,
        **settings,
    )


@pytest.mark.parametrize("seed", range(2))
def test_it_learns_the_known_ratio_and_corrects_the_generator(seed):
    trained = fitted(seed)
    x = torch.linspace(-1.2, 1.8, 50)[:, None]
    with torch.no_grad():
        error = (trained(x) - log_ratio(x)).abs().mean()
        untrained = (network(seed)(x) - log_ratio(x)).abs().mean()
    assert error < 0.15 < untrained
    noise = generate(200 + seed)

    def propose(n):
        made = noise(n)
        return made, trained(made)

    sampler = RejectionSampler(propose, rng=torch.Generator().manual_seed(seed), gamma=0.0)
    kept = torch.cat([batch.x for batch in sampler.sample(4000)])
    assert kept.mean().item() == pytest.approx(MEAN, abs=0.1)
    assert kept.std().item() == pytest.approx(STD, abs=0.07)


def test_it_begins_at_the_given_network_leaves_it_alone_and_follows_from_the_seed():
    start = network(5, dropout=0.3)
    before = copy.deepcopy(start.state_dict())
    state = torch.get_rng_state()
    one, other, third = (
        fitted(1, start, steps=3, **more) for more in ({}, {}, {"batch_size": 100})
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert not one.training
    assert start.training
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(one.state_dict()[name], other.state_dict()[name])
        assert not torch.equal(one.state_dict()[name], third.state_dict()[name])
        assert (one.state_dict()[name] - value).abs().max() < 0.05  # three steps of Adam


def test_the_state_of_least_held_out_loss_is_returned():
    few = data(0, 12)  # to be known by heart
    held_out = data(1, 400), generate(7)(400)

    def trained(steps, held_out):
        return train_after_the_fact(
            network(0, width=64),
            lambda indices: (few[torch.from_numpy(indices)], None),
            len(few),
            generate(3),
            realness=lambda out: out.squeeze(1),
            seed=0,
            steps=steps,
            batch_size=12,
            lr=0.1,
            held_out=held_out,
        )

    def loss(net):
        with torch.no_grad():
            return (softplus(-net(held_out[0])).mean() + softplus(net(held_out[1])).mean()).item()

    kept = loss(trained(40, held_out))
    reached = [loss(trained(steps, None)) for steps in range(2, 41, 2)]
    assert kept == pytest.approx(min(reached), abs=1e-5)
    assert kept < reached[-1] - 0.01


def test_labels_reach_the_discriminator():
    def reals(indices):
        return torch.zeros(len(indices), 1), torch.from_numpy(indices)

    def fakes(n):
        return torch.ones(n, 1), torch.zeros(n, dtype=torch.int64)

    trained = train_after_the_fact(
        Labelled(network(0)), reals, 10, fakes, realness=lambda out: out.squeeze(1), seed=0,
        steps=20, batch_size=8, lr=0.05, held_out=(reals(np.arange(3)), fakes(3)),
    )  # fmt: skip
    y = torch.zeros(1, dtype=torch.int64)
    assert trained(torch.zeros(1, 1), y) > 0 > trained(torch.ones(1, 1), y)


@pytest.mark.parametrize("kwargs", [{"steps": 0}, {"batch_size": 0}])
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match="`steps` and `batch_size` must be at least 1"):
        fitted(0, **kwargs)
