"""How much is measured unless the user says otherwise."""

from __future__ import annotations

NUM = 10_000
"""Samples and anchors: from so many on the scores are stable (paper, §4.2.1)."""
