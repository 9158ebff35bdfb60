"""Whether an installed host still has the attributes that an adapter replaces or relies on.

All are looked at before any is replaced: a version whose seams differ is refused by the name of the
seam, and never half-patched. Free of torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from gan_registry.errors import UserError


@dataclass(frozen=True)
class Seam:
    """An attribute of a host, and what an adapter expects of it.

    Attributes:
        name: Dotted path from the host's module or class, e.g. "Trainer.train".
        parameters: Names of parameters that it must take, separated by spaces.
        uses: Names that its code must look up, since only those can be replaced, separated by
            spaces.
    """

    name: str
    parameters: str = ""
    uses: str = ""


def differing(owner: Any, seams: Sequence[Seam]) -> tuple[str, str] | None:
    """Finds the first seam that is not as expected.

    Args:
        owner: Where the dotted paths begin.
        seams: The seams.

    Returns:
        The seam's name and what is wrong, as the end of a sentence; or None.
    """
    for seam in seams:
        found = owner
        for part in seam.name.split("."):
            found = getattr(found, part, None)
            if found is None:
                return seam.name, "it does not exist"
        if seam.parameters:
            try:
                taken = inspect.signature(found).parameters
            except (TypeError, ValueError):
                return seam.name, "it cannot be called"
            absent = [name for name in seam.parameters.split() if name not in taken]
            if absent:
                return seam.name, f"it takes no {', '.join(absent)}"
        if seam.uses:
            used = _names(getattr(inspect.unwrap(found), "__code__", None))
            absent = [name for name in seam.uses.split() if name not in used]
            if absent:
                return seam.name, f"its code does not use {', '.join(absent)}"
    return None


def require(host: str, known: str, owner: Any, seams: Sequence[Seam]) -> None:
    """Refuses a host whose seams differ.

    Args:
        host: The host's name.
        known: A version that is known to work.
        owner: Where the dotted paths begin.
        seams: The seams.

    Raises:
        UserError: Names the first seam that differs.
    """
    wrong = differing(owner, seams)
    if wrong is not None:
        raise UserError(
            f"This {host} differs at the seam {wrong[0]}: {wrong[1]}. Nothing was changed; "
            f"version {known} is known to work."
        )


def _names(code: CodeType | None) -> set[str]:
    """Returns the names that a function's code looks up, nested functions included."""
    if code is None:
        return set()
    nested = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {*code.co_names, *code.co_freevars, *code.co_varnames}.union(*nested)
