"""Measures a trained run and writes `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.datasets.fetching import fetch
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.results import read_result, write_result
from gan_registry.evaluation.sources import collect
from gan_registry.files import atomic_write
from gan_registry.training.folder import versions
from gan_registry.training.run import Run

FINAL_SAMPLES = "final.npz"
_KEPT_IMAGES = 256
_KEPT_POINTS = 10_000


def evaluate(
    run: Run, num: int | None = None, postprocessors: list[str] | None = None
) -> dict[str, Any]:
    """Generates samples, measures them, and writes `result.json` and `samples/final.npz`.

    Args:
        run: The run, trained.
        num: How many samples to generate; `RUN.num_eval` by default.
        postprocessors: What corrects them, beside `plain`, which is always measured; what the run
            asks for by default.

    Returns:
        What `result.json` holds: `config`, `sampler`, `seed`, `steps`, `seconds`, `metrics`,
        `metrics_NAME` for each post-processor, `groups`, and what plugins add.
    """
    num = num or run.config.RUN.num_eval
    names = run.postprocessors if postprocessors is None else postprocessors
    result: dict[str, Any] = {
        "config": run.config_name,
        "sampler": run.config.RUN.sampler,
        "seed": run.seed,
        "steps": run.step,
        "seconds": round(run.seconds, 2),
        "device": str(run.device),
        "versions": versions(),
        "num_generated": num,
        "metrics": {},
        "groups": _data_shares(run),
    }
    kept: dict[str, NDArray[Any]] = {}
    for name in ["plain", *dict.fromkeys(n for n in names if n != "plain")]:
        source = run.plugins.catalogs.postprocessors[name](run, 0)
        samples = collect(source, num)
        suffix = "" if name == "plain" else f"_{name}"
        metrics = measure(run, samples)
        for group, share in _generated_shares(run, samples).items():
            if group in result["groups"]:
                result["groups"][group][f"share_generated{suffix}"] = share
            else:
                metrics[group] = share
        result[f"metrics{suffix}"] = {**metrics, **source.statistics()}
        limit = _KEPT_IMAGES if run.dataset.kind == "image" else _KEPT_POINTS
        kept[f"x{suffix}"] = samples[:limit].numpy()
    for plugin, entries in run.hooks.result(run):
        _merge(result, entries, f"Plugin {plugin!r}: gan_result")
    if run.folder is not None and run.rank == 0:
        path = run.folder / "samples" / FINAL_SAMPLES
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **kept)  # type: ignore[arg-type]
        write_result(run.folder, result)
    return result


def measure(run: Run, samples: Tensor) -> dict[str, float]:
    """Measures generated samples [n, ...] on the CPU: the dataset's own metrics and plugins'."""
    metrics: dict[str, Any] = dict(run.dataset.evaluate_generated(samples))
    metrics["non_finite"] = float((~torch.isfinite(samples.flatten(1)).all(1)).float().mean())
    if run.hooks.implements("gan_metrics"):
        count = min(len(samples), len(run.dataset))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([run.seed, count])))
        chosen = rng.choice(len(run.dataset), count, replace=False)
        real, _ = fetch(run.dataset, chosen)
        added = run.hooks.metrics(run, real, samples)
        _merge(metrics, added, "A plugin's gan_metrics")
    return metrics


def is_evaluated(run: Run) -> bool:
    """Whether `result.json` holds what :func:`evaluate` would measure of a run left as it was."""
    if run.folder is None or run.step > run.first_step:
        return False
    try:
        result = read_result(run.folder)
    except UserError:
        return False
    expected = {"steps": run.step, "num_generated": run.config.RUN.num_eval}
    kinds = {f"metrics_{name}" for name in run.postprocessors if name != "plain"}
    return expected.items() <= result.items() and kinds <= result.keys()


def _data_shares(run: Run) -> dict[str, dict[str, Any]]:
    dataset = run.dataset
    if dataset.groups is None:
        return {}
    counts = np.bincount(dataset.groups[dataset.groups >= 0], minlength=len(dataset.group_names))
    return {
        name: {"count": int(count), "share_data": float(count / len(dataset))}
        for name, count in zip(dataset.group_names, counts, strict=True)
    }


def _generated_shares(run: Run, samples: Tensor) -> dict[str, float]:
    """Returns the share of each group, and of `other`, among generated samples."""
    dataset = run.dataset
    if dataset.groups is None or not dataset.can_classify:
        return {}
    groups = dataset.classify(samples)
    counts = np.bincount(groups + 1, minlength=len(dataset.group_names) + 1)
    names = ["other", *dataset.group_names]
    return {
        name: float(count / max(len(samples), 1)) for name, count in zip(names, counts, strict=True)
    }


def _merge(target: dict[str, Any], entries: Mapping[str, Any], author: str) -> None:
    for key, value in entries.items():
        if isinstance(value, Mapping) and isinstance(target.get(key, {}), dict):
            _merge(target.setdefault(key, {}), value, author)
        elif key in target:
            raise PluginError(f"{author} returned {key!r}, which the result holds already.")
        else:
            target[key] = value
