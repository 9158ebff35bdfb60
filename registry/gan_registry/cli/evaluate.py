"""`gan-registry evaluate`: measures a trained run, or two sets of images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.cli.train import require_folder
from gan_registry.config.trust import add_trust_flag
from gan_registry.errors import UserError
from gan_registry.formatting import printable_lines
from gan_registry.plugins import PluginManager

if TYPE_CHECKING:
    from gan_registry.metrics.base import Progress

NO_METRICS = "none"

_FOR_RUNS = {"samples": "--samples", "checkpoint": "--checkpoint"}
_FOR_IMAGES = {"img_size": "--img-size", "channels": "--channels", "skip_corrupt": "--skip-corrupt"}


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "evaluate", allow_abbrev=False, help="measure a trained run, or two sets of images",
        description="Measure a trained run: generate samples, compare them with the data, write "
        "result.json anew. Or compare two sets of images, with no run at all.",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="DIR", type=Path, help="the run folder")
    what.add_argument(
        "--images", nargs=2, metavar=("REAL", "FAKE"), type=Path,
        help="two folders of images, or .npz or .npy files",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", action="append", metavar="NAME[,NAME]",
        help="what to measure ('gan-registry list metrics'); none for what the dataset alone tells "
        "(default: the run's RUN.eval_metrics, else a standard set)",
    )  # fmt: skip
    parser.add_argument(
        "--features", metavar="NAME|FILE",
        help="what the metrics see: a name ('gan-registry list features') or a TorchScript file "
        "(default: the run's RUN.eval_features; auto chooses)",
    )  # fmt: skip
    parser.add_argument(
        "--num", type=int, metavar="N",
        help="generated samples (default: the run's own; of images at most 50,000)",
    )  # fmt: skip
    parser.add_argument(
        "--num-real", type=int, metavar="N",
        help="real samples to compare with, at most (default: 50,000)",
    )  # fmt: skip
    parser.add_argument(
        "--samples", action="append", metavar="NAME",
        help="post-processor to measure beside plain samples; may be repeated (default: the run's)",
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="default: the newest")
    parser.add_argument(
        "--img-size", type=int, metavar="PIXELS",
        help="crop and resize the images of folders to that side",
    )  # fmt: skip
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="bring the images of folders to grey or colour"
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave out images that cannot be read"
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
        metavar="DEVICE", help="auto, cpu, cuda or mps (default: auto)",
    )  # fmt: skip
    add_trust_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    mode, others = ("--run", _FOR_IMAGES) if arguments.images is None else ("--images", _FOR_RUNS)
    for entry, flag in others.items():
        if getattr(arguments, entry) not in (None, False):
            raise UserError(f"{flag} has no meaning with {mode}; leave it out.")
    for flag in ("num", "num_real", "img_size"):
        value = getattr(arguments, flag)
        if value is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')} is {value}, but must be at least 1.")
    metrics = _chosen_metrics(arguments.metrics, plugins)
    if mode == "--run":
        require_folder(arguments.run)
        for name in arguments.samples or ():
            _ = plugins.catalogs.postprocessors[name]

    from gan_registry.evaluation.tables import result_table

    measure = _measure_run if mode == "--run" else _measure_images
    result = measure(arguments, plugins, metrics, progress_of(arguments))
    print(json.dumps(result, indent=2) if arguments.json else printable_lines(result_table(result)))
    return 0


def _measure_run(
    arguments: argparse.Namespace,
    plugins: PluginManager,
    metrics: list[str] | None,
    progress: Progress,
) -> dict[str, Any]:
    from gan_registry.evaluation.evaluate import evaluate
    from gan_registry.evaluation.metric_choice import NUM_REAL, standard_metrics
    from gan_registry.evaluation.results import read_result
    from gan_registry.training.lock import held_folder
    from gan_registry.training.trainer import open_run

    with held_folder(arguments.run):
        live = open_run(
            arguments.run, plugins, arguments.checkpoint, arguments.device, trust=arguments.trust
        )
        if metrics is None and not live.config.RUN.eval_metrics:
            choice = arguments.features or live.config.RUN.eval_features
            metrics = standard_metrics(live.dataset, choice)
        evaluate(
            live,
            arguments.num,
            arguments.samples,
            metrics=metrics,
            features=arguments.features,
            num_real=arguments.num_real or NUM_REAL,
            strict=True,
            progress=progress,
        )
        return read_result(arguments.run)


def _measure_images(
    arguments: argparse.Namespace,
    plugins: PluginManager,
    metrics: list[str] | None,
    progress: Progress,
) -> dict[str, Any]:
    from gan_registry.evaluation.image_sets import measure_images
    from gan_registry.evaluation.metric_choice import NUM_REAL
    from gan_registry.files import to_plain

    if metrics == []:
        raise UserError(f"--metrics {NO_METRICS} leaves nothing to measure with --images.")
    real, fake = arguments.images
    result: dict[str, Any] = to_plain(
        measure_images(
            real,
            fake,
            plugins.catalogs,
            metrics=metrics,
            features="auto" if arguments.features is None else arguments.features,
            num=arguments.num or NUM_REAL,
            num_real=arguments.num_real or NUM_REAL,
            img_size=arguments.img_size,
            channels=arguments.channels,
            skip_corrupt=arguments.skip_corrupt,
            device=arguments.device,
            progress=progress,
        )
    )
    return result


def _chosen_metrics(texts: list[str] | None, plugins: PluginManager) -> list[str] | None:
    """Returns the names of `--metrics`, [] for none; None if it was not given."""
    if texts is None:
        return None
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    if names == [NO_METRICS]:
        return []
    if not names or NO_METRICS in names:
        raise UserError(f"--metrics takes names, e.g. fid,precision, or {NO_METRICS} alone.")
    for name in names:
        _ = plugins.catalogs.metrics[name]
    return names


def progress_of(arguments: argparse.Namespace) -> Progress:
    """Returns what shows how far it is, by `--quiet` and `--json`."""
    from gan_registry.evaluation.progress import ProgressBar
    from gan_registry.metrics.base import no_progress

    return no_progress if arguments.quiet or arguments.json else ProgressBar()
