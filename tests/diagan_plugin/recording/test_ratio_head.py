from __future__ import annotations

import math

import pytest
import torch

from diagan_plugin.recording.ratio_head import RatioHead


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_ratio_of_two_gaussians(seed):
    # N(δ, 1) against N(0, 1): the log ratio is δ·x − δ²/2 along the shifted axis. The other
    # feature carries nothing and has a scale of its own.
    rng = torch.Generator().manual_seed(seed)
    shift = 1.5
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = RatioHead(2)

    def features(n: int, mean: float) -> torch.Tensor:
        x = torch.randn(n, 2, generator=rng)
        return torch.stack([x[:, 0] + mean, 300.0 * x[:, 1]], 1)

    for _ in range(1500):
        head.update(features(64, shift), features(64, 0.0))
    x = features(2000, shift / 2)
    expected = shift * x[:, 0] - shift**2 / 2
    got = head(x)
    slope = torch.cov(torch.stack([expected, got]))[0, 1] / expected.var()
    assert 0.8 < slope < 1.2
    assert (got - expected).abs().mean() < 0.3


def test_before_the_first_batch_the_ratio_is_one():
    assert torch.equal(RatioHead(3).eval()(torch.randn(5, 3)), torch.zeros(5))


def test_no_gradient_reaches_the_features():
    head = RatioHead(2)
    real, fake = torch.randn(4, 2, requires_grad=True), torch.randn(7, 2, requires_grad=True)
    # Of a ratio of 1, each kind's mean term is log 2, however many there are of it.
    assert float(head.update(real, fake)) == pytest.approx(2 * math.log(2))
    assert real.grad is None
    assert fake.grad is None
    assert not head.training


def test_features_in_half_precision():
    head = RatioHead(2)
    loss = head.update(torch.randn(8, 2).bfloat16(), torch.randn(8, 2).bfloat16())
    assert loss.dtype == torch.float32
    assert head(torch.randn(3, 2).half()).dtype == torch.float32


def test_gradients_are_averaged_over_the_ranks_before_the_step():
    head = RatioHead(2)

    def none_of_them(parameters):
        for parameter in parameters:
            assert parameter.grad.any()
            parameter.grad.zero_()

    head.update(torch.ones(4, 2), torch.zeros(5, 2), none_of_them)
    assert not any(parameter.any() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("real", "fake", "error", "said"),
    [
        (torch.zeros(4, 3), torch.zeros(4, 2), ValueError, r"`real` must be \[B, 2\], but got"),
        (torch.zeros(4), torch.zeros(4, 2), ValueError, "`real`"),
        (torch.zeros(4, 2), torch.zeros(0, 2), ValueError, "`fake`"),
        (torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.int64), TypeError, "`fake` .* floating"),
    ],
)
def test_features_that_do_not_fit_are_named(real, fake, error, said):
    with pytest.raises(error, match=said):
        RatioHead(2).update(real, fake)
    with pytest.raises(ValueError, match="`num_features` must be at least 1, but got 0"):
        RatioHead(0)
