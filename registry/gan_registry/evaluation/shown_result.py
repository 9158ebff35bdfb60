"""A result as tables show it: kept generators beside the last one, and one share for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_registry.formatting import is_number, percent

KEPT = "kept "
"""How the kinds of samples begin that kept generators made; no post-processor is called so."""

_COUNTED, _GENERATED = "occurrence", "share_generated"
_ACCURACY = "classifier_accuracy"
_OF_REAL = ("occurrence_real", _ACCURACY)


def as_shown(result: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arranges a result for people.

    What was measured of a kept generator becomes a kind of samples of its own, named `KEPT` and the
    generator's name; these come first. Where the data have no rule for groups, and a classifier
    counted them, its counts are the generated shares; what it makes of the real samples is a note.

    Returns:
        The result, and notes on what its columns are.
    """
    kept = result.get("kept") or {}
    metrics = {f"metrics_{KEPT}{name}": entry["metrics"] for name, entry in kept.items()}
    groups = {group: dict(entry) for group, entry in (result.get("groups") or {}).items()}
    for name, entry in kept.items():
        for group, values in entry["groups"].items():
            own = {f"{key}_{KEPT}{name}": value for key, value in values.items()}
            groups.setdefault(group, {}).update(own)
    shown = {**metrics, **result, "groups": groups}
    notes = [
        f"{kept_title(name, kept)}: the generator as it was at step {entry['step']:,}"
        for name, entry in kept.items()
    ]
    if not any(key.startswith(_GENERATED) for entry in groups.values() for key in entry):
        known = [entry[_ACCURACY] for entry in groups.values() if is_number(entry.get(_ACCURACY))]
        shown["groups"] = {group: _counted(entry) for group, entry in groups.items()}
        shown |= {
            key: {name.removeprefix(f"{_COUNTED}_"): value for name, value in values.items()}
            for key, values in shown.items()
            if key.partition("_")[0] == "metrics"
        }
        if known:
            notes.append(
                "generated shares are counted by a classifier, which knows at least "
                f"{percent(min(known))} of each group's real samples"
            )
    return shown, notes


def kept_title(name: str, kept: Mapping[str, Any]) -> str:
    """Returns what to call what a kept generator makes, one of several or the only one."""
    return "before" if len(kept) == 1 else f"before, {name}"


def _counted(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{_GENERATED}{key.removeprefix(_COUNTED)}" if key.startswith(_COUNTED) else key: value
        for key, value in entry.items()
        if not key.startswith(_OF_REAL)
    }
