"""Finds the networks that `MODEL.module` names, and learns from their signatures what they take."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from gan_registry.errors import UserError

Network = Callable[..., nn.Module]


def named_network(module: str | None, name: str) -> Network:
    """Returns `Generator` or `Discriminator` of the module that MODEL.module names.

    Raises:
        UserError: There is no such module, or no such name in it.
    """
    if module is None:
        raise UserError(
            "MODEL.backbone nvlabs needs MODEL.module, the module of the networks, e.g. "
            "training.networks_stylegan2 with a checkout of NVlabs/stylegan3 on PYTHONPATH."
        )
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise UserError(
            f"MODEL.module={module} can't be imported ({error}); put the folder of its checkout on "
            "PYTHONPATH, and install what it needs."
        ) from error
    if not callable(found):
        raise UserError(
            f"MODEL.module={module} has no {name}; the backbone nvlabs needs a Generator and a "
            "Discriminator with the signatures of NVlabs' stylegan3 or stylegan2-ada-pytorch."
        )
    network: Network = found
    return network


def made(network: Network, name: str, **keys: Any) -> nn.Module:
    """Returns `network(**keys)`; the network is called by `name` in messages.

    Raises:
        UserError: It does not take these arguments.
    """
    try:
        return network(**keys)
    except TypeError as error:
        raise UserError(
            f"{name} can't be made from NVlabs' arguments {', '.join(sorted(keys))}: {error}."
        ) from error


def takes_synthesis_kwargs(network: Network) -> bool:
    """Whether G takes `synthesis_kwargs` as one argument, as in `stylegan2-ada-pytorch`."""
    while isinstance(network, partial):
        network = network.func
    # NVlabs' classes are decorated: the signature of a class itself would be (*args, **kwargs).
    classes = inspect.getmro(network) if inspect.isclass(network) else ()
    makers = [vars(each)["__init__"] for each in classes if "__init__" in vars(each)] or [network]
    return any(has_parameter(maker, "synthesis_kwargs") for maker in makers)


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be called with an argument of that name."""
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    return has_parameter(function, name) or inspect.Parameter.VAR_KEYWORD in kinds


def has_parameter(function: Callable[..., Any], name: str) -> bool:
    """Whether a function's signature names an argument."""
    try:
        found = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):  # built in, as the __init__ of `object`
        return False
    return found is not None and found.kind is not inspect.Parameter.VAR_KEYWORD
