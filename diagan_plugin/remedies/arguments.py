"""Types of flags that the remedies share."""

from __future__ import annotations

import argparse

from diagan_plugin.options import _at_least as at_least
from diagan_plugin.options import _number as number
from diagan_plugin.options import _share as share

__all__ = ["at_least", "share", "start"]

AUTO = "auto"


def start(text: str) -> str | float:
    """Reads where phase 2 begins: "auto", or a share of the steps in [0, 1]."""
    if text == AUTO:
        return AUTO
    try:
        value: float = number(float, text)
    except argparse.ArgumentTypeError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError("'auto' or a share of the steps between 0 and 1")
    return value
