"""Reads one logit per sample, high for real, from whatever a user's discriminator returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

LOGIT_KEYS = ("adv_output", "logits", "logit", "validity", "realness", "output", "out", "score")
"""Where a mapping's logits are looked for, in this order."""


class Reading:
    """How a loop's logits are read: which part of D's output, and which end of it means real.

    Args:
        read: `output -> logits [B]`, or with more values per sample, which are averaged; by default
            :func:`find_logits`.
        sign: 1 where D is high on real samples, -1 where it is low.

    Raises:
        ValueError: `sign` is neither.
    """

    def __init__(self, read: Callable[[Any], Tensor] | None = None, sign: int = 1) -> None:
        if sign not in (1, -1):
            raise ValueError(
                "Argument `sign` must be 1 (D is high on real samples) or -1 (D is low on them), "
                f"but got {sign!r}."
            )
        self._read = read or find_logits
        self._sign = sign

    def __call__(self, output: Any) -> Tensor:
        """Returns logits [B], the higher the more real.

        Raises:
            ValueError: There are none in the output, or not one for each sample.
        """
        logits = _mean_per_sample(self._read(output))
        return logits if self._sign == 1 else -logits


def find_logits(output: Any) -> Tensor:
    """Finds a discriminator's realness logits in its output.

    Args:
        output: A tensor whose first dimension is the batch, of which all values of a sample are
            averaged (patches: [B, 1, H, W], [B, P]); a list of scales, which are averaged (of a
            scale that is itself a list, features before logits, the last element counts); a tuple
            that begins with any of these; or a mapping with one of :data:`LOGIT_KEYS`.

    Returns:
        Logits [B].

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(output, Tensor):
        return _mean_per_sample(output)
    if isinstance(output, list) and output:
        scales = [find_logits(s[-1] if isinstance(s, list) and s else s) for s in output]
        total = scales[0]
        for scale in scales[1:]:
            total = total + scale
        return total / len(scales)
    if isinstance(output, tuple) and output:
        return find_logits(output[0])
    got = type(output).__name__
    if isinstance(output, Mapping):
        for key in LOGIT_KEYS:
            if key in output:
                return find_logits(output[key])
        got = f"a mapping with the keys {sorted(map(str, output))}"
    raise ValueError(
        f"D returned {got}, in which no logits are known: say how to read them, "
        "Dia(…, read=lambda output: …), a tensor [B]."
    )


def detached(output: Any) -> Any:
    """Returns an output of the same form without its graph."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        return {key: detached(value) for key, value in output.items()}
    if isinstance(output, (list, tuple)):
        return (
            type(output)(map(detached, output))
            if type(output) in (list, tuple)
            else [*map(detached, output)]
        )
    return output


def _mean_per_sample(values: Any) -> Tensor:
    if not isinstance(values, Tensor) or values.dim() == 0:
        got = type(values).__name__ if not isinstance(values, Tensor) else "a single number"
        raise ValueError(
            f"D's output must hold a logit for each sample, but what was read is {got}; say how "
            "to read it, Dia(…, read=lambda output: …), a tensor [B]."
        )
    return values if values.dim() == 1 else values.flatten(1).mean(1)
