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
        "DATA.max_pixels",
        "DATA.cache",
        "DATA.cache_size",
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
        "RUN.eval_kept",
        "RUN.samples",
        "RUN.stop_on",
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


def binding_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `SECTION.key` → value of what may not differ when a run is continued.

    Values are as they would stand in a file, where a path is text and a tuple a list.
    """
    flat = flatten_settings(content)
    return {key: as_yaml(value) for key, value in flat.items() if key not in FREE_KEYS}


def options_as_yaml(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns plugin → option → value as a file's section PLUGINS would hold them."""
    return {
        plugin: {name: as_yaml(value) for name, value in values.items()}
        for plugin, values in options.items()
    }


def as_yaml(value: Any) -> Any:
    """Writes what YAML has no type for, e.g. a path, as the text that its flag would take."""
    if isinstance(value, (list, tuple)):
        return [as_yaml(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
