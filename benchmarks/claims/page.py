"""Writes `RESULTS.md` from the cells: what was claimed, what came out, and what was not run."""

from __future__ import annotations

import collections
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import cells as cell_files
from benchmarks.claims import declared
from benchmarks.claims.declared import PLAIN, Claim, Column, Row, Rows, Scale, load
from benchmarks.claims.findings import word
from benchmarks.claims.sittings import estimate
from gan_registry.files import atomic_write

PAGE = "RESULTS.md"
CONFIRMED_FROM = 100
"""Seeds from here on have tables of their own: they confirm what was chosen by the others."""

Content = dict[str, Any]
"""What the file of a cell holds."""

Cells = Mapping[tuple[str, str], list[Content]]
"""(Claim, scale) → its cells that were measured."""

_NOT_RUN = "not run"
_FOUND = {"holds": "holds", "fails": "fails", "open": "is open"}
_HEAD = """# Results

Written by `python -m benchmarks.claims`, from the files in [results](results). Do not edit it.

Numbers are means ± the standard deviation over the seeds. All methods of a table have the same
networks, steps, seeds and evaluation, and none was tuned alone. What the claim's failure would be
was written down before anything was measured; a claim "holds" if nothing of it was found, "fails"
if anything was, and is "open" where a part of it was not measured. "Not run" has the command that
would run it above.
"""


def write_page(path: Path, results: Path, draw: bool = True) -> None:
    """Writes the page, and the pictures of the claims that have one beside it.

    Args:
        path: The page.
        results: The folder of the cells.
        draw: Draw the pictures; else the page shows those that are there.
    """
    claims = [load(name) for name in declared.CLAIMS]
    cells = {
        (claim.name, scale): list(cell_files.read_all(results, claim.name, scale))
        for claim in claims for scale in claim.scales
    }  # fmt: skip
    parts = [_HEAD, _overview(claims, cells)]
    for claim in claims:
        parts.append(
            f"## {claim.title}\n\n"
            f"**Claimed** by {claim.source}. **Measured:** {claim.measured} "
            f"**It fails if:** {claim.failure}\n"
        )
        parts += [
            _scale(claim, scale, cells[claim.name, scale], results, path.parent, draw)
            for scale in claim.scales
        ]
        if claim.explained:
            parts.append(f"**Why:** {claim.explained}\n")
        if claim.elsewhere:
            parts.append(f"**Not measured here:** {claim.elsewhere}\n")
    text = "\n".join(parts)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def rows_of(claim: Claim, contents: Iterable[Mapping[str, Any]]) -> Rows:
    """Returns (case, method, kind) → seed → row of what was measured."""
    rows: dict[tuple[str, str, str], dict[int, Row]] = collections.defaultdict(dict)
    for content in contents:
        for kind in content["kinds"]:
            key = content["case"], content["method"], kind
            rows[key][content["seed"]] = claim.row(content["values"], kind)
    return rows


