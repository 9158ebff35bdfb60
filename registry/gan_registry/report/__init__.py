"""The report of a run: one HTML page to which the host and its plugins add sections."""

from __future__ import annotations
