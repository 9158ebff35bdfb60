"""The hooks: where a plugin meets a training run.

A plugin is a class or module with functions named as below, marked with :data:`hookimpl`, and
announced through the entry-point group `gan_registry`. An implementation may take any subset of a
hook's arguments. Never give an argument a default: it would hide the real value.

The whole loop, with the hooks in place (`run` is a :class:`~gan_registry.live_run.LiveRun`)::

    gan_add_options(parser)                       # once, at start-up
    gan_register(catalogs)                        # once, at start-up
    gan_build(run)                                # options are final, nothing is built
    ...build dataset, sampler, backbone, loss...
    gan_models_ready(run)                         # networks exist, optimisers do not
    ...build optimisers; on resuming, gan_load_state(run, state) and the host's own state...
    gan_train_start(run)
    for run.step in range(run.step, run.total_steps):
        for each discriminator update of the step:
            for each micro-batch:                  # (one, unless gradients are accumulated)
                real, fake = next batch, generate(B) without gradients
                real_out, fake_out = D(real.x), D(fake.x)
                gan_real_logits(run, real, logits)
                w_real, w_fake = gan_discriminator_weights(run, real, fake, logits, logits)
                loss = mean(w_real * real_terms) + mean(w_fake * fake_terms)
                loss += gan_discriminator_penalty(run, real, fake, real_out, fake_out)
                loss.backward()
            average gradients over ranks; step D's optimiser
            gan_discriminator_updated(run, batches)
        for each generator update of the step:
            for each micro-batch:
                fake = generate(B) with gradients; fake_out = D(fake.x)
                w = gan_generator_weights(run, fake, logits)
                loss = mean(w * generator_terms) + gan_generator_penalty(run, fake, fake_out)
                loss.backward()
            average gradients over ranks; step G's optimiser; update its moving average
        gan_step_end(run)                          # run.step is now the number of steps done
        ...write a log line: gan_logged(run, values); draw a sample grid: gan_written(run, …)...
        ...save a checkpoint with gan_state(run)...
    gan_train_end(run)                             # also when an exception ends the training
    ...evaluate with gan_metrics(run, real, fake); write result.json with gan_result(run)...
    gan_report(run, report)
    ...write report.html; gan_written(run, kind, path) after each of the two...

How contributions of several plugins merge: *event* hooks return None; *product* and *sum* hooks
return None (nothing to add) or tensors that are multiplied or added; *merge* hooks return mappings
whose keys must not collide. All of these commute, so the order of plugins cannot change a result.

Deprecation rule: within one `HOOK_API_VERSION` hooks and arguments are only ever added. A hook or
an argument that is to go is marked deprecated, with a warning that names its replacement, for at
least one minor release before the version is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun
    from gan_registry.records import Fake, MicroBatch, Real
    from gan_registry.report.document import Report

PROJECT_NAME = "gan_registry"
"""Name of the pluggy project and of the entry-point group."""

HOOK_API_VERSION = 1
"""Raised when a hook is removed or changes its meaning; additions do not raise it."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec(historic=True)
def gan_add_options(parser: argparse.ArgumentParser) -> None:
    """Adds flags. Each is equally a key of the config's section `PLUGINS`.

    The `dest` of an argument is `plugin.option`: the flag and `PLUGINS: {plugin: {option: …}}` then
    set the same value, the flag wins, and the host checks the value in the config file by the
    argument's own `type` and `choices`.

    Example::

        group = parser.add_argument_group("noise", "Instance noise")
        group.add_argument("--noise-std", dest="noise.std", type=float, default=0.0,
                           help="standard deviation added to D's inputs")
    """


@hookspec(historic=True)
def gan_register(catalogs: Catalogs) -> None:
    """Adds named components: backbones, losses, datasets, samplers, post-processors, ….

    A factory is a callable or a string `module:attribute`, imported on first use.

    Example::

        catalogs.losses.register("relativistic", "my_package.losses:RelativisticLoss")
    """


@hookspec
def gan_build(run: LiveRun) -> None:
    """Options and config are final and nothing is built: refuse what cannot work together.

    Example::

        if run.options["noise"]["std"] < 0:
            raise UserError("--noise-std must not be negative.")
    """


@hookspec
def gan_models_ready(run: LiveRun) -> None:
    """Networks exist, optimisers do not yet: wrap or replace networks, add networks of one's own.

    Example::

        run.discriminator = NoisyInput(run.discriminator, run.options["noise"]["std"])
    """


@hookspec
def gan_train_start(run: LiveRun) -> None:
    """Optimisers, moving averages and a resumed state are in place; `run.step` steps are done."""


@hookspec
def gan_real_logits(run: LiveRun, real: Real, logits: Tensor) -> None:
    """D saw real samples in a discriminator update.

    Args:
        run: The run.
        real: The batch; `real.indices` are dataset indices [B].
        logits: The loss's log-density ratio of each sample, detached float32 [B].
    """


