"""What a target of the fuzzing is, what must hold of every case, and how cases are run."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from gan_registry.errors import UserError

MOST_LINES = 3
"""Of what a command says on stderr."""

MOST_CHARACTERS = 6_000
"""Of one message; the longest lists all catalog names and a dozen mistakes."""

SECONDS = 300
"""From which on a case counts as one that hangs, where `python -m tests.fuzz` runs it."""


@dataclass(frozen=True)
class Target:
    """Something that is fuzzed.

    Attributes:
        name: What `--only` calls it.
        cases: Draws a case.
        check: Tries it and raises AssertionError where the invariant is broken; returns whether the
            case was accepted, rather than refused.
        examples: How many cases the default suite runs.
        least: The share of them that must be accepted, or else the cases are poor.
        pinned: Cases that failed once.
    """

    name: str
    cases: SearchStrategy[Any]
    check: Callable[[Any], bool]
    examples: int
    least: float = 0.0
    pinned: Sequence[Any] = ()


@dataclass
class Outcome:
    """What came of a target's cases.

    Attributes:
        cases: How many were run.
        accepted: How many of them were accepted.
        failures: What went wrong → how to see it again.
    """

    cases: int = 0
    accepted: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def explore(target: Target, examples: int, number: int | None, outcome: Outcome) -> None:
    """Runs some cases; raises what the first that fails raises, in its smallest form.

    Args:
        target: What is fuzzed.
        examples: How many cases.
        number: The seed; None for the cases of the default suite.
        outcome: Counts them.
    """

    @settings(
        max_examples=examples,
        derandomize=number is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(target.cases)
    def each(case: Any) -> None:
        outcome.cases += 1
        outcome.accepted += target.check(case)

    (each if number is None else seed(number)(each))()


def explore_for(target: Target, seconds: float, first: int, examples: int = 100) -> Outcome:
    """Runs cases of one seed after another until the time is over; goes on after failures."""
    outcome, end, number = Outcome(), time.monotonic() + seconds, first
    while time.monotonic() < end:
        try:
            with _no_hang():
                explore(target, examples, number, outcome)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f"{f.filename}:{f.lineno}" for f in reversed(frames)), "")
            what = f"{type(error).__name__}: {error}"[:1500]
            notes = "\n".join(getattr(error, "__notes__", ()))[:3000]
            again = f"python -m tests.fuzz --only {target.name} --seed {number} --cases {examples}"
            outcome.failures.setdefault(what[:60] + place, f"{what}\n{place}\n{notes}\n{again}")
        number += 1
    return outcome


@contextlib.contextmanager
def _no_hang() -> Iterator[None]:
    """Ends a seed's cases that take longer than any should."""

    def complain(*_: Any) -> None:
        raise AssertionError(f"hangs: no end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, complain)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_refused(call: Callable[[], Any], names: Sequence[str] = ()) -> bool:
    """Calls something; returns whether it was refused as a user's mistake is.

    Args:
        call: What may raise a TypeError, ValueError or UserError, and nothing else.
        names: Words of which the message must hold one; none for any message.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except (TypeError, ValueError, UserError) as error:
        kind, text = type(error).__name__, str(error)
    else:
        return False
    check_message(text)
    named = not names or any(name in text for name in names)
    assert named, f"{kind} names none of {list(names)}: {text}"
    return True


def check_message(text: str) -> None:
    """Asserts that a message is one line for people."""
    assert text.strip(), "says nothing"
    assert "\n" not in text, f"more than a line: {text!r}"
    assert len(text) <= MOST_CHARACTERS, f"{len(text)} characters: {text[:300]}…"


def command(main: Callable[[list[str]], int], arguments: list[str]) -> tuple[int, str]:
    """Runs a command in this process; returns its exit code and what it said on stderr.

    Asserts the invariant: exit code 0 or 2, a few lines of errors, no traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else -1
    said = err.getvalue()
    assert code in (0, 2), f"exit code {code}: {said}"
    assert "Traceback" not in said, said
    lines = said.splitlines()
    assert len(lines) <= MOST_LINES, f"{len(lines)} lines: {said[:2000]}"
    assert all(len(line) <= MOST_CHARACTERS for line in lines), said[:300]
    assert code == 0 or lines or "usage:" in out.getvalue(), "fails without a word"
    return code, said


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """An empty current folder; afterwards nothing half-written may lie in it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        os.chdir(name)
        try:
            yield Path(name)
            left = [path.name for path in Path(name).rglob("*") if is_temporary(path)]
            assert not left, f"left behind: {left}"
        finally:
            os.chdir(before)


def is_temporary(path: Path) -> bool:
    """Whether a file has such a name as files have while they are written."""
    return path.name.startswith(".") and path.name not in (".lock",) and ".tmp" in path.name
