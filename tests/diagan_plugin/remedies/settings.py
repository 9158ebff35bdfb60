"""One line a remedy: how to turn it on in a tiny run. The common tests go through all of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

COMBINES = ""

DIA = {"record_every": 1, "window": 2, "phase1": 0.5}
"""Options of the plugin `dia` for a run of a few steps."""


@dataclass(frozen=True)
class Setting:
    """How to turn a remedy on.

    Attributes:
        plugin: `module:Class`, as in the entry point.
        options: What turns it on; every other option is at its default.
        config: What else the run needs, `SECTION__key` → value.
        needs_dia: Whether the plugin `dia` must be loaded beside it.
        with_dia: Words of the refusal, or the warning, with `--sampler dia`; or COMBINES.
        idle: Options that do nothing by themselves, each with its flag.
    """

    plugin: str
    options: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    needs_dia: bool = False
    with_dia: str = COMBINES
    idle: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def make(self) -> Any:
        """Returns a new plugin object."""
        module, _, name = self.plugin.partition(":")
        return getattr(importlib.import_module(module), name)()


SETTINGS: dict[str, Setting] = {
    "gold": Setting(
        "diagan_plugin.remedies.gold:GoldPlugin",
        {"enabled": True, "clamp": "none", "start": 0.5},
        idle={"clamp": ("none", "--gold-clamp"), "start": (0.5, "--gold-start")},
    ),
    "top_k": Setting(
        "diagan_plugin.remedies.top_k:TopKPlugin",
        {"enabled": True, "gamma": 0.5},
        {"DATA__options": {"num_samples": 32}},  # several epochs
        idle={"gamma": (0.5, "--top-k-gamma")},
    ),
    "mode_seeking": Setting(
        "diagan_plugin.remedies.mode_seeking:ModeSeekingPlugin",
        {"weight": 0.05, "increase": 0.01, "every": 1},
        idle={"every": (1, "--mode-seeking-every")},
    ),
    "loss_weighting": Setting(
        "diagan_plugin.remedies.loss_weighting.plugin:LossWeightingPlugin",
        {"by": "ldr"},
        needs_dia=True,
        with_dia="needs uniform batches, not --sampler dia",
    ),
    "instance_selection": Setting(
        "diagan_plugin.remedies.instance_selection.plugin:InstanceSelectionPlugin",
        {"share": 0.4, "features": "raw"},
        {"RUN__sampler": "instance_selection"},
        with_dia="no effect without --sampler instance_selection",
        idle={"share": (0.4, "--instance-selection-share")},
    ),
    "pacgan": Setting(
        "diagan_plugin.remedies.pacgan.plugin:PacGanPlugin",
        {"size": 2},
        with_dia="add --pacgan-unpacked",
        idle={"unpacked": (True, "--pacgan-unpacked")},
    ),
    "inclusive": Setting(
        "diagan_plugin.remedies.inclusive.plugin:InclusivePlugin",
        {"weight": 0.1, "refresh": 1, "candidates": 2},
        {"DATA__options": {"num_samples": 32}},  # several epochs
        idle={"refresh": (1, "--inclusive-refresh")},
    ),
    "mix_gan": Setting(
        "diagan_plugin.remedies.mixtures.mix_gan:MixGanPlugin",
        {"generators": 2, "discriminators": 2},
        idle={"classes": ("subset", "--mix-classes")},
    ),
    "mix_plus_gan": Setting(
        "diagan_plugin.remedies.mixtures.mix_plus_gan:MixPlusGanPlugin",
        {"generators": 2, "discriminators": 2},
        {"LOSS__objective": "mix_plus"},
        idle={"generators": (2, "--mix-plus-generators")},
    ),
}
