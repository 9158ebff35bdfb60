"""Measures a trained run and writes `result.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_registry.config.trust import named_code, refuse_code
from gan_registry.errors import UserError
from gan_registry.evaluation.contributions import add_values, merge_contributions
from gan_registry.evaluation.metric_choice import NUM_REAL, metrics_of_run
from gan_registry.evaluation.metric_suite import MetricSuite
from gan_registry.evaluation.results import RESULT_FILE, read_result, write_result
from gan_registry.evaluation.sample_tally import DIRECTIONS, Tally
from gan_registry.evaluation.sources import PlainSource, SampleSource, labelled_batches
from gan_registry.files import atomic_write, cache_folder
from gan_registry.integrity import seal_zip
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.training.folder import versions
from gan_registry.training.run import Run

FINAL_SAMPLES = "final.npz"


def evaluate(
    run: Run,
    num: int | None = None,
    postprocessors: list[str] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    features: str | None = None,
    num_real: int = NUM_REAL,
    strict: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Generates samples, measures them, and writes `result.json` and `samples/final.npz`.

    Samples are measured batch by batch; all of them are kept only where the dataset or a plugin
    measures them at once. How many, what corrects them beside `plain`, which is always measured,
    the metrics and what they see are by default what the run asks for (`RUN.num_eval`,
    `eval_metrics`, `eval_features`); `metrics` and the arguments after it are those of
    :class:`~gan_registry.evaluation.metric_suite.MetricSuite`.

    Returns:
        What `result.json` holds: `config`, `sampler`, `seed`, `steps`, `seconds`, `metrics`,
        `metrics_NAME` for each post-processor, `groups`, `directions`, `eval_metrics`, and, if
        there are any of these, `features` and `num_real`, and `kept`: step, metrics and groups of
        each generator that a plugin kept (`RUN.eval_kept`); and what plugins add.

    Raises:
        UserError: A name is unknown; the run folder names code; if strict, a metric can't be
            computed.
        PluginError: What a plugin adds is not as it must be.
    """
    result, samples = measure(
        run, num, postprocessors, metrics=metrics, features=features, num_real=num_real,
        strict=strict, progress=progress,
    )  # fmt: skip
    if run.folder is not None and run.rank == 0:
        path = run.folder / "samples" / FINAL_SAMPLES
        with atomic_write(path) as temporary:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **samples)  # type: ignore[arg-type]
            seal_zip(temporary)
        write_result(run.folder, result)
        run.hooks.written(run, "result", run.folder / RESULT_FILE)
    return result


