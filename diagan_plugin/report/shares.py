"""The share of each group in the data, among the draws, and in what is generated: the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.findings import GroupDiagnosis, GroupFinding

DATA, DRAWN, GENERATED = "share_data", "share_drawn", "share_generated"
"""Keys of a group's shares in `result.json`; the last one may end in `_<post-processor>`."""


@dataclass(frozen=True)
class ShareTable:
    """The shares of all groups.

    Attributes:
        findings: The groups, those that were found under-represented first.
        columns: Key of the share → share of each group, None where it is not known; the data first.
    """

    findings: tuple[GroupFinding, ...]
    columns: Mapping[str, list[float | None]]


def share_table(
    result: Mapping[str, Any], found: GroupDiagnosis, diagnosis: Diagnosis
) -> ShareTable:
    """Gathers the shares that are known, by group: a result's, and those of the data.

    The findings decide the order.
    """
    # What was found comes first: the generated share, then the score.
    shown = [*found.short, *(f for f in found.standing_out if not f.is_short)]
    shown += [f for f in found.findings if not f.is_flagged]
    names = [f.name for f in shown]
    columns: dict[str, list[float | None]] = {
        DATA: [float((diagnosis.group == f.group).mean()) for f in shown]
    }
    for key in (DRAWN, *generated_keys(result, names)):
        column = [group_share(result, name, key) for name in names]
        if any(value is not None for value in column):
            columns[key] = column
    return ShareTable(tuple(shown), columns)


def generated_keys(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Returns the keys under which a result holds generated shares of these groups, sorted."""
    return sorted({k for name in names for k in _entry(result, name) if k.startswith(GENERATED)})


def group_share(result: Mapping[str, Any], name: str, key: str) -> float | None:
    """Returns a share of a group in `result.json`, None if there is none."""
    share: float | None = _entry(result, name).get(key)
    return share


def kind_of(key: str) -> str:
    """Returns the post-processor that a key speaks of, "" for plain samples."""
    return key.removeprefix(GENERATED).lstrip("_")


def _entry(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    groups = result.get("groups")
    entry = groups.get(name) if isinstance(groups, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}
