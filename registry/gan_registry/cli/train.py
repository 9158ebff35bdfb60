"""`gan-registry train`: trains, evaluates, writes the report, and says where it lies."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.cli.parser import ALL_HELP, ShowAll
from gan_registry.config.trust import add_trust_flag
from gan_registry.errors import UserError
from gan_registry.formatting import printable_lines
from gan_registry.plugins import PluginManager

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

_FLAGS = {
    "data": "DATA.path",
    "sampler": "RUN.sampler",
    "samples": "RUN.samples",
    "seed": "RUN.seed",
    "steps": "OPTIMIZATION.total_steps",
    "device": "RUN.device",
    "num_eval": "RUN.num_eval",
    "stop_on": "RUN.stop_on",
}
"""Flags that stand for keys of the configuration."""


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "train",
        parents=[plugins.parser],
        allow_abbrev=False,
        help="train a GAN, evaluate it, and write a report",
        description="Train a GAN, evaluate it, and write a report. The same command continues a "
        "run that was interrupted.",
    )
    parser.add_argument(ALL_HELP, action=ShowAll, help="show the flags of plugins too, and exit")
    config = parser.add_argument(
        "--config", required=True, metavar="NAME|FILE",
        help="a packaged configuration ('gan-registry list configs') or a YAML file",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="DIR", type=Path,
        help="the run folder (default: runs/CONFIG-SAMPLER-seedN)",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="folder that holds the data")
    parser.add_argument(
        "--download", action="store_true", help="fetch what is missing of the data first"
    )
    parser.add_argument(
        "--minority", action="append", metavar="GROUP=SHARE",
        help="thin a group of the data to that share, as 0.05 or 5%%; may be repeated",
    )  # fmt: skip
    sampler = parser.add_argument(
        "--sampler", help="how training samples are drawn (default: uniform)"
    )
    samples = parser.add_argument(
        "--samples", help="post-processor to evaluate beside plain samples"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything (default: 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="generator steps in all")
    parser.add_argument("--device", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--num-eval", type=int, metavar="N", help="samples to evaluate with")
    parser.add_argument(
        "--stop-on", metavar="WORD,…", type=lambda text: text.replace(",", " ").split(),
        help="end the training early when it is sick: collapse, nan, overfit",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.key=value", dest="settings",
        help="change any key of the configuration; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true",
        help="print the resolved configuration, the plan and an estimate of the cost, and stop",
    )  # fmt: skip
    add_trust_flag(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    parser.set_defaults(handler=run)
    config.completer = _configs
    sampler.completer = lambda: plugins.catalogs.samplers
    samples.completer = lambda: plugins.catalogs.postprocessors


def _configs() -> list[str]:
    from gan_registry.config.load import packaged_configs

    return packaged_configs()


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from gan_registry.config.load import (
        apply_settings,
        packaged_configs,
        read_config,
        set_key,
        validate_config,
    )
    from gan_registry.config.trust import named_code, refuse_code

    name, where, content = read_config(arguments.config)
    content = apply_settings(content, arguments.settings)
    origins = {text.partition("=")[0].strip(): f"--set {text}" for text in arguments.settings}
    for entry, key in _FLAGS.items():
        value = getattr(arguments, entry)
        if value is not None:
            flag = f"--{entry.replace('_', '-')}"
            content = set_key(content, key, value, flag)
            origins[key] = flag
    if arguments.minority:
        from gan_registry.datasets.imbalance import parse_minority

        shares = parse_minority(arguments.minority)
        content = set_key(content, "DATA.minority", shares, "--minority")
        origins["DATA.minority"] = "--minority"
    backbones = plugins.catalogs.backbones.of_plugins()
    config = validate_config(content, where, plugins.catalogs.claims, origins, backbones)
    options = plugins.options.resolve(config.PLUGINS, vars(arguments), where, origins)
    if not arguments.trust and arguments.config not in packaged_configs():
        code = named_code(config, options, plugins.options, plugins.catalogs.features)
        refuse_code(code, where, {*origins, *(f"PLUGINS.{dest}" for dest in vars(arguments))})
    folder = arguments.out or Path("runs", f"{name}-{config.RUN.sampler}-seed{config.RUN.seed}")

    if arguments.download:
        from gan_registry.datasets.download import download
        from gan_registry.training.build import data_folder

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("--download takes one process: fetch the data first, then train.")
        download(config.DATA.name, data_folder(config))
    if arguments.dry_run:
        from gan_registry.training.plan import describe_plan

        print(printable_lines(describe_plan(config, plugins, options, name, folder)))
        return 0

    from gan_registry.training.interruption import Interrupted, leaving_at_signals

    try:
        with leaving_at_signals(), ExitStack() as held:
            _train_and_measure(arguments, config, plugins, options, name, folder, held)
    except KeyboardInterrupt as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"\ngan-registry: {_what_is_kept(folder)}.", file=sys.stderr)
        return error.exit_code if isinstance(error, Interrupted) else 130
    return 0


def _train_and_measure(
    arguments: argparse.Namespace,
    config: Config,
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    name: str,
    folder: Path,
    held: ExitStack,
) -> None:
    """Trains, evaluates and reports; the folder is held until `held` is closed."""
    from gan_registry.evaluation.evaluate import evaluate, is_evaluated
    from gan_registry.evaluation.metric_choice import missing_for_more
    from gan_registry.evaluation.progress import ProgressBar
    from gan_registry.evaluation.results import RESULT_FILE, read_result
    from gan_registry.evaluation.tables import result_table
    from gan_registry.metrics.base import no_progress
    from gan_registry.report.write import build_report, summary, write_report
    from gan_registry.training.launch import process_group
    from gan_registry.training.lock import held_folder
    from gan_registry.training.trainer import train

    with process_group(config.RUN.device):
        held.enter_context(held_folder(folder))
        live = train(config, folder, plugins, options, name=name, quiet=arguments.quiet)
    if live.rank != 0:
        return
    if not is_evaluated(live):
        if not arguments.quiet:
            print(f"evaluating {config.RUN.num_eval} samples", file=sys.stderr, flush=True)
        evaluate(live, progress=no_progress if arguments.quiet else ProgressBar())
    report = build_report(live)
    paths = f"result  {folder / RESULT_FILE}\nreport  {write_report(live, report)}"
    result = read_result(folder)
    more = missing_for_more(config, result).replace("--run DIR", f"--run {folder}")
    parts = [result_table(result), more, paths, summary(report)]
    print(printable_lines("\n\n".join(part for part in parts if part)))


def _what_is_kept(folder: Path) -> str:
    from gan_registry.training.checkpoint import newest_sound

    step = newest_sound(folder)
    hint = "starts anew (no checkpoint yet)" if step is None else f"continues from step {step}"
    return f"interrupted; the same command {hint}"


def require_folder(path: Path) -> Path:
    """Checks that a run folder exists.

    Raises:
        UserError: It does not.
    """
    if not path.is_dir():
        raise UserError(f"There is no folder {path}; give the folder of a trained run.")
    return path