@hookspec
def gan_discriminator_weights(
    run: LiveRun,
    real: Real,
    fake: Fake,
    real_logits: Tensor,
    fake_logits: Tensor,
    real_out: Any,
    fake_out: Any,
) -> tuple[Tensor | None, Tensor | None] | None:
    """Weights the samples in D's loss; the weights of several plugins multiply.

    The host takes the mean of weight × term over the batch and never renormalises.

    Args:
        run: The run.
        real: Training samples.
        fake: Generated samples.
        real_logits: Detached log-density ratios [B] of `real`.
        fake_logits: Detached log-density ratios [B] of `fake`.
        real_out: D's raw output on `real`, e.g. with class logits; None where a host has none.
        fake_out: D's raw output on `fake`, likewise.

    Returns:
        `(real [B] or None, fake [B] or None)`, or None for no weights.
    """


@hookspec
def gan_discriminator_penalty(
    run: LiveRun, real: Real, fake: Fake, real_out: Any, fake_out: Any
) -> Tensor | None:
    """Adds a scalar to D's loss, e.g. a gradient penalty.

    Args:
        run: The run.
        real: Training samples.
        fake: Generated samples.
        real_out: D's raw output on the real samples, with its graph.
        fake_out: D's raw output on the generated samples, with its graph.

    Returns:
        A scalar tensor, or None.
    """


@hookspec
def gan_discriminator_updated(run: LiveRun, batches: Sequence[MicroBatch]) -> None:
    """D's optimiser has stepped. A second discriminator trains here, on the same fakes.

    Args:
        run: The run.
        batches: The micro-batches of the update, detached.
    """


@hookspec
def gan_generator_weights(run: LiveRun, fake: Fake, logits: Tensor, fake_out: Any) -> Tensor | None:
    """Weights the samples in G's loss; the weights of several plugins multiply.

    Args:
        run: The run.
        fake: Generated samples.
        logits: Detached log-density ratios [B] of `fake`.
        fake_out: D's raw output on `fake`; None where a host has none.

    Returns:
        Weights [B], or None.
    """


@hookspec
def gan_generator_penalty(run: LiveRun, fake: Fake, fake_out: Any) -> Tensor | None:
    """Adds a scalar to G's loss.

    Args:
        run: The run.
        fake: Generated samples, with their graph.
        fake_out: D's raw output on them, with its graph.

    Returns:
        A scalar tensor, or None.
    """


@hookspec
def gan_step_end(run: LiveRun) -> None:
    """A step is done (`run.step` counts it): record, set the sampler's weights, change phase.

    Example::

        if run.step == 1000:
            run.set_weights(weights)   # float64 [N]; active from the next batch on
    """


@hookspec
def gan_train_end(run: LiveRun) -> None:
    """Training has ended, after the last step or by an exception; write what should be kept."""


@hookspec
def gan_state(run: LiveRun) -> Mapping[str, Any] | None:
    """Returns the plugin's part of a checkpoint.

    Dense tensors and plain values only (numbers, strings, lists, tuples, dicts), with a version of
    the plugin's own choosing. Networks and optimisers given to `run.add` are saved by the host.

    Returns:
        A mapping, kept under the plugin's name, or None.
    """


@hookspec
def gan_load_state(run: LiveRun, state: Mapping[str, Any]) -> None:
    """Restores what `gan_state` of the same plugin returned, before added networks are loaded.

    Called when training resumes and when a finished run is opened again. A plugin that had added
    networks adds them again here.

    Args:
        run: The run.
        state: What this plugin returned from `gan_state`.
    """


@hookspec
def gan_metrics(run: LiveRun, real: Any, fake: Any) -> Mapping[str, float] | None:
    """Returns extra metrics of generated samples.

    Args:
        run: The run.
        real: Training samples, float32 [n, ...] (at most as many as were generated).
        fake: Generated samples, float32 [n, ...].

    Returns:
        Name → number, or None.
    """


@hookspec
def gan_result(run: LiveRun) -> Mapping[str, Any] | None:
    """Returns entries for `result.json`; nested mappings merge, equal keys collide.

    Example::

        return {"groups": {"minor": {"difficulty": 0.7}}}   # beside the host's own entries
    """


@hookspec
def gan_plan(run: LiveRun) -> Mapping[str, Any] | None:
    """Says what the plugin will do in this run, for `--dry-run`; nothing is built yet but the data.

    Returns:
        Label → text or number for the plan's table. The label `discriminator_samples`, if given,
        is the number of extra samples that pass through D, and enters the estimate of the cost.
    """


@hookspec
def gan_report(run: LiveRun, report: Report) -> None:
    """Adds sections, tables and figures to the report of a run.

    Args:
        run: The run, live or opened again from its folder.
        report: The document; sections are placed by their `order`, not by call order.
    """


@hookspec
def gan_logged(run: LiveRun, values: Mapping[str, Any]) -> None:
    """A line of the log was written: the place to send it elsewhere.

    Args:
        run: The run; called by its rank 0 alone, where `gan-registry` trains into a folder.
        values: The line of `metrics.jsonl`, as plain values.
    """


@hookspec
def gan_written(run: LiveRun, kind: str, path: Path) -> None:
    """A file that is to be looked at was written; called as `gan_logged` is, and by the evaluation.

    Args:
        run: The run, live or opened again from its folder.
        kind: "samples" for a sample grid, "result" for `result.json`, "report" for `report.html`.
        path: Where it lies.
    """
