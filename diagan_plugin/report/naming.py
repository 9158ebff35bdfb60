"""Lists of names as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diagan_plugin.report.findings import GroupFinding

SHOWN = 3
"""So many groups are named one by one."""


def listing(names: Sequence[str]) -> str:
    """Joins names: “a”, “b” and 3 others."""
    quoted = [f"“{name}”" for name in names]
    if len(quoted) > SHOWN + 1:
        quoted = [*quoted[:SHOWN], f"{len(quoted) - SHOWN} others"]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def names_of(findings: Iterable[GroupFinding]) -> list[str]:
    """Returns the groups' names."""
    return [finding.name for finding in findings]
