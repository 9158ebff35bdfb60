"""A result as tables show it: one share for each kind of samples, kept generators among them."""

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
    generator's name; these come first. Shares are those of :func:`with_counts`.

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
    notes = [
        f"{kept_title(name, kept)}: the generator as it was at step {entry['step']:,}"
        for name, entry in kept.items()
    ]
    known = [entry[_ACCURACY] for entry in groups.values() if is_number(entry.get(_ACCURACY))]
    shown = with_counts({**metrics, **result, "groups": groups})
    if known and any(_GENERATED in entry for entry in shown["groups"].values()):
        notes.append(
            "generated shares are counted by a classifier, which knows at least "
            f"{percent(min(known))} of each group's real samples"
        )
    return shown, notes


def with_counts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result in which what a classifier counted are the generated shares.

    That is so where the data have no rule for groups. What the classifier makes of the real samples
    is left out; the share that it puts into no group is `other`, as by a rule.
    """
    groups = result.get("groups") or {}
    if any(key.startswith(_GENERATED) for entry in groups.values() for key in entry):
        return dict(result)
    metrics = {
        key: {name.removeprefix(f"{_COUNTED}_"): value for name, value in values.items()}
        for key, values in result.items()
        if key.partition("_")[0] == "metrics" and isinstance(values, Mapping)
    }
    return {**result, **metrics, "groups": {group: _counted(e) for group, e in groups.items()}}


def kept_title(name: str, kept: Mapping[str, Any]) -> str:
    """Returns what to call what a kept generator makes, one of several or the only one."""
    return "before" if len(kept) == 1 else f"before, {name}"


def _counted(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{_GENERATED}{key.removeprefix(_COUNTED)}" if key.startswith(_COUNTED) else key: value
        for key, value in entry.items()
        if not key.startswith(_OF_REAL)
    }
