"""Holds what was measured against what was written down before: parts of verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.claims.declared import Part, Row, Rows


def word(parts: Sequence[Part]) -> str:
    """Returns "holds", "fails", or "open" where nothing fails and something was not measured."""
    found = {part.holds for part in parts}
    if False in found:
        return "fails"
    return "open" if None in found or not parts else "holds"


def number(
    rows: Rows, case: str, method: str, kind: str, key: str,
    of: Callable[[Sequence[float]], float] = statistics.fmean,
) -> float | None:  # fmt: skip
    """Returns a column's mean over the seeds, or another statistic; None where there is none."""
    by_seed = rows.get((case, method, kind), {})
    found = [value for row in by_seed.values() if (value := row.get(key)) is not None]
    return of(found) if found else None


def deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def below(
    text: str, mine: float | None, other: float | None, form: str = ".3g",
    slack: float | None = None,
) -> Part:  # fmt: skip
    """Says whether a number is below another, as it has to be.

    Args:
        text: Names both; `{mine}` and `{other}` stand for the numbers.
        mine: The one, None where it was not measured.
        other: The other.
        form: How numbers are written.
        slack: It may be as large as the other, and larger by this.
    """
    holds = None
    if mine is not None and other is not None:
        holds = mine < other if slack is None else mine <= other + slack
    return Part(holds, _filled(text, mine, other, form))


def above(
    text: str, mine: float | None, other: float | None, form: str = ".3g",
    slack: float | None = None,
) -> Part:  # fmt: skip
    """Says whether a number is above another, as it has to be; arguments as for :func:`below`."""
    return Part(below("", other, mine, form, slack).holds, _filled(text, mine, other, form))


def _filled(text: str, mine: float | None, other: float | None, form: str) -> str:
    shown = ("not run" if value is None else format(value, form) for value in (mine, other))
    return text.format(**dict(zip(("mine", "other"), shown, strict=True)))


def pairs_won(
    rows: Rows, case: str, row: tuple[str, str], other: tuple[str, str],
    won: Callable[[Row, Row], bool],
) -> list[bool]:  # fmt: skip
    """Returns, for each seed that two rows have, whether the first has won.

    Args:
        rows: What was measured.
        case: The case of both.
        row: Method and kind of samples.
        other: The same of what it is held against.
        won: The rule.
    """
    mine, theirs = rows.get((case, *row), {}), rows.get((case, *other), {})
    return [won(mine[seed], theirs[seed]) for seed in mine if seed in theirs]


def cases_of(rows: Rows) -> list[str]:
    """Returns the cases of which something was measured."""
    return list(dict.fromkeys(case for case, _, _ in rows))
