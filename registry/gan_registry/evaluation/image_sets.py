"""Compares two sets of images, or points, with no run at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_registry.catalogs import Catalogs
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import read_ahead
from gan_registry.datasets.opening import open_images
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.metric_choice import NUM_REAL, choose_indices, standard_metrics
from gan_registry.evaluation.metric_suite import MetricSuite
from gan_registry.features.choose import AUTO
from gan_registry.files import cache_folder
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.training.run import resolve_device

_BATCH = 500


def measure_images(
    real: Path,
    fake: Path,
    catalogs: Catalogs,
    *,
    metrics: Sequence[str] | None = None,
    features: str = AUTO,
    num: int = NUM_REAL,
    num_real: int = NUM_REAL,
    img_size: int | None = None,
    channels: int | None = None,
    skip_corrupt: bool = False,
    device: str = "auto",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measures generated images against real ones.

    `real` and `fake` are paths, and `img_size`, `channels` and `skip_corrupt` say what is done to
    images of folders: see `datasets.opening.open_images`. The other arguments are those of
    :class:`~gan_registry.evaluation.metric_suite.MetricSuite`, but that by default a standard set
    of metrics is measured, that the features "auto" are `raw` for points, `classifier` where the
    real images have labels or groups, else `inception`, and that `num` generated samples are
    measured at most; which ones follows from a fixed seed.

    Returns:
        `real`, `generated` (the paths), `num_generated`, `num_real`, `eval_metrics`, `features`,
        `metrics`, `groups`, `directions`, as in a run's `result.json`.

    Raises:
        UserError: There are no images, they do not fit each other, one cannot be read, or a metric
            or the features can't be computed.
    """
    target = resolve_device(device)
    if (img_size or channels or skip_corrupt) and real.is_file() and fake.is_file():
        raise UserError(
            "--img-size, --channels and --skip-corrupt are of images in folders, but "
            f"{real} and {fake} are files; leave them out, or convert the files."
        )
    try:
        sets = [
            open_images(path, img_size, channels=channels, skip_corrupt=skip_corrupt)
            for path in (real, fake)
        ]
        _check_fit(sets[0], sets[1], (real, fake))
        return _measure(
            sets[0], sets[1], (real, fake), catalogs, metrics, features, num,
            device=target, num_real=num_real, progress=progress,
        )  # fmt: skip
    except PluginError:
        raise
    except UserError as error:
        # These come from datasets, which a configuration describes; here flags do.
        text = str(error).replace("with DATA.options.skip_corrupt=true", "with --skip-corrupt")
        text = text.replace("all must have one size", "--img-size N brings all to one size")
        raise UserError(text) from error


def _measure(
    real: Dataset,
    fake: Dataset,
    paths: tuple[Path, Path],
    catalogs: Catalogs,
    metrics: Sequence[str] | None,
    features: str,
    num: int,
    progress: Progress,
    **settings: Any,
) -> dict[str, Any]:
    groups = fake.groups if fake.group_names == real.group_names else None
    known = groups is not None and real.groups is not None
    names = standard_metrics(real) if metrics is None else list(metrics)
    if metrics is None and known:
        names.append("group_precision")
    suite = _suite(
        names, catalogs, real, features, knows_groups=known, progress=progress, **settings
    )
    suite.read_real()
    suite.start()
    chosen = choose_indices(len(fake), num)
    parts = [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]
    done = 0
    for rows, (x, y) in zip(parts, read_ahead(fake, parts, "cpu"), strict=True):
        labels = y if fake.num_classes > 1 else None
        suite.update(x, labels, None if groups is None else groups[rows])
        done += len(rows)
        progress("generated samples", done, len(chosen))
    overall, by_group = suite.compute()
    result: dict[str, Any] = {
        "real": str(paths[0]),
        "generated": str(paths[1]),
        "num_generated": len(chosen),
        "num_real": suite.num_real,
        "eval_metrics": suite.names,
        "features": suite.features,
        "metrics": overall,
        "groups": {},
        "directions": suite.directions,
    }
    for number, name in enumerate(real.group_names):
        entry: dict[str, Any] = {"share_data": float(np.mean(real.groups == number))}
        if groups is not None:
            entry["share_generated"] = float(np.mean(groups[chosen] == number))
        result["groups"][name] = entry | by_group.get(name, {})
    return result


def _suite(
    names: Sequence[str], catalogs: Catalogs, real: Dataset, features: str, **settings: Any
) -> MetricSuite:
    choice, hint = features, ""
    if features == AUTO and real.kind == "image":
        tells_apart = real.num_classes > 1 or len(real.group_names) > 1
        choice = "classifier" if tells_apart else "inception"
        hint = "" if tells_apart else " Or choose other features: --features raw, or a file."
    try:
        return MetricSuite(names, catalogs, real, features=choice, cache=cache_folder(), **settings)
    except PluginError:
        raise
    except UserError as error:
        if hint and "'inception'" in str(error):
            raise UserError(f"{str(error).rstrip('.')}.{hint}") from error
        raise


def _check_fit(real: Dataset, fake: Dataset, paths: tuple[Path, Path]) -> None:
    if real.kind != fake.kind:
        kinds = {"image": "images", "points": "points"}
        raise UserError(
            f"{paths[0]} holds {kinds[real.kind]} and {paths[1]} {kinds[fake.kind]}; they cannot "
            "be compared."
        )
    shapes = tuple(real.sample_shape), tuple(fake.sample_shape)
    if shapes[0] == shapes[1]:
        return
    if real.kind != "image":
        raise UserError(
            f"{paths[0]} holds points of {shapes[0][0]} numbers and {paths[1]} of {shapes[1][0]}; "
            "they cannot be compared."
        )
    described = [
        f"{width}×{height} px of {count} channel{'s' if count > 1 else ''}"
        for count, height, width in shapes
    ]
    flags = [] if shapes[0][1:] == shapes[1][1:] else ["--img-size N"]
    flags += [] if shapes[0][0] == shapes[1][0] else ["--channels 1 or 3"]
    raise UserError(
        f"{paths[0]} holds images of {described[0]}, {paths[1]} of {described[1]}; bring folders "
        f"to the same with {' and '.join(flags)}, or convert the file."
    )
