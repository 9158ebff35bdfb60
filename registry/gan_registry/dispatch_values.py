"""Looks at numbers on the device without waiting for it: weights, penalties, losses.

On a CPU a number is judged at once. On a GPU reading it would stop the host until the device has
caught up, in each step; so it is copied along with many others, and judged once they have arrived.
What is found is named by the step where it happened.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from gan_registry.arriving import Arriving
from gan_registry.errors import Diverged, PluginError

Judge = Callable[[float], "Exception | None"]
"""Takes a number and returns what is to be raised, or None."""

BATCH = 64
"""Numbers that travel together: a copy costs as much as a kernel, and few are kept alive."""


class DeviceValues:
    """Numbers that are to be judged."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._noted: list[tuple[Tensor, Judge]] = []
        self._travelling: deque[tuple[Arriving, list[Judge]]] = deque()

    def tell(self, text: str) -> None:
        """Warns of something odd, once in a run."""
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, stacklevel=2)

    def check(self, value: Tensor, judge: Judge) -> None:
        """Judges a scalar: now on a CPU, later on any other device.

        Raises:
            Exception: What the judge returned.
        """
        if not must_wait(value):
            error = judge(value.item())
            if error is not None:
                raise error
            return
        self._noted.append((value.detach(), judge))
        if len(self._noted) >= BATCH:
            self._send()

    def poll(self) -> None:
        """Judges what has arrived; never waits."""
        while self._travelling and self._travelling[0][0].has_arrived:
            self._receive()

    def settle(self) -> None:
        """Judges everything; waits for the device."""
        self._send()
        while self._travelling:
            self._receive()

    def _send(self) -> None:
        if not self._noted:
            return
        values = torch.stack([value.float().reshape(()) for value, _ in self._noted])
        self._travelling.append((Arriving(values), [judge for _, judge in self._noted]))
        self._noted = []

    def _receive(self) -> None:
        values, judges = self._travelling.popleft()
        for value, judge in zip(values.read().tolist(), judges, strict=True):
            if error := judge(value):
                raise error


def must_wait(value: Tensor) -> bool:
    """Whether reading a tensor would wait for its device."""
    return value.device.type != "cpu"


def loss_judge(name: str, step: int) -> Judge:
    """Returns a judge of a loss, which must be finite."""

    def judge(value: float) -> Exception | None:
        return None if math.isfinite(value) else diverged(name, value, step)

    return judge


def diverged(name: str, value: float, step: int) -> Diverged:
    """Builds the error for a loss that is no longer a number."""
    return Diverged(
        f"{name} is {value} at step {step}: the training has diverged; lower "
        "OPTIMIZATION.g_lr and d_lr, and start anew in another folder with --out.",
        step,
    )


def check_weights(
    values: DeviceValues, weights: Tensor, logits: Tensor, plugin: str, hook: str, step: int
) -> None:
    """Refuses weights that are NaN or infinite; tells once of odd ones, which some methods mean.

    A published method turns the sign of some terms, and leaves out batches of which D is sure.

    Args:
        values: What the numbers go through.
        weights: Weights [B].
        logits: The logits [B] they were made of: where those are not finite, no plugin is to blame.
        plugin: Who returned them.
        hook: From which hook.
        step: In which step, or 0.

    Raises:
        PluginError: They are; on a GPU it is raised later.
        Diverged: Likewise, where the logits are not finite.
    """
    total = least = math.nan

    def note_logits(value: float) -> None:
        nonlocal total
        total = value

    def note_least(value: float) -> None:
        nonlocal least
        least = value

    def judge(most: float) -> Exception | None:
        if not (math.isfinite(least) and math.isfinite(most)):
            if not math.isfinite(total):
                return diverged("the sum of D's logits", total, step)
            what = "NaN" if math.isnan(least) else "infinite"
            return at_step(PluginError(f"{said(f'are {what}')}{in_step(step)}."), step)
        if least < 0:
            values.tell(said("are negative: terms so weighted enter with the opposite sign."))
        elif most == 0:
            values.tell(said("are all zero: nothing is learnt from such a batch."))
        return None

    def said(what: str) -> str:
        return f"Plugin {plugin!r}: {hook} returned weights that {what}"

    if weights.numel():
        lowest, highest = torch.aminmax(weights.detach())
        values.check(logits.detach().sum(), note_logits)
        values.check(lowest, note_least)
        values.check(highest, judge)


def check_penalty(values: DeviceValues, penalty: Tensor, plugin: str, hook: str, step: int) -> None:
    """Refuses a penalty that is not finite, of a loss that was.

    Raises:
        PluginError: It is; on a GPU it is raised later.
    """

    def judge(value: float) -> Exception | None:
        if math.isfinite(value):
            return None
        text = f"Plugin {plugin!r}: {hook} returned a penalty that is {value}{in_step(step)}."
        return at_step(PluginError(text), step)

    values.check(penalty, judge)


def at_step(error: PluginError, step: int) -> PluginError:
    """Notes at an error in which step it happened, where that is known (0 is not)."""
    error.step = step or None
    return error


def in_step(step: int) -> str:
    """Says in which step something happened, where that is known (0 is not)."""
    return f" in step {step}" if step else ""
