"""Saves the work of a run that fails: the state of the last whole step.

A failure in the middle of a step leaves networks and plugins half-way, so that nothing can be read
off them. But every step is a pure function of a checkpoint, the seed and the step's number: so what
was trained since the newest checkpoint is trained again, in a fresh run, and its end is saved.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

import torch

from gan_registry.errors import Diverged, PluginError, UserError, add_sentence
from gan_registry.formatting import duration
from gan_registry.seeding import kept_random_state
from gan_registry.silence import silence
from gan_registry.training.build import build_all
from gan_registry.training.checkpoint import (
    newest_sound,
    read_checkpoint,
    save_checkpoint,
)
from gan_registry.training.run import Run
from gan_registry.training.step import train_step

PATIENCE = 120.0
"""Seconds: what would take longer to train again is left to the newest checkpoint."""


def rescue(
    run: Run,
    error: BaseException,
    cause: tuple[str, str] | None,
    seconds: float,
    quiet: bool = False,
) -> None:
    """Saves the last whole step of a run that has failed, and adds to the error what is saved.

    Nothing is done after an interruption, or where the disk or the user is the cause. A run of
    several processes is not trained again: the others may be gone.

    Args:
        run: The run; it must not be used afterwards.
        error: What ended it.
        cause: The plugin and the hook that failed, or None.
        seconds: How long this start of the run has trained.
        quiet: Print nothing.
    """
    from_plugin = cause is not None or isinstance(error, (PluginError, Diverged))
    if not isinstance(error, Exception) or (isinstance(error, UserError) and not from_plugin):
        return
    if run.folder is None:
        return
    done = max(run.whole_step, run.first_step)
    step = min(done, (getattr(error, "step", None) or done + 1) - 1)
    if cause is not None and cause[1] == "gan_state":
        step -= step > run.first_step  # it would fail again at the very step
    pace = seconds / max(done - run.first_step, 1)
    _report(run, error, _save(run, error, max(step, 0), pace, quiet), quiet)


def _save(run: Run, error: Exception, step: int, pace: float, quiet: bool) -> str:
    """Saves a step; returns a sentence that says what is kept."""
    start = (None if run.folder is None else newest_sound(run.folder, step)) or 0
    if step <= start or run.world_size > 1:
        return what_is_kept(run, error)
    cost = pace * (step - start)
    if cost > PATIENCE:
        return (
            f"To train again up to step {step} would take about {duration(cost)}. "
            f"{what_is_kept(run, error)}"
        )
    if not quiet:
        print(
            f"saving step {step}: training again from step {start}, about {duration(cost)}; "
            "Ctrl-C skips this",
            file=sys.stderr,
            flush=True,
        )
    try:
        if run.device.type != "cpu":
            release(run, error)
        # Plugins have given their warnings once already.
        with kept_random_state(run.device), silence():
            # After a loss that was not finite, the weights of the step before may not be either.
            wary = isinstance(error, Diverged)
            saved = _train_again(run, start, [step - 1, step] if wary else [step], wary)
    except (Exception, KeyboardInterrupt):
        return f"Step {step} could not be trained again. {what_is_kept(run, error)}"
    if saved is None:
        return what_is_kept(run, error)
    if isinstance(error, Diverged):
        return f"The state of step {saved}, the last that is finite, is saved."
    return f"The state of step {saved} is saved; the same command continues from there."


def _train_again(run: Run, start: int, targets: list[int], wary: bool) -> int | None:
    """Trains a fresh run like the given one and saves it at each target; returns the last saved."""
    assert run.folder is not None
    again = Run(run.config, run.plugins, run.options, run.folder, config_name=run.config_name)
    settings, saved = run.config.RUN, None
    try:
        again.hooks.build(again)
        build_all(again, read_checkpoint(run.folder, start) if start else None)
        again.hooks.train_start(again)
        for target in targets:
            while again.step < target:
                train_step(again)
                if again.step % settings.print_freq == 0:
                    again.take_log()  # written already
            if wary and not _is_finite(again):
                break
            if target > start:
                again.hooks.values.settle()
                again.seconds = max(again.seconds, run.seconds)
                save_checkpoint(again, settings.keep_checkpoints)
                saved = target
    finally:
        with contextlib.suppress(Exception):
            again.stream.close()
            again.hooks.train_end(again)
    return saved


def _is_finite(run: Run) -> bool:
    parameters = [*run.generator.parameters(), *run.discriminator.parameters()]
    return all(bool(torch.isfinite(parameter).all()) for parameter in parameters)


def release(run: Run, error: BaseException) -> None:
    """Frees the device memory of a run that has failed; it is of no use afterwards."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)  # they hold activations
        cause = cause.__cause__ or cause.__context__
    for optimizer in run.optimizers.values():
        optimizer.zero_grad(set_to_none=True)
        optimizer.state.clear()
    for network in (run.generator, run.discriminator):
        network.to("meta")
    if run.device.type == "cuda":
        torch.cuda.empty_cache()


def what_is_kept(run: Run, error: BaseException) -> str:
    """Says which checkpoint there is; to go on from it would make the training diverge again."""
    step = None if run.folder is None else newest_sound(run.folder)
    kept = "No step was saved" if step is None else f"The checkpoint of step {step} is kept"
    if isinstance(error, Diverged):
        return f"{kept}."
    return f"{kept}; the same command {'starts anew' if step is None else 'continues from there'}."


def _report(run: Run, error: Exception, sentence: str, quiet: bool) -> None:
    if isinstance(error, UserError):
        add_sentence(error, sentence)
    elif not quiet:
        print(sentence, file=sys.stderr, flush=True)


@contextlib.contextmanager
def say_what_is_kept(run: Run) -> Iterator[None]:
    """Adds to the error of a plugin that fails after the training what is kept of it."""
    try:
        yield
    except PluginError as error:
        if run.folder is not None:
            add_sentence(error, what_is_kept(run, error))
        raise
