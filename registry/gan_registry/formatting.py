"""Numbers and names as people read them."""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Collection, Sequence
from typing import Any

DASH = "–"
NBSP = "\N{NO-BREAK SPACE}"


# What steers a terminal, ends a line or turns the text around it, cannot be seen, or cannot be
# written: controls, separators of lines, marks of direction, and surrogates, which are the bytes
# of names that are no UTF-8. Joiners (U+200C, U+200D) stay: words and emoji are spelt with them.
_HIDDEN = (
    "\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
)
_CONTROLS = re.compile(f"[\x00-\x1f{_HIDDEN}]")
_HIDDEN_IN_JSON = re.compile(f"[{_HIDDEN}]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def printable(text: object) -> str:
    r"""Escapes what a terminal would obey or could not show: text from data, files or plugins.

    Example:
        >>> printable("tab\t, colour \x1b[31m, a byte \udce9, caf\xe9")
        'tab\\t, colour \\x1b[31m, a byte \\xe9, caf\xe9'
    """
    return _CONTROLS.sub(_escaped, str(text))


def printable_lines(text: object) -> str:
    """Escapes like :func:`printable`, but keeps the ends of lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def one_line(text: object) -> str:
    """Puts a message on one line, and escapes like :func:`printable`."""
    return printable(re.sub(r"[ \t\r\n]+", " ", str(text)).strip(" "))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # the byte that the name has
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


def json_text(value: Any, indent: int | None = None) -> str:
    """Writes plain values as JSON, with its escapes for what :func:`printable` would escape."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Outside of strings JSON has none of these.
    return _HIDDEN_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_number(value: Any) -> bool:
    """Whether a value is a real number (a truth value is not)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def figure(value: float) -> str:
    """Formats a measured number: three digits that count, or all before the point.

    Example:
        >>> figure(0.4339), figure(28.93), figure(1189.4)
        ('0.434', '28.9', '1,189')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def percent(share: float) -> str:
    r"""Formats a share of [0, 1], keeping a digit that matters where it is small.

    Example:
        >>> percent(0.05), percent(0.0004), percent(0.0), percent(1e-6)
        ('5.0\xa0%', '0.04\xa0%', '0\xa0%', '<\xa00.01\xa0%')
    """
    value = 100.0 * share
    if value == 0:
        return f"0{NBSP}%"
    if 0 < value < 0.01:
        return f"<{NBSP}0.01{NBSP}%"
    digits = 2 if abs(value) < 0.1 else 1
    return f"{value:.{digits}f}{NBSP}%"


def duration(seconds: float) -> str:
    """Formats a length of time.

    Example:
        >>> duration(7.31), duration(59.7), duration(192), duration(7260)
        ('7 s', '1 min 00 s', '3 min 12 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_cell(value: Any, spec: str = "auto") -> str:
    """Formats a value for a table.

    Args:
        value: Anything; None and NaN become a dash.
        spec: "auto", "percent" or a format specification of Python's, which applies to numbers.
    """
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return str(value)
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if spec == "percent":
        text = percent(float(value))
    elif spec != "auto":
        text = format(value, spec)
    elif isinstance(value, numbers.Integral):
        text = f"{int(value):,}"
    else:
        text = f"{float(value):.4g}"
    return text.replace("-", "−") if text.startswith("-") else text


_BOLD, _PLAIN = "\033[1m", "\033[0m"


def align(rows: Sequence[Sequence[str]], bold: Collection[tuple[int, int]] = ()) -> list[str]:
    """Sets rows in columns: the first left, the others right, with a rule below the head.

    Args:
        rows: The cells; what a terminal would obey in them is escaped.
        bold: (row, column) of the cells to set off, with the codes that terminals understand.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def pad(row: int, column: int) -> str:
        cell = rows[row][column]
        space = " " * (widths[column] - len(cell))  # the codes have no width
        if (row, column) in bold:
            cell = f"{_BOLD}{cell}{_PLAIN}"
        return cell + space if column == 0 else space + cell

    lines = [
        "  ".join(pad(row, column) for column in range(len(widths))).rstrip()
        for row in range(len(rows))
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return lines