def _overview(claims: Sequence[Claim], cells: Cells) -> str:
    """Returns the table of what came out, a line a claim."""
    lines = ["| claim | small scale | full scale |", "| --- | --- | --- |"]
    for claim in claims:
        # As a heading's link is made of its text.
        anchor = re.sub(r"[^\w -]", "", claim.title.lower()).replace(" ", "-")
        shown = [_in_short(claim, cells.get((claim.name, scale))) for scale in ("small", "full")]
        lines.append(f"| [{claim.title}](#{anchor}) | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _in_short(claim: Claim, contents: list[Content] | None) -> str:
    if contents is None:
        return "–"
    if not contents:
        return "not run"
    first, later = _by_purpose(contents)
    shown = [_how_many(claim, of) for of in (first, later) if of]
    return shown[0] if len(shown) == 1 else f"{shown[0]}; confirmation: {shown[1]}"


def _how_many(claim: Claim, contents: list[Content]) -> str:
    if claim.verdict is None:
        return "measured"
    parts = claim.verdict(rows_of(claim, contents))
    known = [part for part in parts if part.holds is not None]
    text = (
        f"**{word(parts)}**, {sum(bool(part.holds) for part in known)} of {len(known)} parts hold"
    )
    unknown = len(parts) - len(known)
    return f"{text}, {unknown} not measured" if unknown else text


def _by_purpose(contents: list[Content]) -> tuple[list[Content], list[Content]]:
    """Divides cells into those that something was chosen by and those that confirm it."""
    first = [content for content in contents if content["seed"] < CONFIRMED_FROM]
    return first, [content for content in contents if content["seed"] >= CONFIRMED_FROM]


def _scale(
    claim: Claim, scale: str, contents: list[Content], results: Path, folder: Path, draw: bool
) -> str:
    of = claim.scales[scale]
    command = f"python -m benchmarks.claims {claim.name}"
    if scale != "small":
        command += f" --scale {scale}"
    shown = f"`{of.config}`, " if of.config else ""
    seeds = "1 seed" if of.seeds == 1 else f"{of.seeds} seeds"
    note = "; in brackets the source's numbers" if of.published else ""
    parts = [f"### {scale.capitalize()}: {shown}{seeds}, `{command}`{note}\n"]
    first, later = _by_purpose(contents)
    parts += _block(claim, scale, first, _picture(claim, scale, folder, ""), draw)
    if later:
        parts.append(f"#### Confirmed on seeds from {CONFIRMED_FROM} on\n")
        parts += _block(claim, scale, later, _picture(claim, scale, folder, "-confirmed"), draw)
    told = _provenance(contents) if contents else _why_not(claim, scale, results, command)
    parts.append(told)
    return "\n".join(parts)


def _picture(claim: Claim, scale: str, folder: Path, suffix: str) -> Path:
    return folder / "pictures" / f"{claim.name}-{scale}{suffix}.png"


def _block(
    claim: Claim, scale: str, contents: list[Content], picture: Path, draw: bool
) -> Iterator[str]:
    """Yields the tables of some seeds, what was found, and the picture."""
    of = claim.scales[scale]
    # Methods that somebody has added stand below those of the claim.
    methods = {name: how.kinds for name, how in of.methods.items()}
    for content in contents:
        methods.setdefault(content["method"], tuple(content["kinds"]))
    order = [
        (case, method, kind) for case in of.cases for method in methods for kind in methods[method]
    ]
    measured = rows_of(claim, contents)
    rows = {key: measured[key] for key in order if key in measured}
    for case in of.cases:
        lines = [_line(claim, of, rows, key) for key in order if key[0] == case]
        title = f"**{case}**\n\n" if case else ""
        yield f"{title}{_head(claim)}\n" + "\n".join(lines) + "\n"
    if rows and claim.verdict is not None:
        parts = claim.verdict(rows)
        marks = {True: "yes", False: "**no**", None: "not measured"}
        told = "".join(f"\n- {marks[part.holds]}: {part.text}." for part in parts)
        yield f"**Found:** the claim {_FOUND[word(parts)]}.\n{told}\n"
    if rows and claim.plot is not None:
        if draw:
            picture.parent.mkdir(parents=True, exist_ok=True)
            claim.plot(rows, contents, picture)
        if picture.exists():
            yield f"![{claim.title}](pictures/{picture.name})\n"


def _head(claim: Claim) -> str:
    titles = ["", *(column.title for column in claim.columns)]
    if claim.won is not None:
        titles.append("pairs won")
    return f"| {' | '.join([*titles, 'seeds'])} |\n|{' --- |' * (len(titles) + 1)}"


def _line(claim: Claim, of: Scale, rows: Rows, key: tuple[str, str, str]) -> str:
    _, method, kind = key
    name = method if kind == PLAIN else f"{method}, {kind}"
    by_seed, theirs = rows.get(key, {}), of.published.get(key, {})
    cells = [name]
    for column in claim.columns:
        ours = spread(column, list(by_seed.values())) if by_seed else _NOT_RUN
        number = theirs.get(column.key)
        cells.append(ours if number is None else f"{ours} ({format(number, column.form)})")
    if claim.won is not None:
        cells.append(_pairs(claim, rows, *key))
    count = len(by_seed)
    cells.append(str(count) if count >= of.seeds else f"{count} of {of.seeds}")
    return f"| {' | '.join(cells)} |"


def spread(column: Column, rows: list[Row]) -> str:
    """Writes mean ± standard deviation of a column; how many of the rows have no such number."""
    found = [value for row in rows if (value := row.get(column.key)) is not None]
    if not found:
        return "–"
    mean = format(statistics.fmean(found), column.form)
    if len(found) > 1:
        mean = f"{mean} ± {format(statistics.stdev(found), column.form)}"
    missing = len(rows) - len(found)
    return f"{mean} ({missing} without)" if missing else mean


def _pairs(claim: Claim, rows: Rows, case: str, method: str, kind: str) -> str:
    assert claim.won is not None
    assert claim.compared is not None
    if (method, kind) == claim.compared or (case, method, kind) not in rows:
        return "–"
    others = rows.get((case, *claim.compared), {})
    mine = rows[case, method, kind]
    pairs = [claim.won(mine[seed], others[seed]) for seed in mine if seed in others]
    return f"{sum(pairs)} of {len(pairs)}" if pairs else "–"


def _why_not(claim: Claim, scale: str, results: Path, command: str) -> str:
    """Says that nothing was measured, how long that would take, and how it is done."""
    of = claim.scales[scale]
    cells = cell_files.cells_of(claim, scale, list(of.cases), of.methods, range(of.seeds), {})
    needed = estimate(cells, results, 1).partition(" with ")[0].replace(" to measure", "")
    return f"Nothing was measured, for want of time ({needed} on one core): run `{command}`.\n"


def _provenance(contents: list[Content]) -> str:
    """Says when, where and by which versions cells were measured."""
    dates = sorted({content["date"] for content in contents})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    machines, versions = set(), set()
    for content in contents:
        of = content["machine"]
        machines.add(f"{of['cpus']} CPUs ({of['architecture']}, {of['cpu_capability']})")
        versions.add(", ".join(f"{name} {number}" for name, number in of["versions"].items()))
    hours = sum(content["seconds"] for content in contents) / 3600
    return (
        f"{len(contents)} cells, {days}, {'; '.join(sorted(machines))}, one thread a cell, "
        f"{hours:.1f} h without shared phases; {'; '.join(sorted(versions))}.\n"
    )
