"""A sweep over a folder of JPEGs, against D's own passes over samples that are there already.

CIFAR-10's images as 32-px JPEGs, and the same ones enlarged to CelebA's 178×218 px, of which 64 px
are made; the packaged small SNGANs, whose D is quick. The first sweep decodes all images into the
file, later ones read it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from benchmarks.speed.harness import Row, Settings, Skipped, Work, alternate, at_most
from benchmarks.speed.memory import peak_memory
from benchmarks.speed.setups import packaged, plugin_manager, sweep_of, untrained
from gan_registry.datasets.fetching import fetch_to
from gan_registry.datasets.image_folder import find_images
from gan_registry.files import CACHE_VARIABLE
from gan_registry.training.run import Run

NAME = "folder_sweeps"
DATA = Path(os.environ.get("DIAGAN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CELEBA = (178, 218)
CASES = {
    "CIFAR JPEGs, 32 px": ("cifar10_sngan_small", 32, 4_000, None),
    "178×218 JPEGs, 64 px": ("celeba_sngan_small", 64, 1_000, CELEBA),
}


def run(settings: Settings) -> list[Row]:
    """Measures time by how images are kept, the size of the file, and memory."""
    source = DATA / "cifar10" / "train"
    if not source.is_dir():
        raise Skipped(
            f"no CIFAR-10 JPEGs in {source}; DIAGAN_TEST_DATA names their folder's parent"
        )
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for label, (config, side, count, size) in CASES.items():
            folder = Path(temporary) / config
            make_folder(source, folder, 64 if settings.quick else count, size)
            rows += _rows(settings, label, str(folder), config, side)
    return rows


def make_folder(source: Path, folder: Path, count: int, size: tuple[int, int] | None) -> None:
    """Copies images evenly from all classes, enlarged at quality 90 if a size is given."""
    folder.mkdir()
    files = find_images(source)
    for number in range(count):
        path = source / files[number * len(files) // count]
        if size is None:
            shutil.copyfile(path, folder / f"{number:05d}.jpg")
        else:
            enlarged = Image.open(path).resize(size, Image.Resampling.BICUBIC)
            enlarged.save(folder / f"{number:05d}.jpg", quality=90)


def open_run(folder: str, config: str, side: int, kind: str) -> Run:
    """Builds a run on a folder; its file of images is made where there is to be one."""
    os.environ[CACHE_VARIABLE] = str(Path(folder) / ".cache")
    plugins = plugin_manager(dia=False)
    data = {"name": "image_folder", "path": folder, "img_size": side, "options": {}, "cache": kind}
    built = untrained(
        packaged(config, plugins, **{f"DATA__{key}": value for key, value in data.items()}), plugins
    )
    built.dataset.prepare(len(built.dataset))
    return built


def passes_of(run: Run) -> Work:
    """Returns D's passes over the same batches, which are floats in memory."""
    order = torch.split(torch.arange(len(run.dataset)), 4 * run.batch_size)
    batches = [fetch_to(run.dataset, rows.numpy(), run.device) for rows in order]

    def work() -> None:
        run.discriminator.eval()
        with torch.no_grad():
            for x, y in batches:
                run.logits(x, y)

    return work


def prepare_sweep(folder: str, config: str, side: int, kind: str) -> Callable[[], object]:
    """Prepares a sweep for a measurement of memory."""
    return partial(sweep_of, open_run(folder, config, side, kind))


def _rows(settings: Settings, label: str, folder: str, config: str, side: int) -> list[Row]:
    kept = Path(folder) / ".cache"

    def first() -> None:
        shutil.rmtree(kept, ignore_errors=True)
        sweep_of(open_run(folder, config, side, "disk"))

    passes = passes_of(open_run(folder, config, side, "memory"))
    pairs, rows = settings.pairs(5), []
    pair = alternate(first, passes, pairs, warmup=0)
    rows.append(pair.row(NAME, f"{label}: first sweep, the file is made", note="building D too"))
    for kind, aim in (("disk", at_most(1.2)), ("memory", at_most(1.2)), ("none", None)):
        pair = alternate(prepare_sweep(folder, config, side, kind), passes, pairs)
        aim = None if settings.quick else aim
        rows.append(pair.row(NAME, f"{label}: later sweep, DATA.cache={kind}", aim))
    (file,) = kept.rglob("*.safetensors")
    jpegs = sum(path.stat().st_size for path in Path(folder).glob("*.jpg"))
    rows.append(
        Row(NAME, f"{label}: the file", file.stat().st_size / 1e6, jpegs / 1e6, "MB",
            file.stat().st_size / jpegs, note="against the JPEGs")
    )  # fmt: skip
    for kind in ("disk", "none"):
        peak = peak_memory(prepare_sweep, folder=folder, config=config, side=side, kind=kind)
        note = "above the process before, with the parts of the file that are mapped"
        name = f"{label}: memory of a sweep, DATA.cache={kind}"
        rows.append(
            Row(NAME, name, peak.added / 1e6, unit="MB", note=note if kind == "disk" else "")
        )
    return rows
