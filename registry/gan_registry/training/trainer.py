"""The training loop, from a configuration to a finished run folder.

It reads from top to bottom as the pseudocode at the head of :mod:`gan_registry.hookspecs`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_registry.config.schema import Config
from gan_registry.config.settings import CONFIG_FILE
from gan_registry.config.trust import EVAL_FEATURES, named_code, refuse_code
from gan_registry.errors import UserError
from gan_registry.evaluation.progress import ProgressBar
from gan_registry.files import remove_temporaries
from gan_registry.formatting import duration
from gan_registry.metrics.base import no_progress
from gan_registry.plugins import PluginManager
from gan_registry.seeding import kept_random_state
from gan_registry.training import folder as run_folder
from gan_registry.training.agreement import StepAgreement, meet, rank_0_first
from gan_registry.training.build import build_all, look_up_all
from gan_registry.training.checkpoint import read_checkpoint, read_newest, save_checkpoint
from gan_registry.training.interruption import Interrupted, Interruption
from gan_registry.training.lock import held_folder
from gan_registry.training.logs import JsonLines, Terminal, finite_or_fail
from gan_registry.training.participants import warn_of_missing_plugins
from gan_registry.training.rescue import rescue, say_what_is_kept
from gan_registry.training.run import Run, resolve_device
from gan_registry.training.samples import SampleGrids
from gan_registry.training.save_clock import SaveClock
from gan_registry.training.step import train_step
from gan_registry.training.tensorboard import TensorBoard

_SAVE = "save"


def train(
    config: Config,
    folder: Path | None = None,
    plugins: PluginManager | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    name: str = "config",
    quiet: bool = False,
) -> Run:
    """Trains a GAN; continues where the folder's last checkpoint stopped.

    Args:
        config: The validated configuration.
        folder: The run folder, or None to write nothing.
        plugins: The plugins; the installed ones by default.
        options: Plugin → option → value; from `config.PLUGINS` by default.
        name: What to call the configuration in the results.
        quiet: Print nothing.

    Returns:
        The run, trained.

    Raises:
        UserError: The configuration cannot work, the folder holds a different run or is in use, or
            the training diverged.
        Interrupted: A signal asked for the end, in the main thread (a KeyboardInterrupt); the last
            step is saved.
    """
    plugins = plugins or PluginManager()
    if options is None:
        options = plugins.options.resolve(config.PLUGINS)
    folder = None if folder is None else Path(folder)
    run = Run(config, plugins, options, folder, config_name=name)
    with held_folder(folder, run.group):
        _train(run, quiet)
    return run


def _train(run: Run, quiet: bool) -> None:
    before, state = _prepare_folder(run)
    run.hooks.build(run)
    look_up_all(run)
    with run_folder.claimed(run, before):
        build_all(run, state)
        _prepare_data(run, quiet)
    began = time.monotonic()
    try:
        with kept_random_state(run.device):
            run.hooks.train_start(run)
            with Interruption(together=run.world_size > 1) as interruption:
                _loop(run, Outputs.open(run, quiet), interruption)
                interruption.check()
    except BaseException as error:
        run.stream.close()
        seconds = time.monotonic() - began
        cause = run.hooks.failed
        # Plugins may still write what they have; what they run into then is not the news.
        with contextlib.suppress(Exception):
            run.hooks.train_end(run)
        rescue(run, error, cause, seconds, quiet)
        raise
    finally:
        run.stream.close()
    with say_what_is_kept(run):
        run.hooks.train_end(run)


def open_run(
    folder: Path,
    plugins: PluginManager | None = None,
    step: int | None = None,
    device: str = "",
    *,
    trust: bool = False,
) -> Run:
    """Opens a trained run from its folder, to sample from it, evaluate it or report on it.

    Args:
        folder: The run folder.
        plugins: The plugins; the installed ones by default.
        step: The checkpoint to open; the newest that is sound by default.
        device: Where to open it; chosen by what the machine offers by default.
        trust: Whether the folder may name code to run, as `MODEL.module` does.

    Raises:
        UserError: There is no such run or checkpoint, its data has changed, or it names code.
    """
    plugins = plugins or PluginManager()
    name, config, options, recorded = run_folder.read_folder(folder, plugins)
    if not trust:
        code = named_code(config, options, plugins.options, plugins.catalogs.features)
        # Features are loaded when they are asked for.
        refuse_code(code, str(folder / CONFIG_FILE), {EVAL_FEATURES}, instead="")
    warn_of_missing_plugins(folder, recorded, plugins)
    resolve_device(device or "auto")  # before pydantic, for the better message
    config.RUN.device = device or "auto"  # type: ignore[assignment]
    state = read_newest(folder) if step is None else read_checkpoint(folder, step)
    if state is None:
        raise UserError(f"{folder} holds no checkpoint yet; train first, with the same command.")
    run = Run(config, plugins, options, folder, config_name=name)
    run.trusted = trust
    run.total_steps = max(state["total_steps"], state["step"])
    run.step = state["step"]
    run.hooks.build(run)
    build_all(run, state)
    return run


def _prepare_folder(run: Run) -> tuple[dict[str, str] | None, dict[str, Any] | None]:
    """Returns what a run goes on from: the plugins that took part before, and the checkpoint.

    The first is None where no training has begun, the second where none was saved.
    """
    folder, before = run.folder, None
    if folder is None:
        return None, None
    begun = run_folder.has_begun(folder)
    if begun and (folder / CONFIG_FILE).exists():
        before = run_folder.check_same_run(folder, run.config, run.options, run.plugins)
    elif begun:
        raise UserError(
            f"--out {folder} is not empty and holds no run; choose an empty or a new folder."
        )
    if run.rank == 0:
        remove_temporaries(folder)  # a process that was killed could not
    state = read_newest(folder, quiet=run.rank != 0)
    if state is not None and state["step"] > run.total_steps:
        raise UserError(
            f"{folder} has been trained for {state['step']} steps already, more than --steps "
            f"{run.total_steps}; ask for more steps, or choose another folder with --out."
        )
    return before, state


def _prepare_data(run: Run, quiet: bool) -> None:
    """Has the dataset make ready what it keeps for the steps that are left."""
    drawn = (run.total_steps - run.step) * run.samples_per_step
    bar = ProgressBar()

    def show(what: str, done: int, total: int) -> None:
        if not done:  # a line as well, for where there is no bar
            print(what, file=sys.stderr, flush=True)
        bar(what.partition(" ")[0], done, total)

    try:
        # Rank 0 makes what the others then find, or, on a machine of their own, make too.
        rank_0_first(run.group, lambda: run.dataset.prepare(drawn, no_progress if quiet else show))
        if run.rank != 0:
            run.dataset.prepare(drawn)
        meet(run.group)
    finally:
        bar.close()


@dataclass
class Outputs:
    """Where a run's numbers and pictures go."""

    terminal: Terminal
    lines: JsonLines | None
    board: TensorBoard | None
    grids: SampleGrids | None

    @classmethod
    def open(cls, run: Run, quiet: bool) -> Outputs:
        """Opens the outputs; only rank 0 has any, and only with a folder do files exist."""
        lines, board, grids = None, None, None
        if run.folder is not None and run.rank == 0:
            lines = JsonLines(run.folder, run.step)
            board, grids = TensorBoard(run.folder, run.step), SampleGrids(run)
        # Last, as it takes over the terminal and logging, and the others may fail.
        terminal = Terminal(run.step, run.total_steps, quiet or run.rank != 0)
        run.announce = terminal.say
        return cls(terminal, lines, board, grids)

    def write(self, run: Run, values: dict[str, Any], eta: float) -> None:
        """Writes a log step."""
        self.terminal.show(run.step, values, eta)
        if self.lines is not None and self.board is not None:
            self.lines.write(values)
            self.board.write(run.step, values)
            run.hooks.logged(run, values)

    def close(self) -> None:
        """Closes files and the progress bar."""
        self.terminal.close()
        if self.board is not None:
            self.board.close()


