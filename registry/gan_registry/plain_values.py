"""What may be kept: plain values in a checkpoint, single numbers and text in a log."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_registry.errors import PluginError
from gan_registry.files import to_plain

MAX_DEPTH = 32
"""Levels of lists and mappings in what is saved."""


def check_plain(value: Any, where: str) -> None:
    """Refuses what a file of tensors and plain values cannot hold.

    Args:
        value: What is to be saved.
        where: What to call it in a message.

    Raises:
        PluginError: It holds something else; says where within.
    """
    wrong = not_plain(value, where)
    if wrong is not None:
        raise PluginError(f"{wrong}.")


def not_plain(value: Any, where: str, depth: int = 0) -> str | None:
    """Says what cannot be kept in a checkpoint, or None; `where` is what to call the value."""
    items: Any = ()
    if depth > MAX_DEPTH:
        return f"{where[:200]} … is nested too deep for a checkpoint, or holds itself"
    if type(value) in (dict, OrderedDict):
        for key in value:
            if wrong := not_plain(key, f"{where}: the key {key!r}", depth + 1):
                return wrong
        items = value.items()
    elif type(value) in (list, tuple):
        items = enumerate(value)
    elif type(value) is Tensor:
        if value.is_meta:
            return f"{where} is a tensor on the device meta, which holds no values"
        if value.layout != torch.strided or value.is_quantized:
            return f"{where} is a sparse or quantised tensor; a checkpoint takes dense ones"
    elif type(value) not in (str, int, float, bool, type(None)):
        return (
            f"{where} is a {type(value).__name__}; a checkpoint takes tensors and Python's own "
            "numbers, text, lists, tuples and dicts only"
        )
    found = (not_plain(item, f"{where}[{key!r}]", depth + 1) for key, item in items)
    return next((wrong for wrong in found if wrong is not None), None)


def loggable(name: Any, value: Any) -> Any:
    """Returns a value as it may be logged and saved; a tensor stays one, and is not read.

    Raises:
        PluginError: The name is no text, or the value can be neither logged nor saved.
    """
    if type(name) is not str:
        raise PluginError(f"run.log: the name {name!r} is no text.")
    if type(value) in (float, int, str, bool, type(None)):
        return value
    if isinstance(value, Tensor):
        if value.numel() == 1 and not (value.is_meta or value.is_complex()):
            return value
        what = "complex" if value.is_complex() else f"of shape {tuple(value.shape)}"
        what = "on the device meta" if value.is_meta else what
        raise PluginError(f"run.log: {name!r} is a tensor {what}; a single number can be logged.")
    try:
        # Not through to_plain, which would hide that a number is not finite.
        return value.item() if isinstance(value, np.number) else to_plain(value)
    except (TypeError, RecursionError):
        raise PluginError(
            f"run.log: {name!r} is or holds a {type(value).__name__}, which cannot be logged; "
            "numbers, text and tensors of one element can."
        ) from None
