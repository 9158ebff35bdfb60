"""How a cell of a claim is measured in tests: where a process that was started finds it, too."""

from __future__ import annotations

from typing import Any

from gan_registry.errors import UserError


def says(cell: Any, sitting: Any) -> str:
    """Measures nothing; the method "two" fails."""
    if cell.method == "two":
        raise UserError("no")
    return "yes"
