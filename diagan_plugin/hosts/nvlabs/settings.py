"""What `diagan nvlabs` was asked for. Free of torch, as the command line reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.kit.state import SUFFIX


@dataclass(frozen=True)
class NvlabsSettings:
    """What `diagan nvlabs` was asked for; plain values, handed to child processes.

    Attributes:
        checkout: The trainer's folder.
        sampler: A name of the catalog `samplers`; "uniform" leaves the trainer's own.
        options: Plugin → option → value.
        arguments: The arguments of its `train.py`.
        fresh: Whether plugins begin anew, whatever lies beside the snapshot of `--resume`.
        complaints: Where a child process leaves a mistake of the user's; empty for none.
    """

    checkout: str
    sampler: str
    options: Mapping[str, Mapping[str, Any]]
    arguments: tuple[str, ...]
    fresh: bool = False
    complaints: str = ""


def state_path(snapshot: str) -> Path:
    """Returns where the plugins' state lies that belongs to a snapshot."""
    return Path(snapshot).with_suffix(f".plugins{SUFFIX}")
