"""`gan-registry init`: a first configuration for images of one's own."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError
from gan_registry.formatting import printable_lines
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "init", allow_abbrev=False, help="write a first configuration for your own images",
        description="Look at a folder of images (a folder in it is a class) or at a NumPy file, "
        "try a few steps, and write a commented configuration that fits data and machine.",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="FOLDER|FILE", type=Path,
        help="a folder of images, or a .npz or .npy file",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="FILE.yaml", type=Path, help="the file to write (default: NAME.yaml)"
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
        metavar="DEVICE", help="auto, cpu, cuda or mps (default: auto)",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    stem = re.sub(r"[^\w.-]", "_", arguments.data.resolve().stem) or "images"
    out = arguments.out or Path(f"{stem}.yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out is {out}, but must end in .yaml.")
    if out.exists():
        raise UserError(f"{out} is there already; choose another file with --out, or remove it.")
    from gan_registry.files import atomic_write
    from gan_registry.training.starter import starter

    made = starter(arguments.data, plugins, arguments.device)
    with atomic_write(out) as temporary:
        temporary.write_text(made.text, encoding="utf-8")
    lines = [
        f"found   {made.found}",
        f"wrote   {out}: {made.summary}",
        f"next    gan-registry train --config {out}",
    ]
    print(printable_lines("\n".join(lines)))
    return 0
