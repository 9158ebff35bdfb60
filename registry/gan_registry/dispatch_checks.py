"""What a hook may return: each check says what is wrong, as the end of a sentence, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gan_registry.files import to_plain
from gan_registry.plain_values import not_plain
from gan_registry.records import Fake

Check = Callable[[Any], "str | None"]
"""Says what is wrong with a result, as the end of a sentence, or None."""


def nothing(result: Any) -> str:
    """An event returns None; this is asked about anything else."""
    if hasattr(result, "close"):
        result.close()  # of a coroutine that nobody awaits, Python complains otherwise
    return f"is an event and must return None, but returned {type(result).__name__}"


def no_mapping(result: Any) -> str | None:
    """A merge hook returns a mapping."""
    if isinstance(result, Mapping):
        return None
    return f"must return a mapping or None, but returned {type(result).__name__}"


def no_state(result: Any) -> str | None:
    """A state can be read back from a checkpoint."""
    return no_mapping(result) or not_plain(result, "returned what cannot be saved: the state")


def no_entries(result: Any) -> str | None:
    """Entries of `result.json` can be written as JSON."""
    if wrong := no_mapping(result):
        return wrong
    try:
        to_plain(result)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: meta, too deep
        return f"returned what result.json cannot hold: {error}".rstrip(".")
    return None


def no_numbers(result: Any) -> str | None:
    """Metrics are numbers by name."""
    if wrong := no_mapping(result):
        return wrong
    bad = [name for name, value in result.items() if not _is_number(value) or _is_no_name(name)]
    return f"must return numbers, but {bad[0]!r} is none" if bad else None


def no_rows(result: Any) -> str | None:
    """Rows of a plan are text or numbers by label."""
    if wrong := no_mapping(result):
        return wrong
    for label, value in result.items():
        if _is_no_name(label) or not (
            _is_number(value) or (isinstance(value, str) and label != _COUNT)
        ):
            return f"must return text or numbers, but {label!r} is {value!r}"
    return None


def _is_no_name(name: Any) -> bool:
    return not isinstance(name, str)


_COUNT = "discriminator_samples"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(value, str)


def wrong_weights(weights: Any, like: Tensor) -> str | None:
    """Compares weights with the logits that they belong to; never reads their values."""
    if weights is None:
        return None
    if not isinstance(weights, Tensor):
        return f"must return tensors or None as weights, but returned {type(weights).__name__}"
    for name, got, expected in (
        ("shape", tuple(weights.shape), tuple(like.shape)),
        ("dtype", weights.dtype, like.dtype),
        ("device", weights.device, like.device),
        ("layout", weights.layout, torch.strided),
    ):
        if got != expected:
            return f"returned weights of {name} {got}, not {expected}"
    return None


def wrong_penalty(penalty: Any, fake: Fake) -> str | None:
    """A penalty is a scalar beside the samples; its value is not read."""
    if not isinstance(penalty, Tensor) or penalty.ndim != 0:
        shape = f" of shape {tuple(penalty.shape)}" if isinstance(penalty, Tensor) else ""
        return f"must return a scalar tensor or None, but returned {type(penalty).__name__}{shape}"
    if not penalty.is_floating_point():
        return f"returned a penalty of dtype {penalty.dtype}, not a floating one"
    if penalty.device != fake.x.device:
        return f"returned a penalty on device {penalty.device}, not {fake.x.device}"
    if penalty.layout != torch.strided:
        return f"returned a penalty of layout {penalty.layout}, not {torch.strided}"
    return None
