"""From saved discriminators to a diagnosis: each is one record of every training sample.

The training itself would have recorded every so many steps; a finished GAN has the discriminators
that were kept. The statistics are the same, over fewer and wider-spaced records. Of a single one
there is no variance: the score is then LDRM alone (k = 0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.options import NAME, DiaOptions
from diagan_plugin.hosts.finished.loading import failure, find_loader, load, of_run, run_steps
from diagan_plugin.hosts.kit.config import host_config
from diagan_plugin.hosts.own_loop.reading import Reading
from diagan_plugin.hosts.own_loop.run import LoopRun
from diagan_plugin.report.dia_sections import add_dia_sections
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.datasets.base import Dataset
from gan_registry.errors import UserError
from gan_registry.live_run import LiveRun
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.plugins import PluginManager
from gan_registry.report.document import Report
from gan_registry.training.distributed import Group
from gan_registry.training.trainer import open_run


@dataclass(frozen=True)
class Found:
    """What saved discriminators say of the training data.

    Attributes:
        diagnosis: The statistics of every sample.
        dataset: The data.
        result: What `result.json` of a run would hold of it.
        report: The page, with the verdict.
    """

    diagnosis: Diagnosis
    dataset: Dataset
    result: dict[str, Any]
    report: Report


def diagnose_run(
    paths: list[Path], *, k: float | str, logits: str, device: str, trust: bool, progress: Progress
) -> Found:
    """Diagnoses a run of gan-registry's from its checkpoints, with its own data.

    Args:
        paths: As for :func:`~diagan_plugin.hosts.finished.loading.run_steps`.
        k: Weight of √LDRV in the score, or "auto".
        logits: As for `--dia-logits`.
        device: Where to compute.
        trust: Whether the folder may name code to run.
        progress: Told how far it is.

    Raises:
        UserError: The run cannot be opened, or a checkpoint is damaged.
    """
    folder, steps = run_steps(paths)
    run = open_run(folder, step=steps[-1], device=device, trust=trust)
    names = of_run(run, folder, steps)
    return _diagnose(run, names, steps, k, logits, progress, str(folder))


def diagnose_files(
    paths: list[Path], dataset: Dataset, loader: str, *, loss: str, conditional: bool, sign: int,
    batch_size: int, k: float | str, logits: str, seed: int, device: torch.device,
    progress: Progress = no_progress,
) -> Found:  # fmt: skip
    """Diagnoses a GAN of any framework from files, the earliest first.

    Args:
        paths: The files.
        dataset: The training data.
        loader: `module:function`; the function makes a discriminator of a path.
        loss: Name of the loss it was trained with, which says how its output becomes a ratio.
        conditional: Whether it takes labels, as `D(x, y)`.
        sign: -1 where it is low on real samples.
        batch_size: That of the training; it matters with batch norm.
        k: As above.
        logits: As above.
        seed: Of the batches' composition.
        device: Where to compute.
        progress: Told how far it is.

    Raises:
        UserError: A file, the function or what it returns cannot be used.
    """
    plugins = PluginManager(load_entry_points=False)
    function = find_loader(loader)
    run = LoopRun(
        host_config({"DATA": {"name": dataset.name}, "LOSS": {"adv_loss": loss},
                     "RUN": {"seed": seed}}),
        plugins, {NAME: {}}, dataset, DiaSampler(len(dataset), seed),
        plugins.catalogs.losses[loss](Reading(None, sign)), total_steps=len(paths),
        batch_size=min(batch_size, len(dataset)), device=device, group=Group(0, 1),
        conditional=conditional,
    )  # fmt: skip

    def shown() -> Iterator[str]:
        for path in paths:
            run.show(load(function, loader, path, device))
            yield str(path)

    steps = list(range(1, len(paths) + 1))
    return _diagnose(run, shown(), steps, k, logits, progress, f"{len(paths)} discriminators")


def _diagnose(
    run: LiveRun, names: Iterable[str], steps: list[int], k: float | str, logits: str,
    progress: Progress, title: str,
) -> Found:  # fmt: skip
    """Records every sample with each discriminator that the run shows while `names` go by."""
    count, driver = len(steps), None
    options = DiaOptions(
        k=k if count > 1 else 0.0, window=max(count, 2), record_every=1, logits=logits,
        diagnose=True,
    )  # fmt: skip
    run.total_steps = count
    for number, name in enumerate(names, 1):
        run.step = number
        try:
            if driver is None:
                driver = DiaDriver(run, options, weighted=False)
            driver.step_end(run)
        except UserError:
            raise
        except Exception as error:  # a stranger's network raises what it likes
            raise failure(error, name, run.dataset.sample_shape) from error
        progress("discriminators", number, count)
    assert driver is not None
    diagnosis = driver.diagnosis(run)
    if diagnosis is None or not np.isfinite(diagnosis.score).any():
        raise UserError("No logit of these discriminators is finite: nothing can be said of them.")
    kept = np.asarray(steps, np.int64)[diagnosis.history_steps - 1]
    metadata = {**diagnosis.metadata, "first_step": str(steps[0]), "last_step": str(steps[-1])}
    diagnosis = dataclasses.replace(diagnosis, history_steps=kept, metadata=metadata)
    result = {"steps": steps[-1], "seed": run.seed, **driver.result(run)}
    report = Report("Self-diagnosis of a GAN", title)
    add_dia_sections(report, run.dataset, result, diagnosis, seed=run.seed)
    return Found(diagnosis, run.dataset, result, report)
