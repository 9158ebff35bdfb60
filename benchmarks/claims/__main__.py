"""Measures the claims: `python -m benchmarks.claims [NAME …]`.

Every (case, method, seed) is a cell; its numbers are a file below `benchmarks/results`. What is
there is not measured again, so that all can be spread over many sittings; what was interrupted goes
on. At the end `benchmarks/RESULTS.md` is written from all files.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.claims import cells as cell_files
from benchmarks.claims import declared
from benchmarks.claims.declared import Claim, Method, load
from benchmarks.claims.page import PAGE, write_page
from benchmarks.claims.sittings import Sitting, estimate, measure_all
from gan_registry.config.yaml_text import YamlError, load_yaml
from gan_registry.errors import UserError

_QUICK = Path("runs") / "claims-quick"


def main(arguments: list[str] | None = None) -> int:
    """Measures what was asked for and is missing; 1 if a cell failed, 2 for a mistake."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.jobs < 1 or (options.seeds is not None and options.seeds < 1):
        parser.error("--jobs and --seeds must be at least 1")
    if options.first_seed < 0:
        parser.error("--first-seed must be at least 0")
    try:
        return _main(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(declared.CLAIMS)}")
    add("--scale", choices=("small", "full"), default="small", help="the papers' own size: full")
    add("--seeds", type=int, metavar="N", help="how many; default: the claim's own number")
    add("--first-seed", type=int, default=0, metavar="N", help="the first of them (0)")
    add("--jobs", type=int, default=1, metavar="N", help="processes, of one thread each (1)")
    add("--methods", nargs="*", metavar="METHOD", help="only these; nothing: only what is added")
    add("--cases", nargs="+", metavar="CASE", help="only these")
    add(
        "--add", nargs="+", action="append", default=[], metavar=("METHOD", "KEY=VALUE"),
        help="one more method: a method of the claim, or 'NEW:METHOD', with other settings",
    )  # fmt: skip
    add("--quick", action="store_true", help=f"tiny, into {_QUICK}; the numbers mean nothing")
    add("--results", type=Path, metavar="DIR", help="where the numbers go (benchmarks/results)")
    add("--page", type=Path, metavar="FILE", help=f"the page (benchmarks/{PAGE})")
    add("--work", type=Path, default=Path("runs") / "claims", metavar="DIR",
        help="where runs lie until they are measured (runs/claims)")  # fmt: skip
    add("--data", type=Path, metavar="DIR", help="where folders mnist and cifar10 lie")
    add("--again", action="store_true", help="measure what is there again: the code has changed")
    add("--keep", action="store_true", help="keep the run folders")
    add("--page-only", action="store_true", help="measure nothing, write the page")
    return parser


def _main(options: argparse.Namespace) -> int:
    results, page, work = _places(options)
    names = options.names or list(declared.CLAIMS)
    claims = [load(name) for name in names]
    cells = []
    for claim in claims:
        of = claim.scales.get(options.scale)
        if of is None:
            if options.names:
                raise UserError(f"{claim.name} has no scale {options.scale!r}.")
            continue
        seeds = options.seeds or (1 if options.quick else of.seeds)
        cells += cell_files.cells_of(
            claim, options.scale, _cases(claim, options), _methods(claim, options),
            range(options.first_seed, options.first_seed + seeds),
            claim.quick if options.quick else {},
        )  # fmt: skip
    missing = [c for c in cells if options.again or not cell_files.is_measured(c, results)]
    failed = 0
    if not options.page_only:
        print(f"{len(cells)} cells, {len(cells) - len(missing)} of them measured", flush=True)
        if missing:
            print(estimate(missing, results, options.jobs), flush=True)
        # For what is started, too; set before torch is imported there.
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            sitting = Sitting(results, work, options.keep, options.data, options.again)
            failed = measure_all(missing, sitting, options.jobs)
        finally:
            write_page(page, results)
    else:
        write_page(page, results)
    print(f"wrote {page}")
    if failed:
        print(f"{failed} cells failed; the same command tries them again", file=sys.stderr)
    return int(failed > 0)


def _places(options: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Returns where numbers, page and runs go."""
    if options.quick:
        usual, work = _QUICK / "results", _QUICK / "runs"
    else:
        usual, work = cell_files.RESULTS, options.work
    results: Path = options.results or usual
    return results, options.page or results.parent / PAGE, work


def _cases(claim: Claim, options: argparse.Namespace) -> list[str]:
    known = claim.scales[options.scale].cases
    return _chosen(claim, "case", options.cases, list(known))


def _methods(claim: Claim, options: argparse.Namespace) -> dict[str, Method]:
    known = claim.scales[options.scale].methods
    chosen = _chosen(claim, "method", options.methods, list(known))
    methods = {name: known[name] for name in chosen}
    for name, *settings in options.add:
        new, _, base = name.rpartition(":")
        if base not in known:
            raise UserError(f"--add {name}: {claim.name} has no method {base!r} to change.")
        changed = known[base].changed(dict(_setting(name, text) for text in settings))
        shown = " ".join([base, *settings])
        methods[new or shown] = replace(changed, added=(name, *settings))
    return methods


def _setting(name: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    try:
        read = load_yaml(value)
    except YamlError as error:
        raise UserError(f"--add {name}: {text!r} is not valid YAML: {error}.") from error
    if not equals:
        raise UserError(f"--add {name}: {text!r} must be of the form SECTION.key=value.")
    return key, read


def _chosen(claim: Claim, kind: str, asked: list[str] | None, known: list[str]) -> list[str]:
    """Returns what was asked for, by its name or the beginning of one, or all."""
    if asked is None:
        return known
    found = []
    for name in asked:
        fitting = [one for one in known if one == name] or [
            one for one in known if one.startswith(name)
        ]
        if not fitting:
            raise UserError(
                f"{claim.name} has no {kind} {name!r}; there are: {', '.join(known) or 'none'}."
            )
        found += fitting
    return found


if __name__ == "__main__":
    sys.exit(main())
