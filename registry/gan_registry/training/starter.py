"""A first configuration for somebody's own images: looks at them, tries a few steps, writes it.

The networks are those of the packaged configurations for small machines.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_registry.config.load import validate_config
from gan_registry.config.yaml_text import load_yaml
from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.decoding import ImageFormat, UnreadableImageError, decode
from gan_registry.datasets.image_folder import (
    Folder,
    find_images,
    require_folder,
    split_folder,
)
from gan_registry.errors import UserError
from gan_registry.formatting import duration, printable
from gan_registry.plugins import PluginManager
from gan_registry.training.build import build_data
from gan_registry.training.cost import Cost, measure
from gan_registry.training.run import Run, resolve_device

_LOOKED_AT = 64  # files of a folder, evenly spaced
_COLOUR = 12  # levels between the channels of a pixel, from which it has a colour; JPEG makes some
_DCGAN = (8, 16, 28, 32, 64)
_SNGAN = (32, 64, 128)
_SPAN = 1800.0  # seconds that a first training should take, about
_FEWEST, _MOST = 1000, 20_000  # steps
_CLASSES_NAMED = 12


@dataclass(frozen=True)
class Found:
    """What was seen of the data.

    Attributes:
        path: Where they lie.
        name: The dataset that reads them.
        count: Samples.
        side: Shorter side of the typical image in pixels; 0 of points.
        channels: 1 or 3; of points their dimension.
        classes: Name and number of samples of each; empty if there are none.
        options: What the dataset must be told, option → (value, why).
        resized: Whether images may be brought to another size.
    """

    path: Path
    name: str
    count: int
    side: int
    channels: int
    classes: dict[str, int]
    options: dict[str, tuple[Any, str]]
    resized: bool

    def __str__(self) -> str:
        what = "points" if not self.side else "images"
        size = f"of {self.channels} numbers"
        if self.side:
            size = f"about {self.side} px, {'grey' if self.channels == 1 else 'colour'}"
        number = len(self.classes)
        classes = "1 class" if number == 1 else f"{number or 'no'} classes"
        return f"{self.count:,} {what}, {size}, {classes}"


@dataclass(frozen=True)
class Starter:
    """A configuration that was tried.

    Attributes:
        text: The commented YAML.
        found: The data.
        summary: Networks, steps and time, in a line.
    """

    text: str
    found: Found
    summary: str


def look_at(path: Path) -> Found:
    """Looks at a folder of images or a NumPy file.

    Raises:
        UserError: There are no images, or none that can be read.
    """
    path = path.expanduser()
    if not path.is_dir():
        if path.suffix.lower() in (".npz", ".npy"):
            return _look_at_file(path)
        what = "is neither a folder of images nor a .npz or .npy file"
        raise UserError(f"--data is {path}, which {what if path.exists() else 'does not exist'}.")
    root = split_folder("image_folder", require_folder("image_folder", path), "train")
    files = find_images(root)
    if not files:
        others = sorted(entry.name for entry in path.iterdir() if entry.suffix in (".npz", ".npy"))
        hint = f"; it has {others[0]}: give that file" if others else ""
        raise UserError(f"There is no image in {path} or its folders{printable(hint)}.")
    sizes, colours, unreadable = list[int](), list[bool](), 0
    folder = Folder(root)
    for number in np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).astype(int):
        try:
            pixels = decode(folder.read(files[number]), ImageFormat(None, None))
        except UnreadableImageError:
            unreadable += 1
            continue
        sizes.append(min(pixels.shape[1:]))
        colours.append(int(np.ptp(pixels.astype(np.int16), axis=0).max()) > _COLOUR)
    if not sizes:
        raise UserError(f"None of the images in {path} can be read, e.g. {files[0]}.")
    options: dict[str, tuple[Any, str]] = {}
    if not any(colours):
        options["channels"] = (1, "grey; 3 is colour")
    if unreadable:
        options["skip_corrupt"] = (
            True,
            f"{unreadable} of {unreadable + len(sizes)} tried cannot be read",
        )
    tops = [file.partition("/")[0] if "/" in file else "" for file in files]
    classes = {name: tops.count(name) for name in sorted(set(tops))}
    if "" in classes:
        if len(classes) > 1:
            options["labels"] = ("none", "some images lie in folders, others beside them")
        classes = {}
    side, channels = int(np.median(sizes)), 3 if any(colours) else 1
    return Found(path, "image_folder", len(files), side, channels, classes, options, True)


def _look_at_file(path: Path) -> Found:
    dataset = read_arrays(path)
    labels, side = dataset.labels, 0
    if dataset.kind == "image":
        side, width = dataset.sample_shape[1:]
        if side != width or side not in _DCGAN:
            raise UserError(
                f"The images in {path} are of {width}×{side} px; no backbone here takes these: "
                f"bring them to a square of {', '.join(map(str, _DCGAN))} px, or give a folder of "
                "image files, which are resized."
            )
    counts = [] if labels is None or dataset.num_classes < 2 else np.bincount(labels).tolist()
    classes = {str(number): count for number, count in enumerate(counts)}
    return Found(
        path, "arrays_file", len(dataset), side, dataset.sample_shape[0], classes, {}, False
    )


def starter(path: Path, plugins: PluginManager, device: str = "auto") -> Starter:
    """Writes a configuration for somebody's data, and measures what it costs.

    The largest networks are chosen with which 1,000 steps take no more than half an hour, and as
    many steps as take about that time.

    Args:
        path: A folder of images, or a .npz or .npy file.
        plugins: The loaded plugins.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UserError: There are no data that can be trained on, or no such device.
    """
    found = look_at(path)
    if found.count < 2:
        raise UserError(
            f"{path} holds {found.count} sample; a GAN needs more, thousands if it can."
        )
    kind = resolve_device(device).type
    try:
        str(found.path.resolve()).encode()
    except UnicodeEncodeError:  # bytes of a name that is no UTF-8, which YAML cannot hold
        raise UserError(f"{path} has a name that is no UTF-8; give the folder another.") from None
    for backbone, size in _candidates(found, kind):
        content = load_yaml(_text(found, backbone, size, _FEWEST, ""))
        content["RUN"]["device"] = device
        config = validate_config(content, "the starter config")
        run = Run(config, plugins, plugins.options.resolve({}), None)
        build_data(run)
        cost = measure(run)
        if cost.step * _FEWEST <= _SPAN:
            break
    steps = _steps(found, cost)
    said = f"about {duration(cost.step * steps)} on {kind}, {1000 * cost.step:.0f} ms a step"
    text = _text(found, backbone, size, steps, said)
    where = f"{backbone} at {size} px" if size else backbone
    return Starter(text, found, f"{where}, {steps:,} steps: {said}{cost.said}")


def _candidates(found: Found, kind: str) -> list[tuple[str, int]]:
    """Returns backbones and sizes that fit the data, the best first."""
    if not found.side:
        return [("mlp", 0)]
    if not found.resized:
        return [("dcgan", found.side)]
    strong = [("sngan", size) for size in reversed(_SNGAN)] if kind == "cuda" else []
    sizes = [*strong, *(("dcgan", size) for size in reversed(_DCGAN[: None if strong else -1]))]
    return [each for each in sizes if each[1] <= found.side] or [("dcgan", min(_DCGAN))]


def _steps(found: Found, cost: Cost) -> int:
    """Returns how long to train: a round number of steps."""
    epochs = 500 * found.count // _batch(found)
    steps = max(_FEWEST, min(int(_SPAN / cost.step), _MOST, epochs))
    unit: int = 10 ** (len(str(steps)) - 2)
    return steps // unit * unit


def _batch(found: Found) -> int:
    largest: int = 2 ** (found.count.bit_length() - 1)
    return min(64, largest)


_NETWORKS = {
    "mlp": """\
  backbone: mlp         # perceptrons, for points
  z_dim: 16             # numbers that a sample is made from
  hidden_dim: 128
  num_layers: 3