def _loop(run: Run, outputs: Outputs, interruption: Interruption) -> None:
    settings = run.config.RUN
    started, first_step, seconds_before = time.monotonic(), run.step, run.seconds
    agreement, clock = StepAgreement(run.group, run.device), SaveClock(settings.save_minutes)
    try:
        if run.step == run.total_steps or run.stopped is not None:
            reason = "" if run.stopped is None else f" (it was stopped: {run.stopped})"
            outputs.terminal.say(
                f"this run is complete after {run.step} steps{reason}; more --steps continue it"
            )
        elif first_step:
            outputs.terminal.say(f"continuing from step {first_step} of {run.total_steps}")
        while run.step < run.total_steps and run.stopped is None:
            train_step(run)
            outputs.terminal.advance(run.step)
            last = run.step == run.total_steps or run.stopped is not None
            # A signal came, or it is time for a checkpoint? All processes have to do the same.
            wish = _SAVE if run.rank == 0 and clock.due() else ""
            asked = agreement.meet(run.step, str(interruption.signal or wish))
            # A line in the log.
            if run.step % settings.print_freq == 0 or last:
                run.hooks.values.settle()
                elapsed = time.monotonic() - started
                run.seconds = seconds_before + elapsed
                pace = elapsed / (run.step - first_step)
                values = {
                    "step": run.step,
                    "seconds": round(run.seconds, 3),
                    "steps_per_second": round(1 / max(pace, 1e-9), 3),
                    **run.average_losses(run.take_log()),
                }
                finite_or_fail(values, run.step)
                outputs.write(run, values, pace * (run.total_steps - run.step))
            # A picture of the same latents.
            if outputs.grids is not None and outputs.grids.due(run.step, last):
                run.hooks.written(run, "samples", outputs.grids.draw(run))
            # A checkpoint to continue from.
            if last or asked or (settings.save_freq and run.step % settings.save_freq == 0):
                run.hooks.values.settle()
                finite_or_fail(run.noted(), run.step)  # never kept to continue from
                before = time.monotonic()
                run.seconds = seconds_before + before - started
                save_checkpoint(run, settings.keep_checkpoints)
                clock.saved(before)
            if asked not in ("", _SAVE):
                run.group.wait(run.device)  # a launcher ends all when the first one has left
                raise Interrupted(int(asked))
        if run.stopped is not None and run.step > first_step:
            outputs.terminal.say(f"stopped at step {run.step}: {run.stopped}")
        elif run.step > first_step:
            outputs.terminal.say(
                f"trained {run.step - first_step} steps in {duration(time.monotonic() - started)}"
            )
    finally:
        outputs.close()
