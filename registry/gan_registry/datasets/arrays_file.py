"""A dataset in a NumPy file: images or points in `x`, and labels and groups if there are any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.labels import shown_names
from gan_registry.datasets.options import Options, read_options
from gan_registry.errors import UserError
from gan_registry.numpy_files import load_arrays

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

NAME = "arrays_file"
Layout = Literal["auto", "NCHW", "NHWC"]
_LARGEST = 1_000_000  # number of a class or group; each is given memory
_TOLERANCE = 1e-3  # how far generated images may leave their range


class ArraysFileOptions(Options):
    """Options of `arrays_file`."""

    layout: Layout = Field("auto", description="'auto', 'NCHW' or 'NHWC'")


def build_arrays_file(config: Config, data_dir: Path | None) -> ArrayDataset:
    """Builds the dataset `arrays_file` from a .npz or .npy file; see :func:`read_arrays`.

    Options: `layout` of images, "NCHW", "NHWC" or "auto" (default), which tells by the channels.
    Images must be of `DATA.img_size`.
    """
    options = read_options(ArraysFileOptions, NAME, config.DATA.options)
    if data_dir is None:
        raise UserError(f"The dataset {NAME!r} needs a file: set DATA.path (or --data) to a .npz.")
    dataset = read_arrays(data_dir, options.layout)
    side = config.DATA.img_size
    if dataset.kind == "image" and dataset.sample_shape[1:] != (side, side):
        _, height, width = dataset.sample_shape
        raise UserError(
            f"The images in {data_dir} are of {width}×{height} px; set DATA.img_size to that, "
            f"not {side}."
        )
    return dataset


def read_arrays(path: Path, layout: Layout = "auto") -> ArrayDataset:
    """Reads samples from a NumPy file.

    `x` (or `arr_0`, or the only array) is [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 or 3
    channels, of bytes or of floats in [0, 1] or [-1, 1]; or points, floats [N, D]. Floats are those
    of [-1, 1] if any is negative. `y` [N] are labels and `groups` [N] groups, from 0; `group_names`
    may name these. Nothing pickled is loaded.

    Args:
        path: A .npz or .npy file.
        layout: Where the channels are; "auto" takes the axis of 1 or 3.

    Raises:
        UserError: The file is missing, damaged or not as described; the message says what is.
    """
    arrays = load_arrays(path)
    key: str | None = next((name for name in ("x", "arr_0") if name in arrays), None)
    if key is None and len(arrays) == 1:
        (key,) = arrays
    if key is None:
        raise UserError(f"{path} has no array 'x'; it has: {', '.join(arrays) or '(none)'}.")
    x = arrays[key]
    if x.ndim == 0:
        raise UserError(f"{path} holds a single number in {key!r}, neither images nor points.")
    if x.size == 0:
        raise UserError(f"{path} holds no sample: its array {key!r} is {list(x.shape)}.")
    if x.ndim == 2:
        samples: Any = _finite(path, x).astype(np.float32)
        is_image = False
    else:
        samples, is_image = _as_images(path, x, layout), True
    y = _numbers(path, arrays, "y", len(x))
    groups = _numbers(path, arrays, "groups", len(x), lowest=-1)
    names = _names(path, arrays)
    count = 0 if groups is None else int(groups.max(initial=-1)) + 1
    if names and len(names) < count:
        raise UserError(f"{path} names {len(names)} groups, but has {count}.")
    dataset = ArrayDataset(
        NAME,
        samples,
        y,
        groups=groups,
        group_names=names or tuple(f"group {i}" for i in range(count)),
    )
    if is_image:  # floats are images, too
        dataset.kind, dataset.value_range = "image", (-1.0, 1.0)
    return dataset


def _as_images(path: Path, x: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """Returns images [N, C, H, W], bytes as they are and floats as float32 in [-1, 1]."""
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim != 4:
        raise UserError(f"{path} holds an array {list(x.shape)}, neither images nor points [N, D].")
    else:
        fits = {"NCHW": x.shape[1] in (1, 3), "NHWC": x.shape[3] in (1, 3)}
        if layout == "auto":
            if fits["NCHW"] and fits["NHWC"]:
                raise UserError(
                    f"{path} holds images {list(x.shape)}, of which either axis may be the "
                    "channels; set DATA.options.layout to NCHW or NHWC."
                )
            layout = "NCHW" if fits["NCHW"] else "NHWC"
        if not fits[layout]:
            raise UserError(f"{path} holds images {list(x.shape)}, which lack an axis of 1 or 3.")
        x = x if layout == "NCHW" else x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    x = _finite(path, x).astype(np.float32)
    low, high = float(x.min()), float(x.max())
    if low < -1.0 - _TOLERANCE or high > 1.0 + _TOLERANCE:
        raise UserError(
            f"{path} holds floats from {low:g} to {high:g}; images must be bytes (uint8), or "
            "floats in [0, 1] or [-1, 1]."
        )
    if low >= 0.0:
        x = x * 2.0 - 1.0
    clipped: npt.NDArray[np.float32] = np.ascontiguousarray(x.clip(-1.0, 1.0))
    return clipped


def _finite(path: Path, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not np.issubdtype(x.dtype, np.floating):
        raise UserError(f"{path} holds {x.dtype}; it must be floats, or bytes (uint8) for images.")
    bad = int((~np.isfinite(x).reshape(len(x), -1).all(axis=1)).sum())
    if bad:
        raise UserError(f"{path} has NaN or infinity in {bad} of its {len(x)} samples.")
    return x


def _numbers(
    path: Path, arrays: dict[str, npt.NDArray[Any]], key: str, length: int, lowest: int = 0
) -> npt.NDArray[np.int64] | None:
    if key not in arrays:
        return None
    array = arrays[key]
    if array.shape != (length,) or not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"{path}: {key!r} must be {length} integers, but is {array.dtype} {list(array.shape)}."
        )
    if array.min() < lowest:
        raise UserError(f"{path}: {key!r} must be from {lowest} on, but has {array.min()}.")
    if array.max() > _LARGEST:
        raise UserError(f"{path}: {key!r} has {array.max()}, which is no number of a class.")
    return array.astype(np.int64)


def _names(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> tuple[str, ...]:
    array = arrays.get("group_names")
    if array is None:
        return ()
    if array.ndim != 1:
        raise UserError(f"{path}: 'group_names' must be a list of names, but is {array.tolist()}.")
    names = tuple(str(name) for name in array)
    if len(set(names)) < len(names):  # results are by name
        raise UserError(f"{path}: 'group_names' must differ, but are {', '.join(names)}.")
    return shown_names(names, path)
