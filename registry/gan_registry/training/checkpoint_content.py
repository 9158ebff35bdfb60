"""What a checkpoint may hold: its values are checked before a run is built upon them.

A file whose checksum is right may still have been written by anybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from gan_registry.integrity import DamagedError
from gan_registry.training.health import NUMBERS, Finding

_MOST = 2**53
"""Of steps and stream positions; beyond every run, and well within int64."""

_ADAM = ("exp_avg", "exp_avg_sq")
_SLOTS: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.Adam: _ADAM,
    torch.optim.AdamW: _ADAM,
    torch.optim.NAdam: _ADAM,
    torch.optim.RAdam: _ADAM,
    torch.optim.RMSprop: ("square_avg",),
    torch.optim.Adagrad: ("sum",),
}
"""What an optimiser keeps of each parameter, in its shape; torch itself does not check that."""


def check_state(state: Any, step: int) -> None:
    """Checks the content of the checkpoint of a step.

    Raises:
        DamagedError: Something is missing, of another type, or out of bounds; says what.
    """
    if not isinstance(state, dict):
        raise DamagedError(f"holds a {type(state).__name__}")
    if missing := sorted(_RULES.keys() - state.keys()):
        raise DamagedError(f"lacks {', '.join(missing)}")
    for key, (is_right, what) in {**_RULES, **_LATER_RULES}.items():
        if key in state and not is_right(state[key]):
            raise DamagedError(f"holds {key} = {_shown(state[key])}, which is no {what}")
    if state["step"] != step:
        raise DamagedError(f"is of step {state['step']}, not of {step} as its name says")


def check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Checks that an optimiser can go on from a state, of which torch compares sizes only.

    Raises:
        ValueError: It says what does not fit.
    """
    groups = state["param_groups"]
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(f"{len(groups)} groups of parameters, not {len(optimizer.param_groups)}")
    parameters: dict[Any, Tensor] = {}
    for saved, own in zip(groups, optimizer.param_groups, strict=True):
        if len(saved["params"]) != len(own["params"]):
            raise ValueError(f"{len(saved['params'])} parameters, not {len(own['params'])}")
        parameters.update(zip(saved["params"], own["params"], strict=True))
        for key, value in own.items():
            if key != "params" and not _alike(saved, key, value):
                shown = _shown(saved[key]) if key in saved else "missing"
                raise ValueError(f"its setting {key!r} is {shown}, but must be like {value!r}")
    if len(parameters) != sum(len(group["params"]) for group in optimizer.param_groups):
        raise ValueError("it numbers two parameters alike")
    if unknown := sorted(map(repr, state["state"].keys() - parameters.keys())):
        raise ValueError(f"it keeps something of the parameter {unknown[0]}, which does not exist")
    slots = _SLOTS.get(type(optimizer))
    if slots is None:
        return  # of a plugin's own: only its author knows what it keeps
    for number, kept in state["state"].items():
        shape = parameters[number].shape
        if missing := [name for name in ("step", *slots) if name not in kept]:
            raise ValueError(f"it lacks {missing[0]} of parameter {number}")
        for name, value in kept.items():
            if name == "step":
                fits = _is_number(value) or _is_scalar(value)
            else:
                fits = value is None or (isinstance(value, Tensor) and value.shape == shape)
                fits = fits and (value is not None or name not in slots)
            if not fits:
                raise ValueError(
                    f"its {name} of parameter {number} is {_shown(value)}, "
                    f"but the parameter is {list(shape)}"
                )


def _alike(saved: Mapping[str, Any], key: str, own: Any) -> bool:
    """Whether a saved setting of an optimiser is of the kind of the present one."""
    if own is None or isinstance(own, bool):  # switches, which come and go with torch's versions
        return key not in saved or saved[key] is None or isinstance(saved[key], bool)
    value = saved.get(key)
    if isinstance(own, (tuple, list)):
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(own)
            and all(_is_number(item) or _is_scalar(item) for item in value)
        )
    if isinstance(own, (int, float, Tensor)):
        return _is_number(value) or _is_scalar(value)
    return type(value) is type(own)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MOST


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_named_or_none(value: Any) -> bool:
    return value is None or _is_named(value)


def _is_log(value: Any) -> bool:
    return _is_named(value) and not any(isinstance(item, Tensor) for item in value.values())


def _is_parts(value: Any) -> bool:
    return _is_named(value) and all(isinstance(item, dict) for item in value.values())


def _is_optimizers(value: Any) -> bool:
    return _is_parts(value) and all(
        isinstance(part.get("state"), dict)
        and all(isinstance(kept, dict) for kept in part["state"].values())
        and isinstance(part.get("param_groups"), list)
        and all(
            isinstance(group, dict) and isinstance(group.get("params"), list)
            for group in part["param_groups"]
        )
        for part in value.values()
    )


def _is_health(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"looks", "findings", "stopped_on"}:
        return False
    looks, findings = value["looks"], value["findings"]
    is_sound = isinstance(looks, Tensor) and looks.dim() == 2 and looks.shape[1] == NUMBERS
    return (
        (looks is None or (is_sound and looks.is_floating_point()))
        and isinstance(findings, list)
        and all(map(_is_finding, findings))
        and _is_text_or_none(value["stopped_on"])
    )


def _is_finding(value: Any) -> bool:
    return (
        _is_named(value)
        and value.keys() == {field.name for field in fields(Finding)}
        and _is_count(value["step"])
        and all(isinstance(item, str) for key, item in value.items() if key != "step")
    )


_COUNT = f"whole number from 0 to {_MOST}"
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (_is_count, _COUNT),
    "total_steps": (_is_count, _COUNT),
    "seconds": (_is_seconds, "time in seconds"),
    "stopped": (_is_text_or_none, "reason, nor null"),
    "logged": (_is_log, "mapping of names to plain values"),
    "settings": (_is_named, "mapping of names"),
    "fingerprint": (lambda value: isinstance(value, str), "text"),
    "position": (_is_count, _COUNT),
    "sampler": (_is_named, "mapping of names"),
    "generator": (_is_named, "mapping of names"),
    "discriminator": (_is_named, "mapping of names"),
    "average": (_is_named_or_none, "mapping of names, nor null"),
    "precision": (_is_parts, "mapping of names to mappings"),
    "optimizers": (_is_optimizers, "mapping of names to optimisers' states"),
    "additions": (_is_parts, "mapping of names to mappings"),
    "plugins": (_is_parts, "mapping of names to mappings"),
}
"""Key → whether a value will do, and what one is called that would."""

_LATER_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "health": (_is_health, "record of a run's health"),
}
"""The same of what checkpoints of earlier versions lack."""


def _shown(value: Any) -> str:
    """Shows a value in a few characters, a tensor by its shape."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > _MOST:
        return "an integer beyond all bounds"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