def measure(
    run: Run,
    num: int | None = None,
    postprocessors: list[str] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    features: str | None = None,
    num_real: int = NUM_REAL,
    strict: bool = False,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measures as :func:`evaluate` does, and writes nothing.

    Returns:
        What `result.json` would hold, and the arrays of `samples/final.npz`.
    """
    num = num or run.config.RUN.num_eval
    names = run.postprocessors if postprocessors is None else postprocessors
    asked = metrics_of_run(run.config, run.dataset) if metrics is None else list(metrics)
    result: dict[str, Any] = {
        "config": run.config_name,
        "sampler": run.config.RUN.sampler,
        "seed": run.seed,
        "steps": run.step,
        "seconds": round(run.seconds, 2),
        "device": str(run.device),
        "versions": versions(),
        "num_generated": num,
        "health": run.health.found(),
        "eval_metrics": list(dict.fromkeys(asked)),
        "metrics": {},
        "groups": _data_shares(run),
        "directions": dict(DIRECTIONS),
    }
    suite = None
    if asked and run.rank == 0:
        if features is None and not run.trusted:
            code = named_code(run.config, {}, None, run.plugins.catalogs.features)
            refuse_code(code, f"The folder {run.folder}", {"MODEL"}, instead="--features FILE")
        suite = MetricSuite(
            asked,
            run.plugins.catalogs,
            run.dataset,
            features=run.config.RUN.eval_features if features is None else features,
            device=run.device,
            num_real=num_real,
            cache=cache_folder(),
            strict=strict,
            progress=progress,
        )
        suite.read_real()
        result["features"], result["num_real"] = suite.features, suite.num_real
        result["directions"].update(suite.directions)
    samples: dict[str, NDArray[Any]] = {}
    for name in ["plain", *dict.fromkeys(n for n in names if n != "plain")]:
        source = run.plugins.catalogs.postprocessors[name](run, 0)
        suffix = "" if name == "plain" else f"_{name}"
        what = f"{name} samples"
        found, by_group, x = _measure(run, source, num, suite, what, progress)
        for group, values in by_group.items():
            entry = result["groups"].setdefault(group, {})
            add_values(entry, {f"{k}{suffix}": v for k, v in values.items()}, "A metric")
        result[f"metrics{suffix}"] = {**found, **source.statistics()}
        samples[f"x{suffix}"] = x
    # Generators of earlier steps come last, so that what is measured above does not depend on them.
    for name in run.kept.names if run.config.RUN.eval_kept else ():
        if (kept := run.kept.load(name)) is None:
            continue
        source = PlainSource(run, 0, kept[1])
        found, by_group, x = _measure(run, source, num, suite, f"kept {name} samples", progress)
        entry = {"step": kept[0], "metrics": found, "groups": by_group}
        result.setdefault("kept", {})[name] = entry
        samples[f"kept_{name}"] = x
    return merge_contributions(run.hooks.result(run), result), samples


def is_evaluated(run: Run) -> bool:
    """Whether `result.json` holds what :func:`evaluate` would measure of a run left as it was."""
    if run.folder is None or run.step > run.first_step:
        return False
    try:
        result = read_result(run.folder)
    except UserError:
        return False
    expected: dict[str, Any] = {"steps": run.step, "num_generated": run.config.RUN.num_eval}
    wanted = metrics_of_run(run.config, run.dataset)
    if wanted:
        expected["num_real"] = min(len(run.dataset), NUM_REAL)
        features = result.get("features")
        if not isinstance(features, dict) or features["choice"] != run.config.RUN.eval_features:
            return False
    if run.config.RUN.eval_kept and not set(run.kept.names) <= set(result.get("kept") or ()):
        return False
    kinds = {f"metrics_{name}" for name in run.postprocessors if name != "plain"}
    measured = set(result.get("eval_metrics") or ())
    return (
        expected.items() <= result.items()
        and kinds <= result.keys()
        and measured.issuperset(wanted)
    )


def _measure(
    run: Run,
    source: SampleSource,
    num: int,
    suite: MetricSuite | None,
    what: str,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], NDArray[Any]]:
    """Measures samples of a source: returns results overall and by group, and some samples."""
    tally = _generate(run, source, num, suite, what, progress)
    found, by_group = tally.metrics(run), dict[str, dict[str, Any]]()
    for group, share in tally.shares().items():
        if group in run.dataset.group_names:
            by_group[group] = {"share_generated": share}
        else:
            found[group] = share
    if suite is not None:
        overall, groups = suite.compute()
        add_values(found, overall, "A metric")
        for group, values in groups.items():
            add_values(by_group.setdefault(group, {}), values, "A metric")
    return found, by_group, tally.kept()


def _generate(
    run: Run,
    source: SampleSource,
    num: int,
    suite: MetricSuite | None,
    what: str,
    progress: Progress,
) -> Tally:
    """Draws samples from a source and shows them to whoever measures them."""
    tally = Tally(run, num)
    if suite is not None:
        suite.start()
    for x, y in labelled_batches(source, num):
        groups = tally.add(x)
        if suite is not None:
            suite.update(x, y, groups)
        progress(what, tally.count, num)
    return tally


def _data_shares(run: Run) -> dict[str, dict[str, Any]]:
    dataset = run.dataset
    if dataset.groups is None:
        return {}
    counts = np.bincount(dataset.groups[dataset.groups >= 0], minlength=len(dataset.group_names))
    return {
        name: {"count": int(count), "share_data": float(count / len(dataset))}
        for name, count in zip(dataset.group_names, counts, strict=True)
    }
