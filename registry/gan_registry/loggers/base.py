"""What every logger does alike: when it begins, what it sends, and what becomes of an error.

A logger is a plugin that only observes. It sends copies: the run folder has everything, whatever a
tracker does. So a tracker that fails in the middle of a training is warned of once and left out;
one that cannot be reached at all is said at the first log line, as somebody asked for it.
"""

from __future__ import annotations

import argparse
import math
import re
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from gan_registry.config.settings import flatten_settings
from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.report.document import Report


class Tracked(Protocol):
    """A run at a tracker. Its methods may raise anything."""

    id: str
    """What the tracker calls it."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step."""
        ...

    def picture(self, step: int, path: Path) -> None:
        """Takes a sample grid."""
        ...

    def results(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of `result.json`."""
        ...

    def report(self, path: Path, verdict: str) -> None:
        """Takes the report, and what it says first."""
        ...

    def trained(self, *, whole: bool) -> None:
        """The training has ended; nothing more comes if it is not whole."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Logger(ABC):
    """A logger as hooks.

    Attributes:
        name: The plugin's name, and that of its flag.
        title: What the tracker calls itself.
        module: What is imported of it.
        distribution: What is installed for that.
        place: What runs are put in there; the flag's value, and the name of the option.
        offline: What keeps everything on this machine, as a part of a sentence.
    """

    observes = True
    name: ClassVar[str]
    title: ClassVar[str]
    module: ClassVar[str]
    distribution: ClassVar[str]
    place: ClassVar[str]
    offline: ClassVar[str]

    def __init__(self) -> None:
        # None until there is something to send: a run that is trained again after a failure, to
        # save its last step, never gets there.
        self._runs: weakref.WeakKeyDictionary[LiveRun, Tracked | None]
        self._runs = weakref.WeakKeyDictionary()
        self._reports: weakref.WeakKeyDictionary[LiveRun, Report] = weakref.WeakKeyDictionary()

    @abstractmethod
    def open(self, run: LiveRun, place: str, known: str | None) -> Tracked:
        """Opens a run at the tracker, where it may raise anything.

        Args:
            run: The run; its folder is there.
            place: Where to put it.
            known: What the tracker called it before it was continued, or None.
        """

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the flag."""
        group = parser.add_argument_group(self.title, f"send the log to {self.title} too")
        group.add_argument(
            f"--{self.name}", dest=f"{self.name}.{self.place}", metavar=self.place.upper(),
            default="", help=f"the {self.place} of {self.title} to log to; {self.offline}",
        )  # fmt: skip

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says where it will log to."""
        place = self._place(run)
        return {"log": f"{self.title}, {self.place} {place}"} if place else None

    @hookimpl
    def gan_train_start(self, run: LiveRun) -> None:
        """Takes part in trainings that ask for it; says if what it takes is not installed."""
        if not self._place(run) or run.rank != 0 or run.folder is None:
            return
        if util.find_spec(self.module) is None:
            raise UserError(
                f"--{self.name} needs {self.title}, which is not installed: pip install "
                f"{self.distribution}; or leave it out."
            )
        self._runs[run] = None

    @hookimpl
    def gan_logged(self, run: LiveRun, values: Mapping[str, Any]) -> None:
        """Sends the numbers of a log line."""
        self._send(run, lambda tracked: tracked.numbers(run.step, numbers_in(values)))

    @hookimpl
    def gan_report(self, run: LiveRun, report: Report) -> None:
        """Remembers the report, to which others have still to add."""
        if run in self._runs:
            self._reports[run] = report

    @hookimpl
    def gan_written(self, run: LiveRun, kind: str, path: Path) -> None:
        """Sends a sample grid, the numbers of the result, or the report, which comes last."""
        if kind == "samples":
            self._send(run, lambda tracked: tracked.picture(run.step, path))
        elif kind == "result" and run in self._runs:
            from gan_registry.evaluation.results import read_result

            found = result_numbers(read_result(path.parent))
            self._send(run, lambda tracked: tracked.results(run.step, found))
        elif kind == "report" and run in self._reports:
            verdict = verdict_of(self._reports.pop(run))
            self._send(run, lambda tracked: tracked.report(path, verdict))
            self._send(run, lambda tracked: tracked.close())
            self._runs.pop(run, None)

    @hookimpl
    def gan_train_end(self, run: LiveRun) -> None:
        """Says how the training ended; of one that was cut short nothing more comes."""
        whole = run.step >= run.total_steps or run.stopped is not None
        if self._runs.get(run) is not None:
            self._send(run, lambda tracked: tracked.trained(whole=whole))
        if not whole:
            self._runs.pop(run, None)

    def _place(self, run: LiveRun) -> str:
        return str(run.options[self.name][self.place]).strip()

    def _send(self, run: LiveRun, send: Callable[[Tracked], None]) -> None:
        if run not in self._runs:
            return
        tracked = self._runs[run] or self._opened(run)
        try:
            send(tracked)
        except Exception as error:
            del self._runs[run]
            warnings.warn(
                f"{self.title} is left out from step {run.step} on: {_told(error)}. The run folder "
                "has everything.",
                stacklevel=2,
            )

    def _opened(self, run: LiveRun) -> Tracked:
        assert run.folder is not None
        note = run.folder / f"{self.name}.id"
        try:
            tracked = self.open(run, self._place(run), _read_id(note))
        except Exception as error:
            raise UserError(
                f"{self.title} cannot be used: {_told(error)}. {self.offline}; or "
                f"leave out --{self.name}."
            ) from error
        with atomic_write(note) as temporary:
            temporary.write_text(f"{tracked.id}\n", encoding="utf-8")
        self._runs[run] = tracked
        return tracked


def _read_id(note: Path) -> str | None:
    """Returns what a tracker called the run before, if that can be such a name."""
    try:
        text = note.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[\w-]{1,64}", text) else None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(".: ")


def numbers_in(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns those values that are finite numbers, without the step's own."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and name != "step"
    }


def result_numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of `result.json` that say how good the samples are, as `metrics/fid`."""
    told = {
        part: values
        for part, values in result.items()
        if part in ("weights", "holdout", "groups") or part.partition("_")[0] == "metrics"
    }
    return numbers_in({key.replace(".", "/", 1): v for key, v in flatten_settings(told).items()})


def verdict_of(report: Report) -> str:
    """Returns what a report found, as plain text: a headline and its sentences, or ""."""
    from gan_registry.report.document import Verdict

    found = [b for section in report.sections for b in section.blocks if isinstance(b, Verdict)]
    return "\n\n".join("\n".join((verdict.headline, *verdict.sentences)) for verdict in found)
