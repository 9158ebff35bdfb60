"""`diagan diagnose` and `diagan calibrate`: a generator looked at, and mended, from outside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diagan_plugin.blackbox.thresholds import NUM, SHARE
from diagan_plugin.flags import flag, given_flags, refuse_flags
from gan_registry.cli.evaluate import progress_of
from gan_registry.config.trust import add_trust_flag
from gan_registry.errors import UserError
from gan_registry.files import check_writable

_OTHER_METHODS = {"mixture": {"hull_dimensions"}, "hull": {"clusters", "weights"}}
"""Method → the flags of the other one."""

_OF_CALIBRATION = {
    "method", "modes", "clusters", "weights", "hull_dimensions", "features", "num", "anchors",
    "theta", "radius", "center",
}  # fmt: skip
"""Flags of `diagan calibrate` that say how a sampler is made."""


def add_diagnose(commands: Any) -> Any:
    """Adds `diagan diagnose` of a generator, and returns its parser, which has no handler yet."""
    diagnose = commands.add_parser(
        "diagnose", allow_abbrev=False,
        help="find what a generator makes too often, or what a finished GAN misses",
        description="Estimate how collapsed a generator is (MCCS), per anchor and over all, and "
        "show its dense modes with their neighbours, without any training data. Or, with "
        "--discriminators, say of a finished GAN which training samples it misses.",
    )  # fmt: skip
    what = diagnose.add_mutually_exclusive_group(required=True)
    _add_generator(what)
    what.add_argument(
        "--samples", metavar="DIR|FILE", type=Path,
        help="a folder of generated images, or an .npz or .npy file of samples",
    )  # fmt: skip
    what.add_argument(
        "--discriminators", metavar="CKPT", type=Path, nargs="+",
        help="discriminators kept on the way, the earliest first: checkpoints of a run, or any "
        "files with --loader",
    )  # fmt: skip
    _add_measuring(diagnose)
    diagnose.add_argument("--modes", type=int, default=5, metavar="K", help="default: %(default)s")
    diagnose.add_argument(
        "--img-size", type=int, metavar="PIXELS", help="crop and resize the images of a folder"
    )
    diagnose.add_argument(
        "--out", metavar="DIR", type=Path, help="write report.html and the numbers there"
    )
    return diagnose


def add_calibrate(commands: Any) -> None:
    """Adds `diagan calibrate`."""
    calibrate = commands.add_parser(
        "calibrate", allow_abbrev=False,
        help="reshape a generator's latents so that its dense modes come less often",
        description="Find a generator's dense modes and write a sampler of latents in which they "
        "are as frequent as the rest; or draw samples with such a sampler (--use).",
    )  # fmt: skip
    _add_generator(calibrate, required=True)
    calibrate.add_argument(
        "--method", choices=("mixture", "hull"), default="hull",
        help="a mixture of Gaussians, or thinning within convex hulls (default: %(default)s)",
    )  # fmt: skip
    _add_measuring(calibrate)
    calibrate.add_argument(
        "--modes", type=int, default=1, metavar="K",
        help="dense modes to calibrate (default: %(default)s)",
    )  # fmt: skip
    calibrate.add_argument("--clusters", type=int, metavar="K", help="of the mixture")
    calibrate.add_argument(
        "--weights", choices=("least", "inverse"),
        help="how weights of the mixture are lowered (default: least)",
    )  # fmt: skip
    calibrate.add_argument(
        "--hull-dimensions", metavar="auto|all|K",
        help="directions in which the hull is taken (default: auto)",
    )  # fmt: skip
    calibrate.add_argument(
        "--out", metavar="FILE", type=Path, help="write the sampler there (.safetensors)"
    )
    calibrate.add_argument(
        "--use", metavar="FILE", type=Path, help="take that sampler instead of making one"
    )
    calibrate.add_argument(
        "--draw", type=int, default=1000, metavar="N",
        help="samples for --samples-out (default: 1,000)",
    )  # fmt: skip
    calibrate.add_argument(
        "--samples-out", metavar="FILE.npz|DIR", type=Path, help="draw samples and write them there"
    )
    calibrate.set_defaults(
        handler=lambda arguments: run_calibrate(arguments, given_flags(calibrate, arguments))
    )


def run(arguments: argparse.Namespace, given: set[str]) -> int:
    """Carries out `diagan diagnose`; `given` are the flags that are not at their defaults."""
    _check(arguments)
    if arguments.samples is not None:
        refuse_flags(given & {"z_dim", "prior"}, "with --samples")
    else:
        refuse_flags(given & {"img_size"}, "with --generator")
    check_writable(arguments.out)
    from diagan_plugin.blackbox.command_tasks import diagnose_samples

    diagnose_samples(arguments, progress_of(arguments))
    return 0


def run_calibrate(arguments: argparse.Namespace, given: set[str]) -> int:
    """Carries out `diagan calibrate`; `given` are the flags that are not at their defaults."""
    _check(arguments)
    if arguments.draw < 1:
        raise UserError(f"--draw is {arguments.draw}, but must be at least 1.")
    if arguments.samples_out is None and "draw" in given:
        raise UserError(
            "--draw says how many samples --samples-out gets, and has no meaning alone."
        )
    refuse_flags(given & _OTHER_METHODS[arguments.method], f"with --method {arguments.method}")
    if arguments.hull_dimensions not in (None, "auto", "all") and not (
        arguments.hull_dimensions.isdecimal() and int(arguments.hull_dimensions) > 0
    ):
        raise UserError(
            f"--hull-dimensions is {arguments.hull_dimensions!r}, but must be auto, all or a "
            "number of at least 1."
        )
    if arguments.use is not None:
        if arguments.samples_out is None or arguments.out is not None:
            raise UserError("--use draws samples: it needs --samples-out, and no --out.")
        refuse_flags(given & {"num"}, "with --use; --draw says how many samples")
        refuse_flags(given & _OF_CALIBRATION, "with --use")
    elif arguments.out is None:
        raise UserError("--out FILE says where to write the sampler; or --use takes one.")
    elif arguments.out.suffix != ".safetensors":
        raise UserError(f"--out {arguments.out} must end in .safetensors.")
    check_writable(arguments.out, arguments.samples_out)
    from diagan_plugin.blackbox.command_tasks import calibrate_generator, draw_samples

    task = calibrate_generator if arguments.use is None else draw_samples
    task(arguments, progress_of(arguments))
    return 0


def _add_generator(parser: Any, **kwargs: Any) -> None:
    parser.add_argument(
        "--generator", metavar="FILE|DIR", type=Path,
        help="a TorchScript file (latents [n, z_dim] to samples), or a run folder", **kwargs,
    )  # fmt: skip


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features", default="auto", metavar="NAME|FILE",
        help="what tells samples apart: a name ('gan-registry list features') or a TorchScript "
        "file (default: inception for images, raw for points)",
    )  # fmt: skip
    parser.add_argument("--z-dim", type=int, metavar="N", help="length of a latent")
    parser.add_argument(
        "--prior", choices=("gaussian", "uniform"), help="of the latents (default: gaussian)"
    )
    parser.add_argument("--num", type=int, metavar="N", help=f"samples (default: {NUM:,})")
    parser.add_argument("--anchors", type=int, metavar="M", help=f"anchors (default: {NUM:,})")
    parser.add_argument(
        "--theta", type=float, metavar="T",
        help="distance from which on nothing is similar (default: where a typical anchor has "
        f"{100 * SHARE:g} %% of the samples)",
    )  # fmt: skip
    parser.add_argument(
        "--radius", type=float, metavar="R", help="distance of a neighbour (default: likewise)"
    )
    parser.add_argument(
        "--center", action="store_true", help="subtract the mean of the samples' features"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: %(default)s")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
        metavar="DEVICE", help="auto, cpu, cuda or mps (default: %(default)s)",
    )  # fmt: skip
    add_trust_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _check(arguments: argparse.Namespace) -> None:
    lowest = {"modes": 1, "seed": 0, "z_dim": 1, "img_size": 1, "clusters": 1}
    lowest |= {"num": 1, "anchors": 1}
    for name, least in lowest.items():
        value = getattr(arguments, name, None)
        if value is not None and value < least:
            raise UserError(f"{flag(name)} is {value}, but must be at least {least}.")
    for name in ("theta", "radius"):
        value = getattr(arguments, name)
        if value is not None and not 0.0 < value <= 1.0:
            raise UserError(f"--{name} is {value:g}, but must be above 0 and at most 1.")
