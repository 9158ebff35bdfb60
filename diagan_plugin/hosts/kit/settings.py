"""What a user of an adapter asks for. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.plugins import PluginManager

if TYPE_CHECKING:
    import numpy.typing as npt

PLAIN, UNIFORM = "plain", "uniform"
"""The post-processor and the sampler that leave a host's own ways alone."""


@dataclass
class Settings:
    """What a user of an adapter asks for; the same for every host.

    Attributes:
        sampler: How training samples are drawn: a name in the catalog of samplers.
        options: Plugin → option → value, as in a config's section `PLUGINS`.
        loss: The name of the loss D is trained with, which says how its output becomes a
            log-density ratio.
        seed: Seed of the draws and of everything that plugins draw.
        total_steps: Generator steps to train.
        groups: The subgroup of each sample, int [N], where known; for the report alone.
        group_names: Their names.
        value_range: Smallest and largest value of an image, for the report's pictures.
        folder: Where plugins write what they have found, or None.
        plugins: The plugins; the installed ones by default.
    """

    sampler: str = UNIFORM
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    loss: str = "logistic"
    seed: int = 0
    total_steps: int | None = None
    groups: npt.ArrayLike | None = None
    group_names: Sequence[str] = ()
    value_range: tuple[float, float] | None = (-1.0, 1.0)
    folder: str | Path | None = None
    plugins: PluginManager | None = None
