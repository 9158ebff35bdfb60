"""MLflow as a logger."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_registry.config.settings import flatten_settings
from gan_registry.loggers.base import Logger

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_BATCH = 100
"""Parameters that MLflow takes at once."""

_LONGEST = 500
"""Characters of a parameter that every MLflow takes."""


class MlflowPlugin(Logger):
    """Sends a run to MLflow; `MLFLOW_TRACKING_URI` says where that is."""

    name = "mlflow"
    title = "MLflow"
    module = "mlflow"
    distribution = "mlflow"
    place = "experiment"
    offline = "MLFLOW_TRACKING_URI=sqlite:///mlflow.db keeps all on this machine"

    def open(self, run: LiveRun, place: str, known: str | None) -> MlflowRun:
        """Opens a run, or goes on with the one that it was."""
        return MlflowRun(run, place, known)


class MlflowRun:
    """A run there.

    Args:
        run: The run.
        experiment: The experiment; made if it is not there.
        known: Its id before it was continued, or None.
    """

    def __init__(self, run: LiveRun, experiment: str, known: str | None) -> None:
        assert run.folder is not None
        mlflow = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = mlflow.MlflowClient()  # not mlflow's functions, whose run is global
        if known is not None:
            try:
                self._client.update_run(known, status="RUNNING")
            except mlflow.exceptions.MlflowException:  # another server, or it was deleted there
                known = None
        self.id: str = known or self._new(run, experiment)

    def _new(self, run: LiveRun, experiment: str) -> str:
        assert run.folder is not None
        found = self._client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self._client.create_experiment(experiment)
        name: str = self._client.create_run(place, run_name=run.folder.name).info.run_id
        settings = flatten_settings({**run.config.model_dump(), "PLUGINS": run.options})
        params = [
            self._entities.Param(_name(key), str(value)[:_LONGEST])
            for key, value in settings.items()
        ]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(name, params=params[start : start + _BATCH])
        return name

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(_name(k), v, now, step) for k, v in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def picture(self, step: int, path: Path) -> None:
        """Takes a sample grid."""
        self._client.log_artifact(self.id, str(path), "samples")

    def results(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of `result.json`."""
        self.numbers(step, values)

    def report(self, path: Path, verdict: str) -> None:
        """Takes the report, and what it says first."""
        if verdict:
            self._client.set_tag(self.id, "verdict", verdict[:5000])
        self._client.log_artifact(self.id, str(path))

    def trained(self, *, whole: bool) -> None:
        """Says how it ended; the report may come all the same."""
        self._client.set_terminated(self.id, "FINISHED" if whole else "FAILED")

    def close(self) -> None:
        """Nothing is held."""


def _name(text: str) -> str:
    """Returns a name in MLflow's letters."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)
