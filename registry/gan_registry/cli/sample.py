"""`gan-registry sample`: writes samples of a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gan_registry.cli.train import require_folder
from gan_registry.config.trust import add_trust_flag
from gan_registry.errors import UserError
from gan_registry.files import check_writable
from gan_registry.formatting import printable
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "sample",
        allow_abbrev=False,
        help="write samples of a trained run",
        description="Write samples of a trained run: an .npz file with the array x, or a folder of "
        "PNG files.",
    )
    parser.add_argument("--run", required=True, metavar="DIR", type=Path, help="the run folder")
    parser.add_argument("--num", required=True, metavar="N", type=int, help="how many")
    parser.add_argument(
        "--out", required=True, metavar="FILE.npz|DIR", type=Path, help="where to write them"
    )
    parser.add_argument("--samples", default="plain", help="post-processor (default: plain)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which draw (default: 1)")
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="default: the newest")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
        metavar="DEVICE", help="auto, cpu, cuda or mps (default: auto)",
    )  # fmt: skip
    add_trust_flag(parser)
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    require_folder(arguments.run)
    if arguments.num < 1:
        raise UserError(f"--num is {arguments.num}, but must be at least 1.")
    if arguments.seed < 0:
        raise UserError(f"--seed is {arguments.seed}, but must not be negative.")
    factory = plugins.catalogs.postprocessors[arguments.samples]
    check_writable(arguments.out)
    from gan_registry.evaluation.sample_files import write_samples
    from gan_registry.training.trainer import open_run

    live = open_run(
        arguments.run, plugins, arguments.checkpoint, arguments.device, trust=arguments.trust
    )
    source = factory(live, arguments.seed)
    write_samples(source, arguments.num, arguments.out, live.dataset)
    facts = ", ".join(f"{name} {value:.4g}" for name, value in source.statistics().items())
    said = f"wrote {arguments.num} samples to {arguments.out}"
    print(printable(said + (f" ({facts})" if facts else "")))
    return 0
