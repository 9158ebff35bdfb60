"""What a claim is: what was measured where, by which methods, and what would count as failure.

A claim is a module of this package that holds a :class:`Claim` by the name `CLAIM`. All of it is
written before anything is measured; numbers stand in the cells of :mod:`benchmarks.claims.cells`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.training.run import Run

CLAIMS = (
    "missing_modes",
    "minorities",
    "rare_modes",
    "k_and_phase1",
    "coloured_digits",
    "minority_quality",
    "colored_mnist",
    "healthy_digits",
    "score_extremes",
    "hinge",
    "shares_after_rejection",
    "mixtures",
    "divergences",
    "intra_mode_collapse",
    "real_images",
    "celeba_attributes",
    "replicated_images",
    "mixtures_of_images",
)
"""The modules, in the order of the page."""

PLAIN = "plain"
"""Samples as the generator makes them; other kinds are names of post-processors."""

Settings = Mapping[str, Any]
"""`SECTION.key` → value, over a packaged configuration."""

Row = dict[str, float | None]
"""What the table shows of one kind of samples of one cell."""


@dataclass(frozen=True)
class Method:
    """How a cell is trained and what is measured of it.

    Attributes:
        settings: Over the configuration and the case.
        later: Over these, from the end of Dia's phase 1 on. Methods that agree in all but `later`
            share that phase: it is trained once. None shares nothing.
        kinds: Kinds of samples, each a row of the table.
        added: What `--add` was given, where that has made it.
    """

    settings: Settings = field(default_factory=dict)
    later: Settings | None = None
    kinds: tuple[str, ...] = (PLAIN,)
    added: tuple[str, ...] = ()

    def changed(self, settings: Settings) -> Method:
        """Returns the method with other settings, of the whole run or of what comes later."""
        if self.later is None:
            return replace(self, settings={**self.settings, **settings})
        return replace(self, later={**self.later, **settings})


@dataclass(frozen=True)
class Column:
    """A column of a claim's table.

    Attributes:
        title: With ↑ or ↓ where one way is better.
        key: In the rows that the claim reads off a cell.
        form: A format, such as ".3f" or ".1%".
    """

    title: str
    key: str
    form: str = ".3f"


@dataclass(frozen=True)
class Scale:
    """One size of a claim.

    Attributes:
        config: The packaged configuration.
        cases: What is varied beside methods and seeds, such as levels of imbalance. The key
            `CONFIG` stands for another packaged configuration, `FOLDER` for the folder below
            `--data` that the data lie in.
        methods: By the names of the rows.
        seeds: How many.
        seconds: About what a cell takes on one thread of two CPU cores, for the first estimate.
        published: (Case, method, kind) → what the source has for columns, by their keys.
    """

    config: str
    cases: Mapping[str, Settings]
    methods: Mapping[str, Method]
    seeds: int
    seconds: float
    published: Mapping[tuple[str, str, str], Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One of the things without which a claim has failed.

    Attributes:
        holds: Whether it is so; None where that was not measured.
        text: What is needed, and the numbers.
    """

    holds: bool | None
    text: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, or of this project.

    Attributes:
        name: The module's name.
        title: One line.
        source: The paper, and its table or figure.
        measured: What is measured, and how.
        failure: What would count as failure of the claim.
        columns: Of the table.
        scales: "small", what a CPU can do, and "full", the papers' settings, or one of them.
        row: Reads a row off a cell's values, for a kind of samples.
        measure: Returns a cell's values from a trained run and its result; by default the result.
        cell: Makes a cell's values from its settings and seed, where nothing is trained.
        compared: (Method, kind) that the other rows are held against, seed by seed, and the rule
            that says whether a row has won against it; no rule, no such column.
        verdict: Holds the rows against `failure`, part by part.
        explained: What is known of why it came out so.
        plot: Draws the claim's picture to a file, from all rows and the content of all cells.
        data: Makes the data in a folder and returns where they are.
        elsewhere: What of the source is not measured here, with its numbers, and why.
        quick: Settings that make a run tiny, to see that everything works.
    """

    name: str
    title: str
    source: str
    measured: str
    failure: str
    columns: Sequence[Column]
    scales: Mapping[str, Scale]
    row: Callable[[Mapping[str, Any], str], Row]
    measure: Callable[[Run, dict[str, Any]], dict[str, Any]] | None = None
    cell: Callable[[Settings, int], dict[str, Any]] | None = None
    compared: tuple[str, str] | None = None
    won: Callable[[Row, Row], bool] | None = None
    verdict: Callable[[Rows], list[Part]] | None = None
    explained: str = ""
    plot: Callable[[Rows, list[dict[str, Any]], Path], None] | None = None
    data: Callable[[Path], Path] | None = None
    elsewhere: str = ""
    quick: Settings = field(default_factory=dict)


Rows = Mapping[tuple[str, str, str], Mapping[int, Row]]
"""(Case, method, kind) → seed → row, of what was measured."""


def load(name: str) -> Claim:
    """Imports a claim.

    Raises:
        UserError: There is no claim of that name.
    """
    if name not in CLAIMS:
        raise UserError(f"There is no claim {name!r}; there are: {', '.join(CLAIMS)}.")
    claim: Claim = importlib.import_module(f"benchmarks.claims.{name}").CLAIM
    return claim
