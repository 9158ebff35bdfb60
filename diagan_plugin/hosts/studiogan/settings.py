"""What `diagan studiogan` was asked for. Free of torch, as the command line reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What `diagan studiogan` was asked for; plain values, handed to child processes.

    Attributes:
        source: StudioGAN's folder `src`.
        sampler: A name of the catalog `samplers`; "uniform" leaves StudioGAN's own.
        samples: A name of the catalog `postprocessors`.
        options: Plugin → option → value.
        arguments: StudioGAN's arguments.
        command: What tells this command from another.
        complaints: Where a child process leaves a mistake of the user's; empty for none.
    """

    source: str
    sampler: str
    samples: str
    options: Mapping[str, Mapping[str, Any]]
    arguments: tuple[str, ...]
    command: Mapping[str, Any]
    complaints: str = ""
