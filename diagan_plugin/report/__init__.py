"""The diagnosis, added to the report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagan_plugin.report.sections import add_dia_sections as add_dia_sections

__all__ = ["add_dia_sections"]


def __getattr__(name: str) -> Any:
    # Lazily, because the sections draw with matplotlib.
    if name == "add_dia_sections":
        from diagan_plugin.report.sections import add_dia_sections

        return add_dia_sections
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
