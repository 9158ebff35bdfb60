"""`diagan export`: the statistics of every training sample as a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gan_registry.formatting import printable


def add_export(commands: Any) -> None:
    """Adds `diagan export`."""
    export = commands.add_parser(
        "export", allow_abbrev=False,
        help="write the statistics of every training sample as a table",
        description="Write a row for each training sample: index, path, label, group, LDRM, LDRV, "
        "score, probability of being drawn, and where known its cluster and whether it is likely "
        "rare or broken.",
    )  # fmt: skip
    export.add_argument(
        "--run", required=True, metavar="DIR", type=Path,
        help="a run folder, or its diagnosis.safetensors",
    )  # fmt: skip
    export.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="a .csv, .parquet or .npy file"
    )
    export.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Carries out `diagan export`."""
    from diagan_plugin.report.diagnosis import load_diagnosis
    from diagan_plugin.report.export import check_suffix, write_export

    check_suffix(arguments.out)  # before anything large is read
    diagnosis = load_diagnosis(arguments.run)
    path = write_export(diagnosis, arguments.out)
    print(printable(f"wrote {diagnosis.num_samples:,} samples to {path}"))
    return 0
