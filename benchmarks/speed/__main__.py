"""`python -m benchmarks.speed`: measures, prints a table, and writes JSON."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import logging
import sys
import time
import traceback
from pathlib import Path

import torch

from benchmarks.speed import BENCHMARKS
from benchmarks.speed.harness import (
    CLOCKS,
    Row,
    Settings,
    Skipped,
    machine,
    markdown,
    table,
    use_clock,
    write_json,
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmarks asked for; 1 if one failed, whether or not aims are met otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAMES", default=",".join(BENCHMARKS),
        help=f"comma-separated, of: {', '.join(BENCHMARKS)}",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing"
    )
    parser.add_argument("--repeats", type=int, metavar="N", help="pairs of measurements")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of torch (2)")
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall",
        help="cpu: the process's own time, for a busy machine, best with --threads 1 (wall)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name]
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown or not names:
        parser.error(f"--only takes {', '.join(BENCHMARKS)}, not {', '.join(unknown) or 'nothing'}")
    if options.threads < 1 or (options.repeats is not None and options.repeats < 1):
        parser.error("--threads and --repeats take numbers of at least 1")

    settings = Settings(options.quick, options.repeats, options.threads, options.clock)
    use_clock(options.clock)
    torch.set_num_threads(settings.threads)
    logging.disable(logging.WARNING)  # about runs that are short on purpose
    rows: list[Row] = []
    failed = False
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows += importlib.import_module(BENCHMARKS[name]).run(settings)
        except Skipped as reason:
            rows.append(Row(name, "skipped", note=str(reason)))
        except Exception as error:  # the others' numbers took long to get
            traceback.print_exc()
            rows.append(Row(name, "failed", note=f"{type(error).__name__}: {error}"))
            failed = True
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if settings.quick:
            rows = [dataclasses.replace(row, met=None) for row in rows]
        if options.json is not None:
            write_json(options.json, rows, settings)
    facts = machine(settings.threads)
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    print(markdown(rows) if options.markdown else table(rows))
    print(
        f"\n{facts['system']} {facts['architecture']} ({facts['cpu_capability']}), "
        f"{facts['cpus']} CPUs, {facts['torch_threads']} torch threads, "
        f"{settings.clock} time; {versions}"
    )
    if settings.quick:
        print("--quick: the sizes are tiny, and the numbers mean nothing.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
