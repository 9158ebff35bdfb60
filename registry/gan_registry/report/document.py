"""The report as a document: sections made of a few kinds of blocks, rendered to one HTML page.

Blocks hold data, never HTML. Everything is escaped when rendered and every picture is embedded as
a `data:` address, so that a page stays inert and complete whatever a group or a config is called.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

import jinja2
from markupsafe import Markup, escape

from gan_registry.files import atomic_write
from gan_registry.formatting import format_cell, is_number, printable_lines

_FEW, _LONG = 3, 40
"""A table of more columns, or with a cell of more characters, is too wide for a phone."""

_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")

Width = Literal["full", "half", "third", "quarter"]
"""Narrow blocks sit side by side where the screen is wide enough."""


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by blank lines."""

    text: str
    kind: Literal["plain", "note", "warning"] = "plain"
    width: Width = "full"
    template: ClassVar[str] = "text"

    @property
    def paragraphs(self) -> list[str]:
        """The text, cut at blank lines."""
        return [part.strip() for part in re.split(r"\n\s*\n", self.text) if part.strip()]


@dataclass(frozen=True)
class Verdict:
    """What was found, in plain words.

    Attributes:
        headline: The finding, in a sentence.
        sentences: What backs it, the most important first.
        tone: Decides its colour.
        todo: What to do next.
    """

    headline: str
    sentences: tuple[str, ...] = ()
    tone: Literal["ok", "attention", "neutral"] = "neutral"
    todo: tuple[str, ...] = ()
    width: Width = "full"
    template: ClassVar[str] = "verdict"


@dataclass(frozen=True)
class Facts:
    """Short labelled values, such as the settings of a run."""

    items: tuple[tuple[str, Any], ...]
    width: Width = "full"
    template: ClassVar[str] = "facts"

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Labels with formatted values."""
        return [(label, format_cell(value)) for label, value in self.items]


@dataclass(frozen=True)
class Number:
    """A number that matters: what it is, its value, and what to hold it against."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Numbers:
    """A few numbers, set large, side by side."""

    items: tuple[Number, ...]
    width: Width = "full"
    template: ClassVar[str] = "numbers"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: The heading.
        format: "auto" (whole numbers with separators, others to 4 digits), "percent" (of a share
            in [0, 1]), or a format specification of Python's such as ".2f".
        align: "left", "right", or "auto": right if every value is a number.
    """

    title: str
    format: str = "auto"
    align: Literal["auto", "left", "right"] = "auto"


@dataclass(frozen=True)
class Table:
    """Rows under columns; None and NaN show as a dash.

    Attributes:
        columns: A heading each, or a :class:`Column`.
        rows: As many cells as there are columns in each.
        caption: What the table says.
        highlight: Numbers of the rows to set off.
        tall: Scrolls within a box of limited height on a screen; prints whole.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    highlight: frozenset[int] = frozenset()
    tall: bool = False
    width: Width = "full"
    template: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Argument `rows` must have {len(self.columns)} cells in each row, "
                    f"but got {len(row)}."
                )

    @cached_property
    def headings(self) -> list[tuple[str, str]]:
        """Title and alignment of each column."""
        return [(column.title, align) for column, align in self._columns]

    @cached_property
    def cells(self) -> list[list[tuple[str, str]]]:
        """Formatted value and alignment of each cell."""
        columns = self._columns
        return [
            [
                (format_cell(value, column.format), align)
                for value, (column, align) in zip(row, columns, strict=True)
            ]
            for row in self.rows
        ]

    @property
    def folds(self) -> bool:
        """Whether each row becomes a card on a phone, as there it is too wide."""
        long = (len(text) > _LONG for row in self.cells for text, _ in row)
        return len(self.columns) > _FEW or any(long)

    @cached_property
    def _columns(self) -> list[tuple[Column, str]]:
        columns = [c if isinstance(c, Column) else Column(c) for c in self.columns]
        resolved = []
        for number, column in enumerate(columns):
            align: str = column.align
            if align == "auto":
                values = [row[number] for row in self.rows if row[number] is not None]
                numeric = bool(values) and all(is_number(value) for value in values)
                align = "right" if numeric else "left"
            resolved.append((column, align))
        return resolved


@dataclass(frozen=True)
class Figure:
    """A chart or a picture.

    Attributes:
        image: SVG as text, or the bytes of a PNG.
        caption: What to see in it.
        alt: What a reader who cannot see it should know.
        pixelated: Keep the pixels of a tiny picture sharp when it is enlarged.
        min_width: CSS pixels below which it scrolls within its box instead of shrinking.
    """

    image: str | bytes
    caption: str
    alt: str
    pixelated: bool = False
    min_width: int = 0
    width: Width = "full"
    template: ClassVar[str] = "figure"

    @property
    def source(self) -> str:
        """The picture as a `data:` address. As an image, an SVG can run no script."""
        if isinstance(self.image, str):
            return _data_uri(self.image.encode(), "image/svg+xml")
        return _data_uri(self.image, "image/png")

    @property
    def is_chart(self) -> bool:
        """Whether it is drawn (SVG) rather than a picture (PNG)."""
        return isinstance(self.image, str)


