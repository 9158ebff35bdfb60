"""A configuration as a flat table of settings, and which of them make a different run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFIG_FILE = "config.yaml"
"""Where a run folder keeps its configuration."""

FREE_KEYS = frozenset(
    {
        "OPTIMIZATION.total_steps",
        "DATA.path",
        "RUN.device",
        "RUN.num_workers",
        "RUN.cpu_threads",
        "RUN.print_freq",
        "RUN.sample_freq",
        "RUN.save_freq",
        "RUN.save_minutes",
        "RUN.keep_checkpoints",
        "RUN.num_eval",
        "RUN.eval_metrics",
        "RUN.eval_features",
        "RUN.samples",
    }
)
"""May differ when a run is continued: they change how it is carried out, not what comes out."""


def flatten_settings(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `SECTION.key` → value of a nested configuration."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat.update(flatten_settings(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
