"""Our dropout is nn.Dropout, by other draws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from gan_registry.backbones.dropout import Dropout

PROBABILITIES = [0.5, 0.25, 0.875, 0.1015625, 0.3, 0.999]  # of 1, 2, 4, 8 and 32 bits


@pytest.mark.parametrize("p", PROBABILITIES)
def test_each_element_is_dropped_with_its_probability_independently(p) -> None:
    torch.manual_seed(1)
    n = 400_000
    kept = Dropout(p)(torch.ones(n)) != 0
    assert stats.binomtest(int((~kept).sum()), n, p).pvalue > 1e-4
    # Neighbours, and what comes of one byte or of one word, are independent.
    for lag in (1, 2, 3, 4, 7, 8, 64):
        joint = int((kept[:-lag] & kept[lag:]).sum())
        q = (1 - p) ** 2
        assert abs(joint - (n - lag) * q) < 6 * math.sqrt(n * q * (1 - q)) + 6, lag
    # Every place of a byte has the same probability.
    places = kept[: n // 64 * 64].view(-1, 64).float().mean(0)
    assert abs(places - (1 - p)).max() < 6 * math.sqrt(p * (1 - p) / (n / 64))


@pytest.mark.parametrize("p", [0.0, *PROBABILITIES, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_is_kept_is_scaled_as_torch_does(p, dtype) -> None:
    x = (torch.rand(33, 7) + 0.5).to(dtype).requires_grad_(True)
    y = Dropout(p)(x)
    assert y.dtype == dtype
    scaled = x.detach() * torch.tensor(0.0 if p == 1 else 1 / (1 - p)).to(dtype)
    torch.testing.assert_close(y.detach(), torch.where(y.detach() == 0, 0.0, scaled).to(dtype))
    y.float().sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())
    assert Dropout(p).eval()(x) is x


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 3, 4, 5), (2, 8, 4, 4)])
@pytest.mark.parametrize("p", [0.5, 0.3])
def test_any_shape_and_layout(shape, p) -> None:
    x = torch.ones(shape)
    layouts = [x]
    if x.dim() == 4:
        layouts += [x.contiguous(memory_format=torch.channels_last), x.transpose(1, 3)]
    for given in layouts:
        torch.manual_seed(0)
        y = Dropout(p)(given)
        assert y.shape == given.shape
        if given.is_contiguous(memory_format=torch.channels_last) or given is x:
            assert y.stride() == given.stride()
        torch.manual_seed(0)
        assert torch.equal(Dropout(p)(given), y)


def test_second_derivatives() -> None:
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)

    def network(value):
        torch.manual_seed(3)
        return Dropout(0.5)(value.sin())

    assert torch.autograd.gradgradcheck(network, x)


def test_it_counts_as_dropout() -> None:
    assert isinstance(Dropout(), nn.Dropout)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_is_torchs() -> None:
    x = torch.ones(1000, device="cuda")
    torch.manual_seed(0)
    ours = Dropout(0.5)(x)
    torch.manual_seed(0)
    assert torch.equal(ours, nn.Dropout(0.5)(x))
