"""`diagan diagnose --discriminators`: a finished GAN, from the discriminators that were kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diagan_plugin.flags import at_least, flag, or_auto, refuse_flags
from gan_registry.cli.evaluate import progress_of
from gan_registry.errors import UserError
from gan_registry.files import check_writable
from gan_registry.formatting import printable

_BOTH = {"discriminators", "img_size", "seed", "device", "trust", "json", "quiet", "out"}
"""Flags of `diagan diagnose` that mean something here too."""

_OWN = {"data", "loader", "loss", "k", "logits", "conditional", "sign", "channels", "batch_size"}
"""Flags that mean something here alone."""

_FOREIGN = {"data", "loss", "conditional", "sign", "channels", "batch_size", "img_size", "seed"}
"""Flags of discriminators that are not a run's own, which knows."""

TABLE = "samples.csv"


def add_flags(parser: Any) -> None:
    """Adds the flags to the parser of `diagan diagnose`."""
    group = parser.add_argument_group(
        "a finished GAN (--discriminators)",
        "LDRM, LDRV and score of every training sample, from discriminators kept on the way",
    )
    group.add_argument(
        "--data", metavar="DIR|FILE", type=Path,
        help="the training data: a folder of images, or an .npz or .npy file (a run knows its own)",
    )  # fmt: skip
    group.add_argument(
        "--loader", metavar="MODULE:FUNCTION",
        help="your function from a path to the discriminator (a run needs none)",
    )  # fmt: skip
    group.add_argument("--loss", metavar="NAME", help="it was trained with (default: logistic)")
    group.add_argument("--k", type=or_auto(at_least(float, 0.0)), default=1.0, metavar="K|auto",
                       help="weight of √LDRV in the score (default: %(default)s)")  # fmt: skip
    group.add_argument("--logits", default="auto", choices=("auto", "eval", "train", "batchstat"),
                       help="which logits (default: %(default)s)")  # fmt: skip
    group.add_argument("--conditional", action="store_true", help="D takes labels, D(x, y)")
    group.add_argument("--sign", type=int, choices=(1, -1), help="-1: D is low on real samples")
    group.add_argument("--channels", type=int, choices=(1, 3), help="of the images of a folder")
    group.add_argument("--batch-size", type=at_least(int, 1), metavar="B",
                       help="that of the training (default: 64)")  # fmt: skip


def run(arguments: argparse.Namespace, given: set[str]) -> int:
    """Carries out the command; `given` are the flags that are not at their defaults."""
    refuse_flags(given - _BOTH - _OWN, "with --discriminators")
    own = arguments.loader is None
    if own and (wrong := given & _FOREIGN):
        raise UserError(
            f"{flag(min(wrong))} is for discriminators that --loader loads; the run folder of one "
            "of gan-registry's knows it."
        )
    if not own and arguments.data is None:
        raise UserError("--discriminators with --loader needs --data, the training data.")
    check_writable(arguments.out)
    from diagan_plugin.hosts.finished.loading import open_data
    from diagan_plugin.hosts.finished.statistics import diagnose_files, diagnose_run
    from gan_registry.training.run import resolve_device

    progress = progress_of(arguments)
    if own:
        found = diagnose_run(
            arguments.discriminators, k=arguments.k, logits=arguments.logits,
            device=arguments.device, trust=arguments.trust, progress=progress,
        )  # fmt: skip
    else:
        found = diagnose_files(
            arguments.discriminators,
            open_data(arguments.data, arguments.img_size, arguments.channels), arguments.loader,
            loss=arguments.loss or "logistic", conditional=arguments.conditional,
            sign=arguments.sign or 1, batch_size=arguments.batch_size or 64, k=arguments.k,
            logits=arguments.logits, seed=arguments.seed, device=resolve_device(arguments.device),
            progress=progress,
        )  # fmt: skip
    _tell(found, arguments.out, arguments.json)
    return 0


def check_without(given: set[str]) -> None:
    """Refuses the flags above where no discriminators are given.

    Raises:
        UserError: One is there.
    """
    refuse_flags(given & _OWN, "without --discriminators")


def _tell(found: Any, out: Path | None, as_json: bool) -> None:
    """Prints the verdict and the first samples; writes diagnosis, page and table into a folder."""
    import json

    from diagan_plugin.report import DIAGNOSIS_FILE
    from diagan_plugin.report.export import write_export
    from diagan_plugin.report.ranking import extreme_samples
    from gan_registry.report.document import Verdict

    diagnosis = found.diagnosis
    if out is not None:
        diagnosis.save(out / DIAGNOSIS_FILE)
        found.report.write(out / "report.html")
        write_export(diagnosis, out / TABLE)
    blocks = [block for section in found.report.sections for block in section.blocks]
    verdict = next(block for block in blocks if isinstance(block, Verdict))
    most = extreme_samples(diagnosis.score, 10)[0].tolist()
    if as_json:
        content = {
            "verdict": verdict.headline,
            "sentences": list(verdict.sentences),
            "records": int(diagnosis.count.max()),
            "groups": found.result.get("groups", {}),
            "most": [
                {"index": i, "path": diagnosis.name(i), "score": float(diagnosis.score[i])}
                for i in most
            ],
        }
        print(json.dumps(content, indent=2))
        return
    print(printable(verdict.headline))
    if diagnosis.count.max() < 2:
        print("One discriminator has no variance over time: the score is LDRM alone.")
    for index in most:
        print(printable(f"{diagnosis.score[index]:10.4g}  {diagnosis.name(index)}"))
    if out is not None:
        print(printable(f"report  {out / 'report.html'}"))
        print(printable(f"table   {out / TABLE}"))
