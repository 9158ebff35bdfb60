"""The share of each group in the data, among the draws, and in what is generated: the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.findings import GroupDiagnosis, GroupFinding

DATA, DRAWN, GENERATED = "share_data", "share_drawn", "share_generated"
"""Keys of a group's shares in `result.json`; the last one may end in `_<post-processor>`."""

BEFORE = "phase1"
"""Name of the generator that is kept when phase 1 ends."""

CLASSIFIED = "occurrence"
"""Key of the share that a classifier counted, where no rule of the data tells the groups apart."""

_OF_REAL = "occurrence_real"
SEEN, ACCURACY = "occurrence_real_seen", "classifier_accuracy"
"""Keys of what that classifier makes of the real samples: share put into the group; part known."""


@dataclass(frozen=True)
class ShareTable:
    """The shares of all groups.

    Attributes:
        findings: The groups, those that were found under-represented first.
        columns: Key of the share → share of each group, None where it is not known; the data first.
    """

    findings: tuple[GroupFinding, ...]
    columns: Mapping[str, list[float | None]]

    @property
    def set_off(self) -> frozenset[int]:
        """Rows of the groups that are made too rarely; where none was counted, as D rates them."""
        counted = any(f.state is not None for f in self.findings)
        return frozenset(
            i for i, f in enumerate(self.findings) if (f.is_short if counted else f.stands_out)
        )


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
    if any(f.before is not None for f in shown):
        columns[BEFORE] = [f.before for f in shown]
    for key in (DRAWN, *generated_keys(result, names)):
        column = [group_share(result, name, key) for name in names]
        if any(value is not None for value in column):
            columns[key] = column
    return ShareTable(tuple(shown), columns)


def generated_keys(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Returns the keys under which a result holds generated shares of these groups, sorted.

    Those by the data's own rule; a classifier's only where there are none of these.
    """
    keys = {key for name in names for key in _entry(result, name)}
    ruled = sorted(key for key in keys if key.startswith(GENERATED))
    return ruled or sorted(
        key for key in keys if key.startswith(CLASSIFIED) and not key.startswith(_OF_REAL)
    )


def group_share(result: Mapping[str, Any], name: str, key: str) -> float | None:
    """Returns a share of a group in `result.json`, None if there is none."""
    share: float | None = _entry(result, name).get(key)
    return share


def kept_before(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what was measured of the generator that was kept when phase 1 ended, if it was."""
    kept = result.get("kept")
    entry = kept.get(BEFORE) if isinstance(kept, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def kind_of(key: str) -> str:
    """Returns the post-processor that a key speaks of, "" for plain samples."""
    return key.removeprefix(GENERATED).removeprefix(CLASSIFIED).lstrip("_")


def _entry(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    groups = result.get("groups")
    entry = groups.get(name) if isinstance(groups, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}
