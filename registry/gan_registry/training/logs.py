"""What a run tells while it trains: JSON lines, TensorBoard, and the terminal."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any, TextIO

from gan_registry.dispatch_values import diverged
from gan_registry.files import atomic_write, to_plain, unwritable
from gan_registry.formatting import duration, is_number, json_text, printable, printable_lines

METRICS_FILE = "metrics.jsonl"


class JsonLines:
    """Appends one JSON object a log step to `metrics.jsonl`.

    Args:
        folder: The run folder.
        step: Lines of later steps are dropped: a resumed run writes them again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / METRICS_FILE
        kept = [line for line in read_metrics(folder) if line["step"] <= step]
        with atomic_write(self.path) as temporary:
            temporary.write_text("".join(map(_json_line, kept)), encoding="utf-8")

    def write(self, values: dict[str, Any]) -> None:
        """Appends a line; numbers that are not finite become null, as JSON has no NaN."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_json_line(values))
        except OSError as error:
            raise unwritable(self.path, error) from error


def _json_line(values: dict[str, Any]) -> str:
    return json_text(to_plain(values)) + "\n"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Returns the log lines of a run; a last line cut short by a crash is left out."""
    return read_lines(folder / METRICS_FILE)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the log lines of a file, none if it is missing; what is no log line is left out."""
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    # Not splitlines, which ends a line at U+2028 and others too.
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and is_number(line.get("step")):
                lines.append(line)
    return lines


class Terminal:
    """A progress bar on a terminal, plain lines elsewhere, silence on request.

    Args:
        step: The first step.
        total: Steps in all.
        quiet: Print nothing.
        stream: Where to print; standard error by default.
    """

    def __init__(
        self, step: int, total: int, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self._bar: Any = None
        if not quiet and self.stream.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._bar = tqdm(
                total=total, initial=step, unit="step", file=self.stream, dynamic_ncols=True
            )
            # A warning that is logged meanwhile gets a line of its own, above the bar.
            self._redirect = logging_redirect_tqdm()
            self._redirect.__enter__()
        self.total = total
        # About twenty plain lines a run: enough to follow in a log file, not too many to read.
        self._interval = max(total // 20, 1)
        self._next_line = step

    def advance(self, step: int) -> None:
        """Notes that a step is done."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def show(self, step: int, values: dict[str, Any], eta: float) -> None:
        """Shows the latest numbers."""
        losses = {
            name.removeprefix("loss/"): value
            for name, value in values.items()
            if name.startswith("loss/")
        }
        text = ", ".join(f"{printable(name)} {value:.3f}" for name, value in losses.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        elif not self.quiet and (step >= self._next_line or step == self.total):
            self._next_line = step + self._interval
            self.say(f"step {step}/{self.total}  {text}  ({duration(eta)} left)")

    def say(self, message: str) -> None:
        """Prints a line without disturbing the bar."""
        if self.quiet:
            return
        message = printable_lines(message)
        if self._bar is not None:
            self._bar.write(message, file=self.stream)
        else:
            print(message, file=self.stream, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
            self._redirect.__exit__(None, None, None)


def finite_or_fail(values: dict[str, Any], step: int) -> None:
    """Stops a run whose losses are no longer numbers.

    Raises:
        Diverged: A loss is NaN or infinite.
    """
    for name, value in values.items():
        is_loss = name.startswith("loss/") and isinstance(value, (int, float))
        if is_loss and not math.isfinite(value):
            raise diverged(name, value, step)
