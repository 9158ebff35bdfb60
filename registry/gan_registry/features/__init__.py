"""Feature extractors, chosen by name or by file (`--features`, `RUN.eval_features`)."""

from __future__ import annotations

BUILTIN: dict[str, str] = {}
