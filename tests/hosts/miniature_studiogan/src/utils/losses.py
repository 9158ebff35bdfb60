"""Losses as means over a batch."""

import torch
from torch.nn.functional import relu, softplus

LOSSES = {
    "hinge": (
        lambda real, fake, DDP: relu(1.0 - real).mean() + relu(1.0 + fake).mean(),
        lambda fake, DDP: -fake.mean(),
    ),
    "logistic": (
        lambda real, fake, DDP: (softplus(-real) + softplus(fake)).mean(),
        lambda fake, DDP: softplus(-fake).mean(),
    ),
}


def multi_hinge(adv_output, label, DDP, **_):
    own = adv_output.gather(1, label[:, None])
    others = adv_output.masked_fill(
        torch.zeros_like(adv_output).scatter(1, label[:, None], 1) > 0, float("-inf")
    )
    return relu(1.0 + others.amax(1, keepdim=True) - own).mean()
