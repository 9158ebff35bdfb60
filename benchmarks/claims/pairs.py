"""When a run with a remedy has won against the run of the same seed without it."""

from __future__ import annotations

import math

from benchmarks.claims.declared import Row

_FID_WORSE = 1.05
_MAJOR_LESS = 0.03
_SMALL = 0.001
"""Added to shares, so that a group that is missing altogether has a finite distance."""


def won(row: Row, other: Row) -> bool:
    """Whether a row is better for the minority at no cost to the majority; a tie is a loss.

    Args:
        row: With `minor_recall`, `major_recall`, `share`, `truth` and `fid`.
        other: The same without the remedy.
    """
    needed = ("minor_recall", "major_recall", "share", "truth", "fid")
    mine, theirs = ([one.get(key) for key in needed] for one in (row, other))
    if None in mine or None in theirs:  # not finite, or not measured: nothing that won
        return False
    recall, major, share, truth, fid = (float(value or 0.0) for value in mine)
    recall_0, major_0, share_0, truth_0, fid_0 = (float(value or 0.0) for value in theirs)
    return (
        recall > recall_0
        and distance(share, truth) < distance(share_0, truth_0)
        and fid <= _FID_WORSE * fid_0
        and major >= major_0 - _MAJOR_LESS
    )


def distance(share: float, truth: float) -> float:
    """Returns |log| of a share over what it should be, finite for one that is 0."""
    return abs(math.log((share + _SMALL) / (truth + _SMALL)))
