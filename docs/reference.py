"""What the reference makes of docstrings: roles and headings in the words of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Readable(griffe.Extension):
    """Shows :class:`~a.b.C` as `C`, `Example:` as a section of code, and `::` as a colon."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of an object that has been read."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        text = re.sub(
            r":(?:class|func|meth|mod|data|attr|exc):`(?:~[\w.]*\.)?([^`]*)`", r"`\1`", text
        )
        text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
        obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)
