"""A network and its optimiser, copied together with everything the optimiser has gathered."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SharedRates", "copy_with_optimizer"]


def copy_with_optimizer(
    discriminator: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Copies a network and, for its parameters, the optimiser with everything it has gathered.

    Args:
        discriminator: The network; copied with its buffers.
        optimizer: Holds its parameters, and perhaps those of others, which are left out.

    Raises:
        ValueError: The optimiser holds none of the network's parameters.
    """
    own = {id(parameter) for parameter in discriminator.parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if own.isdisjoint(map(id, held)):
        raise ValueError(
            "Argument `optimizer` must hold the parameters of `discriminator`, but has none."
        )
    # One deepcopy of both maps the optimiser's parameters, and the keys of its state, to the
    # copies. The memo says what not to copy: parameters of other networks, and results of a graph
    # (the older spectral norm leaves its normalised weight on the layer), which torch refuses.
    memo: dict[int, Any] = {id(other): other for other in held if id(other) not in own}
    for module in discriminator.modules():
        for value in chain(vars(module).values(), module._buffers.values()):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    network, optimizer = copy.deepcopy((discriminator, optimizer), memo)
    copied = set(network.parameters())
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if parameter in copied]
    optimizer.param_groups = [group for group in optimizer.param_groups if group["params"]]
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(parameter.requires_grad for parameter in trained):
        # The host froze D while it trains G. Where only some are frozen, that is meant to last.
        for parameter in trained:
            parameter.requires_grad_(True)
    for other in set(optimizer.state) - copied:
        del optimizer.state[other]
    return network, optimizer


class SharedRates:
    """The learning rates of a network's optimiser, for that of its copy.

    Args:
        network: The network that was copied.
        optimizer: Its optimiser, whose rates a schedule may change.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._own = {id(parameter) for parameter in network.parameters()}
        self._optimizer = optimizer

    def give_to(self, copied: torch.optim.Optimizer) -> None:
        """Sets the rates of the copy's groups to those of the groups that they were copied from."""
        groups = [
            group
            for group in self._optimizer.param_groups
            if not self._own.isdisjoint(map(id, group["params"]))
        ]
        for own, his in zip(copied.param_groups, groups, strict=True):
            own["lr"] = his["lr"]
