"""Weights & Biases as a logger."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.config.settings import options_as_yaml
from gan_registry.loggers.base import Logger

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class WandbPlugin(Logger):
    """Sends a run to Weights & Biases; `WANDB_MODE` and its other variables hold."""

    name = "wandb"
    title = "Weights & Biases"
    module = distribution = "wandb"
    place = "project"
    offline = "WANDB_MODE=offline keeps all in the run folder"

    def open(self, run: LiveRun, place: str, known: str | None) -> WandbRun:
        """Opens a run, or goes on with the one that it was."""
        return WandbRun(run, place, known)


_OPEN: dict[str, WandbRun] = {}
"""Runs that wait for their report, by id; one that is continued in this process is ended first."""


class WandbRun:
    """A run there.

    Args:
        run: The run.
        project: The project.
        known: Its id before it was continued, or None.
    """

    def __init__(self, run: LiveRun, project: str, known: str | None) -> None:
        assert run.folder is not None
        self._wandb: Any = import_module("wandb")
        options = options_as_yaml(run.options)
        if known is not None and known in _OPEN:
            _OPEN[known].close()
        self._run = self._wandb.init(
            project=project, id=known, resume="allow" if known else None, dir=str(run.folder),
            name=run.folder.name, config={**run.config.model_dump(), "PLUGINS": options},
            reinit="create_new",  # never one that the same process has open already
            settings=self._wandb.Settings(console="off"),  # the progress bar stays whole
        )  # fmt: skip
        self.id: str = self._run.id
        _OPEN[self.id] = self
        # A continued run may log steps a second time; its own count of calls says nothing.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        self._run.log({**values, "step": step})

    def picture(self, step: int, path: Path) -> None:
        """Takes a sample grid."""
        self._run.log({"samples": self._wandb.Image(str(path)), "step": step})

    def results(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of `result.json`."""
        self._run.summary.update(dict(values))

    def report(self, path: Path, verdict: str) -> None:
        """Takes the report, and what it says first."""
        if verdict:
            self._run.summary["verdict"] = verdict
        artifact = self._wandb.Artifact(f"report-{self.id}", type="report")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def trained(self, *, whole: bool) -> None:
        """Ends a run that was cut short; one that is whole waits for its report."""
        if not whole:
            self._end(1)

    def close(self) -> None:
        """Ends the run."""
        self._end(0)

    def _end(self, exit_code: int) -> None:
        _OPEN.pop(self.id, None)
        self._run.finish(exit_code=exit_code)
