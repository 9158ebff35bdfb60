"""What made an output is known from its graph, and not from its values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagan_plugin.hosts.kit.networks import is_probability

X = torch.rand(9, 3)


@pytest.mark.parametrize(
    "shape", [lambda out: out, lambda out: out.view(-1), lambda out: out.squeeze(1).double()]
)
def test_a_call_of_the_sigmoid_is_recognised_behind_other_shapes(shape) -> None:
    layer = nn.Linear(3, 1)
    assert is_probability(shape(torch.sigmoid(layer(X))))


def test_logits_that_happen_to_lie_between_0_and_1_are_no_probabilities() -> None:
    layer = nn.Linear(3, 1)  # as an untrained network's may
    with torch.no_grad():
        layer.weight.fill_(0.1)
        layer.bias.fill_(0.4)
    out = layer(X)
    assert ((out > 0) & (out < 1)).all()
    assert not is_probability(out)
    assert not is_probability(torch.sigmoid(out) * 2 - 1)
