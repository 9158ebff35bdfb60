"""Writes `RESULTS.md` from the cells: what was claimed, what came out, and what was not run."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.claims import cells as cell_files
from benchmarks.claims import declared
from benchmarks.claims.declared import Claim, Column, Row, Rows, load
from gan_registry.files import atomic_write

PAGE = "RESULTS.md"
_NOT_RUN = "not run"
_HEAD = """# Results

Written by `python -m benchmarks.claims`, from the files in [results](results). Do not edit it.

Numbers are means ± the standard deviation over the seeds. All methods of a table have the same
networks, steps, seeds and evaluation, and none was tuned alone. What the claim's failure would be
was written down before anything was measured.
"""


def write_page(path: Path, results: Path) -> None:
    """Writes the page, and the pictures of the claims that have one beside it.

    Args:
        path: The page.
        results: The folder of the cells.
    """
    parts = [_HEAD]
    for name in declared.CLAIMS:
        claim = load(name)
        parts.append(
            f"## {claim.title}\n\n"
            f"**Claimed** by {claim.source}. **Measured:** {claim.measured} "
            f"**It fails if:** {claim.failure}\n"
        )
        parts += [_scale(claim, scale, results, path.parent) for scale in claim.scales]
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


def _scale(claim: Claim, scale: str, results: Path, folder: Path) -> str:
    of = claim.scales[scale]
    contents = list(cell_files.read_all(results, claim.name, scale))
    rows = rows_of(claim, contents)
    command = f"python -m benchmarks.claims {claim.name}"
    if scale != "small":
        command += f" --scale {scale}"
    # Methods that somebody has added stand below those of the claim.
    methods = {name: how.kinds for name, how in of.methods.items()}
    for content in contents:
        methods.setdefault(content["method"], tuple(content["kinds"]))
    shown = f"`{of.config}`, " if of.config else ""
    parts = [f"### {scale.capitalize()}: {shown}{of.seeds} seeds, `{command}`\n"]
    for case in of.cases:
        lines = [
            _line(claim, rows, case, method, kind, of.seeds)
            for method, kinds in methods.items()
            for kind in kinds
        ]
        title = f"**{case}**\n\n" if case else ""
        parts.append(f"{title}{_head(claim)}\n" + "\n".join(lines) + "\n")
    if rows and claim.verdict is not None:
        parts.append(f"**Found:** {claim.verdict(rows)}\n")
    if rows and claim.plot is not None:
        picture = folder / "pictures" / f"{claim.name}-{scale}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        claim.plot(rows, picture)
        parts.append(f"![{claim.title}](pictures/{picture.name})\n")
    parts.append(_provenance(contents) if contents else f"Nothing was measured: run `{command}`.\n")
    return "\n".join(parts)


def _head(claim: Claim) -> str:
    titles = ["", *(column.title for column in claim.columns)]
    if claim.won is not None:
        titles.append("pairs won")
    return f"| {' | '.join([*titles, 'seeds'])} |\n|{' --- |' * (len(titles) + 1)}"


def _line(claim: Claim, rows: Rows, case: str, method: str, kind: str, seeds: int) -> str:
    name = method if kind == "plain" else f"{method}, after {kind}"
    by_seed = rows.get((case, method, kind), {})
    if not by_seed:
        blanks = len(claim.columns) - 1 + (claim.won is not None)
        return f"| {name} | {_NOT_RUN} |{' |' * blanks} 0 of {seeds} |"
    cells = [name, *(spread(column, list(by_seed.values())) for column in claim.columns)]
    if claim.won is not None:
        cells.append(_pairs(claim, rows, case, method, kind))
    count = len(by_seed)
    cells.append(str(count) if count >= seeds else f"{count} of {seeds}")
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
    if (method, kind) == claim.compared:
        return "–"
    others = rows.get((case, *claim.compared), {})
    mine = rows[case, method, kind]
    pairs = [claim.won(mine[seed], others[seed]) for seed in mine if seed in others]
    return f"{sum(pairs)} of {len(pairs)}" if pairs else "–"


def _provenance(contents: list[dict[str, Any]]) -> str:
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
