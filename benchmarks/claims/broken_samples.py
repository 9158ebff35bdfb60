"""Finds planted noise and wrong labels: precision and recall, beside simple baselines.

    python -m benchmarks.claims.broken_samples [--cifar FOLDER] [--features NAME|FILE] [--seeds N]

In real digits (scikit-learn's 1,797) and, where a folder with a folder of images a class is given,
in its images, 1 % become noise and 1 % get another label. *Ranked* takes as many samples as were
planted, so that precision and recall are one number; *listed* is what the report lists. No GAN is
trained: scores are random, as these verdicts do not depend on them.

The baselines: for noise a file's size as PNG, relative to its pixels (cleanvision's "odd size"
checks and entropy go the same way), and the distance to the 10th neighbour among the pixels
(cleanlab's outlier score); for labels the self-confidence of a cross-validated logistic regression
(cleanlab's `find_label_issues`, ranked by it) on the same features, and on the pixels.
"""

from __future__ import annotations

import argparse
import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors

from diagan_plugin.rarity.closer import look_closer
from diagan_plugin.rarity.looking import look
from diagan_plugin.rarity.neighbours import projection
from diagan_plugin.rarity.verdicts import BROKEN, MISLABELLED
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.datasets.base import ArrayDataset
from gan_registry.features.base import FeatureContext
from gan_registry.features.choose import extractor_for
from gan_registry.plugins import PluginManager

NOISES = ("uniform", "gaussian", "shuffled", "added")


def plant(
    x: NDArray[Any], y: NDArray[Any], seed: int, kind: str, share: float = 0.01
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns images [N, C, H, W] and labels with noise and wrong labels, and which these are."""
    rng = np.random.default_rng(seed)
    count = round(share * len(x))
    order = rng.permutation(len(x))
    noisy, wrong = order[:count], order[count : 2 * count]
    x, y = x.astype(np.float64), y.copy()
    if kind == "uniform":
        x[noisy] = rng.integers(0, 256, x[noisy].shape)
    elif kind == "gaussian":
        x[noisy] = rng.normal(127, 40, x[noisy].shape)
    elif kind == "added":
        x[noisy] += rng.normal(0, 60, x[noisy].shape)
    else:  # the image's own pixels in another order
        flat = x[noisy].reshape(count, x.shape[1], -1)
        x[noisy] = np.stack([one[:, rng.permutation(one.shape[1])] for one in flat]).reshape(
            x[noisy].shape
        )
    kinds = int(y.max()) + 1
    y[wrong] = (y[wrong] + rng.integers(1, kinds, count)) % kinds
    return np.clip(x, 0, 255).astype(np.uint8), y, noisy, wrong


def ranked(oddness: NDArray[Any], planted: NDArray[np.int64]) -> float:
    """Returns which share of the oddest samples, as many as were planted, are planted ones."""
    return float(np.isin(np.argsort(-oddness, kind="stable")[: len(planted)], planted).mean())


def listed(found: NDArray[np.int64], planted: NDArray[np.int64]) -> tuple[float, float]:
    """Returns precision (NaN of an empty list) and recall."""
    precision = float(np.isin(found, planted).mean()) if len(found) else float("nan")
    return precision, float(np.isin(planted, found).mean())


def measure(
    x: NDArray[Any], y: NDArray[Any], seed: int, kind: str, features: str
) -> dict[str, tuple[float, ...]]:
    """Returns the results of one planting: name → ranked, or precision and recall of the list."""
    x, y, noisy, wrong = plant(x, y, seed, kind)
    dataset = ArrayDataset("planted", x, y, num_classes=int(y.max()) + 1)
    catalogs = PluginManager(load_entry_points=False).catalogs
    extractor = extractor_for(features, catalogs, FeatureContext(dataset))
    count = len(x)
    score = np.random.default_rng(seed).standard_normal(count)
    every = np.full(count, 1 / count)
    diagnosis = Diagnosis(
        score, np.ones(count), score, every, np.full(count, 50), np.full(count, -1)
    )
    found = look_closer(dataset, diagnosis, extractor, seed=seed)
    assert found is not None
    assert found.judged.labels is not None
    results: dict[str, tuple[float, ...]] = {
        f"noise ({kind}): ranked": (ranked(found.judged.oddness, noisy),),
        f"noise ({kind}): listed": listed(np.flatnonzero(found.likely == BROKEN), noisy),
        f"noise ({kind}): file size": (ranked(_file_sizes(x), noisy),),
        f"noise ({kind}): far in pixels": (ranked(_distances(x), noisy),),
    }
    if kind == NOISES[0]:
        seen = look(dataset, np.arange(count), extractor, None).features
        pixels = x.reshape(count, -1).astype(np.float32)
        doubt = np.where(found.likely == BROKEN, -np.inf, found.judged.labels.doubt)
        results |= {
            "wrong labels: ranked": (ranked(doubt, wrong),),
            "wrong labels: listed": listed(np.flatnonzero(found.likely == MISLABELLED), wrong),
            "wrong labels: logistic, same features": (_doubt(projection(seen)(seen), y, wrong),),
            "wrong labels: logistic, pixels": (_doubt(projection(pixels)(pixels), y, wrong),),
            "labels that the features know": (found.judged.labels.agreement,),
        }
    return results


def _file_sizes(x: NDArray[Any]) -> NDArray[Any]:
    sizes = []
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(
            buffer, "PNG"
        )
        sizes.append(buffer.tell())
    return np.array(sizes, np.float64)


def _distances(x: NDArray[Any]) -> NDArray[Any]:
    flat = x.reshape(len(x), -1).astype(np.float32)
    found = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(flat).kneighbors()[0]
    return np.asarray(found[:, -1])


def _doubt(points: NDArray[Any], y: NDArray[Any], wrong: NDArray[np.int64]) -> float:
    points = (points - points.mean(0)) / max(float(points.std()), 1e-12)
    model = LogisticRegression(C=0.1, max_iter=1000)
    shares = cross_val_predict(model, points, y, cv=5, method="predict_proba")
    return ranked(-shares[np.arange(len(y)), y], wrong)


def _folder(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    x, y = [], []
    for number, folder in enumerate(sorted(p for p in path.iterdir() if p.is_dir())):
        for file in sorted(folder.iterdir()):
            x.append(np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1))
            y.append(number)
    return np.stack(x), np.array(y, np.int64)


def _digits() -> tuple[NDArray[Any], NDArray[Any]]:
    data = load_digits()
    return np.clip(data.images * 16, 0, 255).astype(np.uint8)[:, None], data.target.astype(np.int64)


def main() -> None:
    """Prints the means over the seeds, a table a dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cifar", type=Path, help="a folder with a folder of images a class")
    parser.add_argument("--features", default="descriptor", help="a name, or a TorchScript file")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    data = {"digits": _digits}
    if arguments.cifar is not None:
        data[arguments.cifar.name] = lambda: _folder(arguments.cifar)
    for name, load in data.items():
        x, y = load()
        rows = defaultdict(list)
        for seed in range(arguments.seeds):
            for kind in NOISES:
                for row, values in measure(x, y, seed, kind, arguments.features).items():
                    rows[row].append(values)
        print(f"\n{name}: {len(x):,} images, {round(0.01 * len(x))} planted of each kind")
        for row, found in rows.items():
            means = [f"{value:.2f}" for value in np.nanmean(np.array(found), 0)]
            print(f"  {row:40s} {' / '.join(means)}")


if __name__ == "__main__":
    main()
