"""Metrics of generated samples, chosen by name (`--metrics`, `RUN.eval_metrics`)."""

from __future__ import annotations

BUILTIN: dict[str, str] = {}
