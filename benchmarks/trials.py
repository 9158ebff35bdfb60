"""What a person with a folder of images goes through: init, train, report, export.

    python -m benchmarks.trials [digits] [cifar] [--steps N …] [--width N] [--cifar FOLDER]

Two folders are made, each with something rare, something broken and fixed seeds: scikit-learn's
digits at 16 px with "7" at 3 %, 15 images of noise and 10 wrong labels; and three classes of
CIFAR-10 at 16 px, one of them rare, with 10 images of noise. `gan-registry init` writes the
configuration, which then trains with `--sampler dia` and with `--sampler uniform --diagnose`.
Printed is what the command printed at its end, and what became of the planted images: a report is
right if its verdict agrees with the counted shares or says that D and the count disagree, and if
the noise is listed as broken. Folders and runs that are there already are used again.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

RARE = {"digits": "7", "cifar": "frog"}
SAMPLERS = {"dia": ["dia"], "uniform": ["uniform", "--diagnose"]}
_SIDE = 16


def make_digits(folder: Path) -> None:
    """Writes the digits as PNGs, a folder a class; planted files begin with noise or wrong."""
    rng = np.random.default_rng(0)
    x, y = load_digits(return_X_y=True)
    kept = np.concatenate([np.flatnonzero(y != 7), np.flatnonzero(y == 7)[:50]])
    wrong = set(rng.choice(kept, 10, replace=False).tolist())
    for index in kept.tolist():
        label = (y[index] + 1 + index % 9) % 10 if index in wrong else y[index]
        name = f"{'wrong' if index in wrong else 'digit'}{index:04d}.png"
        pixels = np.round(x[index].reshape(8, 8) * 255 / 16).astype(np.uint8)
        image = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        _save(image, folder / str(label) / name)
    for number in range(15):
        noise = rng.integers(0, 256, (_SIDE, _SIDE), dtype=np.uint8)
        _save(Image.fromarray(noise), folder / str(number % 10) / f"noise{number:02d}.png")


def make_cifar(folder: Path, source: Path) -> None:
    """Writes cars, ships and a few frogs of `source`, which has a folder a class."""
    rng = np.random.default_rng(0)
    for name, count in (("automobile", 400), ("ship", 400), ("frog", 40)):
        for path in sorted((source / name).iterdir())[:count]:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
                _save(small, folder / name / f"{path.stem}.png")
    for number in range(10):
        noise = rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
        of = ("automobile", "ship")[number % 2]
        _save(Image.fromarray(noise), folder / of / f"noise{number:02d}.png")


def told(data: Path, run: Path) -> list[str]:
    """Says what became of a run's planted images: the list, the exported table, the draws."""
    files = [path.relative_to(data).as_posix() for path in sorted(data.rglob("*.png"))]
    listing = run / "broken.txt"
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    listed = {line for line in lines if not line.startswith("#")}
    table = run / "samples.csv"
    table.unlink(missing_ok=True)
    subprocess.run(["diagan", "export", "--run", str(run), "--out", str(table)], check=True)
    with table.open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    lost = [name for name in files if name not in rows]
    found = [f"exported {len(rows):,} rows; {len(lost)} of {len(files):,} files have none"]
    for kind in ("noise", "wrong"):
        planted = {name for name in files if Path(name).name.startswith(kind)}
        verdicts = Counter(rows[name]["verdict"] or "none" for name in planted)
        drawn = sum(float(rows[name]["probability"]) for name in planted)
        if planted:
            found.append(
                f"{kind}: {len(planted & listed)} of {len(planted)} listed, verdicts "
                f"{dict(verdicts)}, {drawn:.2%} of the draws for {len(planted) / len(files):.2%}"
            )
    alarms = [n for n in listed if not Path(n).name.startswith(("noise", "wrong"))]
    return [*found, f"listed though sound: {len(alarms)}"]


def trial(
    name: str, make: Callable[[Path], None], out: Path, lengths: Sequence[int], width: int | None
) -> None:
    """Makes a folder and its configuration, trains, and prints what was said and found."""
    settings = [f"MODEL.{key}={width}" for key in ("g_conv_dim", "d_conv_dim") if width]
    data, config = out / name, out / f"{name}.yaml"
    if not data.exists():
        make(data)
    if not config.exists():
        _call(["gan-registry", "init", "--data", str(data), "--out", str(config)])
    for steps in lengths:
        for sampler, arguments in SAMPLERS.items():
            run = out / f"{name}-{sampler}-{steps}"
            print(f"\n=== {run.name}", flush=True)
            if not (run / "report.html").exists():
                text = _call([
                    "gan-registry", "train", "--config", str(config), "--sampler", *arguments,
                    "--steps", str(steps), "--out", str(run),
                    *(part for setting in settings for part in ("--set", setting)),
                ])  # fmt: skip
                (run / "said.txt").write_text(text, encoding="utf-8")
            print((run / "said.txt").read_text(encoding="utf-8"))
            print("\n".join(told(data, run)), flush=True)


def _call(command: Sequence[str]) -> str:
    """Runs a command and returns what it printed; its log goes where ours does."""
    print("$", *command, flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=list(RARE), metavar="NAME")
    parser.add_argument("--steps", type=int, nargs="+", default=[1200, 4000])
    parser.add_argument("--width", type=int, help="of the networks (default: what init writes)")
    parser.add_argument("--out", type=Path, default=Path("trials"))
    parser.add_argument("--cifar", type=Path, help="folder with a folder of images a class")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name == "digits":
            make: Callable[[Path], None] = make_digits
        elif name == "cifar" and options.cifar is not None:
            make = partial(make_cifar, source=options.cifar)
        else:
            parser.error(f"{name}: choose digits, or cifar with --cifar FOLDER")
        trial(name, make, options.out, options.steps, options.width)
    return 0


if __name__ == "__main__":
    sys.exit(main())
