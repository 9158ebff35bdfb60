"""What the claims' commands share: their flags, and the file that the numbers go to."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.harness import machine


def claim_parser(
    description: str | None, configs: Sequence[str], seeds: int, samples: str
) -> argparse.ArgumentParser:
    """Returns a parser of `--configs`, `--steps`, `--seeds`, `--num`, `--quick` and `--json`.

    Args:
        description: What the claim is.
        configs: Packaged configurations, by default.
        seeds: How many, by default.
        samples: What kind of samples `--num` counts.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--configs", nargs="+", default=configs, metavar="NAME")
    parser.add_argument("--steps", type=int, help="default: the configuration's")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many")
    parser.add_argument("--num", type=int, default=5_000, help=samples)
    parser.add_argument("--quick", action="store_true", help="tiny; the numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return parser


def be_quick(options: argparse.Namespace, config: str) -> None:
    """Makes `--quick` of one configuration tiny."""
    if options.quick:
        options.configs, options.seeds, options.steps, options.num = [config], 1, 40, 50


def write_rows(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Writes the rows and the machine that they were measured on, if a file was asked for."""
    if path is not None:
        content = {"machine": machine(torch.get_num_threads()), "rows": rows}
        text = json.dumps(content, indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