@dataclass(frozen=True)
class ImageGrid:
    """Many small pictures, each with its label; a label may have several lines."""

    images: Sequence[bytes]
    labels: Sequence[str]
    caption: str = ""
    pixelated: bool = True
    width: Width = "full"
    template: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"Argument `labels` must have one label for each of {len(self.images)} images, "
                f"but got {len(self.labels)}."
            )

    @property
    def items(self) -> list[tuple[str, list[str]]]:
        """A `data:` address and the lines of its label, for each picture."""
        return [
            (_data_uri(image, "image/png"), label.split("\n"))
            for image, label in zip(self.images, self.labels, strict=True)
        ]


@dataclass(frozen=True)
class Details:
    """A long text that is folded away until it is asked for, e.g. a whole config."""

    summary: str
    text: str
    width: Width = "full"
    template: ClassVar[str] = "details"


Block = Text | Verdict | Numbers | Facts | Table | Figure | ImageGrid | Details


@dataclass(frozen=True)
class Section:
    """A heading with its blocks; made by :meth:`Report.add_section`."""

    title: str
    blocks: tuple[Block, ...]
    order: int
    anchor: str
    replaces: str | None = None


@dataclass
class Report:
    """A page made of sections, to which the host and each plugin add their own.

    Where a section stands follows from its `order` alone, not from who was called first.

    Attributes:
        title: The page's.
        subtitle: A line below it.
        result: What the page is made from, as `result.json` holds it; None: as it does hold it.

    Example:
        >>> report = Report("A run", subtitle="seed 0")
        >>> report.add_section("Findings", Text("Nothing."), order=10, anchor="findings")
        >>> "Nothing." in report.html()
        True
    """

    title: str
    subtitle: str = ""
    result: Mapping[str, Any] | None = None
    _sections: dict[str, Section] = field(default_factory=dict, repr=False)

    def add_section(
        self, title: str, *blocks: Block, order: int, anchor: str, replaces: str | None = None
    ) -> None:
        """Adds a section.

        Args:
            title: The heading.
            *blocks: What it shows, from top to bottom.
            order: Its place; the host's own sections stand at 20, 30, … (see `host_sections`).
            anchor: Its name in links, unique in the report: lower-case letters, digits, hyphens.
            replaces: The anchor of a section that this one makes superfluous; that one is left
                out, whichever of the two is added first.

        Raises:
            ValueError: The anchor is taken, or is no such name.
            TypeError: A block is none of this module's.
        """
        if not re.fullmatch(r"[a-z][a-z0-9-]*", anchor):
            raise ValueError(
                "Argument `anchor` must be lower-case letters, digits and hyphens, "
                f"but got {anchor!r}."
            )
        if anchor in self._sections:
            raise ValueError(
                f"Argument `anchor` must be unique in a report, but got {anchor!r} again."
            )
        for block in blocks:
            if not isinstance(block, Block):
                raise TypeError(f"Argument `blocks` must be report blocks, but got {block!r}.")
        self._sections[anchor] = Section(title, blocks, order, anchor, replaces)

    @property
    def sections(self) -> list[Section]:
        """The sections that will be shown, in their order."""
        replaced = {section.replaces for section in self._sections.values()}
        shown = [section for section in self._sections.values() if section.anchor not in replaced]
        return sorted(shown, key=lambda section: (section.order, section.anchor))

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that comes first, if there is any."""
        blocks = (block for section in self.sections for block in section.blocks)
        return next((block for block in blocks if isinstance(block, Verdict)), None)

    def html(self) -> str:
        """Renders the page; it refers to nothing outside itself."""
        page = _template().render(report=self, style=Markup(_resource("style.css")))
        return printable_lines(page)  # names come from data: no marks of direction, no half bytes

    def write(self, path: str | Path) -> None:
        """Writes the page, whole or not at all.

        Raises:
            UserError: The disk is full, read-only or not writable.
        """
        with atomic_write(path) as temporary:
            temporary.write_text(self.html(), encoding="utf-8")


def _with_flags(text: str) -> Markup:
    """Escapes a text and sets flags of commands off, which are then not broken over lines."""
    return Markup(_FLAG.sub(r"<code>\g<0></code>", str(escape(text))))


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _resource(name: str) -> str:
    return files("gan_registry.report").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["flags"] = _with_flags
    return environment.from_string(_resource("template.html"))
