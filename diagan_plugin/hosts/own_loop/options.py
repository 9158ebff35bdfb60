"""The options of Dia as a loop gives them, checked by the rules of their flags."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from diagan_plugin.arguments import as_whole
from diagan_plugin.dia.options import NAME, DiaOptions
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager


def read_options(
    values: Mapping[str, Any], plugins: PluginManager, is_stream: bool = False
) -> DiaOptions:
    """Checks options by the rules of their flags, so that a slip shows before the training.

    Args:
        values: Option → value, as given.
        plugins: The plugin `dia`, registered.
        is_stream: Whether there are keys in the place of a dataset.

    Raises:
        TypeError: An option is unknown.
        UserError: One has a value that its flag would not take, or that a loop cannot carry out.
    """
    known = [field.name for field in fields(DiaOptions)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise TypeError(f"Dia got an unknown option {name!r}{hint}. Known: {', '.join(known)}.")
        if hasattr(values[name], "shape") and values[name].shape != ():
            raise TypeError(
                f"Dia: the option {name!r} must be a plain value, but is a "
                f"{type(values[name]).__name__} {list(values[name].shape)}."
            )
    if values.get("aux_ratio"):
        raise UserError(
            "Dia: the option 'aux_ratio' is True, but a loop of one's own has no place for it; "
            "train a diagan_plugin.RatioHead in the loop, and give its ratios to Dia.observe."
        )
    checked = {
        option.name: option.check(values[option.name], f"Dia: the option {option.name!r}")
        for option in plugins.options
        if option.name in values
    }
    # Off unless asked for, as the loop has to show D's updates for it.
    given = {NAME: {"aux": "none", **checked}}
    options = DiaOptions(**plugins.options.resolve(given)[NAME])
    if is_stream and options.rule == "feedback":
        raise UserError(
            'Dia: rule="feedback" asks about samples of the dataset, and a stream has none to read '
            'again: use rule="paper".'
        )
    return options


def steps_of(total_steps: int | None, epochs: int | None, batch_size: int, num_samples: int) -> int:
    """Returns the steps of a training that is given in steps or in epochs of one step a batch.

    Raises:
        ValueError: Both or neither is given, or a number is below 1.
    """
    if (total_steps is None) == (epochs is None):
        raise ValueError("Dia needs one of the arguments `total_steps` and `epochs`, and not both.")
    given = {"total_steps": total_steps, "epochs": epochs, "batch_size": batch_size}
    for name, value in given.items():
        if value is not None:
            as_whole(name, value, 1)
    if total_steps is not None:
        return int(total_steps)
    assert epochs is not None
    return int(epochs) * -(-num_samples // batch_size)