""",
    "dcgan": """\
  backbone: dcgan       # small and quick; others: gan-registry list backbones
  z_dim: 64             # numbers that a sample is made from
  g_conv_dim: 32        # width of the generator and of the discriminator: twice as wide is better,
  d_conv_dim: 32        # and takes about three times as long
  g_init: N(0.02)
  d_init: N(0.02)
  d_dropout: 0.5
""",
    "sngan": """\
  backbone: sngan       # residual networks; others: gan-registry list backbones
  z_dim: 128            # numbers that a sample is made from
  g_conv_dim: 64        # width of the generator and of the discriminator
  d_conv_dim: 64
""",
}


def _text(found: Found, backbone: str, size: int, steps: int, estimate: str) -> str:
    """Returns the configuration as YAML with comments."""
    named = [f"{printable(name)} ({count:,})" for name, count in found.classes.items()]
    more = f", … {len(named) - _CLASSES_NAMED} more" if len(named) > _CLASSES_NAMED else ""
    lines = [
        f"# {found}.",
        *([f"# Classes: {', '.join(named[:_CLASSES_NAMED])}{more}."] if named else []),
        f"# Training: {estimate}.",
        "# Every key: docs/configs.md. What it would do and cost: gan-registry train --dry-run.",
        "DATA:",
        f"  name: {found.name}",
        f"  path: {json.dumps(str(found.path.resolve()), ensure_ascii=False)}",
    ]
    if size:
        note = "  # images are cropped to a square and resized" if found.resized else ""
        lines.append(f"  img_size: {size}{note}")
    if found.options:
        lines.append("  options:")
        lines += [f"    {key}: {json.dumps(v)}  # {why}" for key, (v, why) in found.options.items()]
    rate = 0.0005 if size in (0, 8) else 0.0002
    text = (
        "\n".join(lines)
        + f"""
MODEL:
{_NETWORKS[backbone]}LOSS:
  adv_loss: logistic    # others: gan-registry list losses
OPTIMIZATION:
  batch_size: {_batch(found)}
  g_lr: {rate:.4f}
  d_lr: {rate:.4f}
  beta1: 0.0
  beta2: 0.999
  d_updates_per_step: 1
  total_steps: {steps}     # more is better; a finished run goes on with --steps
PRE:
  apply_rflip: false    # true where a mirrored image is as good: faces, but no letters
RUN:
  print_freq: 50
  save_freq: 500        # steps between two checkpoints
  num_eval: {min(10_000, max(found.count, 500))}
"""
    )
    return re.sub(r" +\n", "\n", text)
