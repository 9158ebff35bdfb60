"""Empty modules in the place of missing ones, while a package is imported that does not need them.

Free of torch.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def standing_in(*names: str) -> Iterator[None]:
    """Lets imports of modules that are not installed succeed, for as long as the block lasts.

    Args:
        *names: Module names; "package.name" gives the stand-in for `package` an attribute `name`.
            Installed ones are left alone.
    """
    added = []
    for name in names:
        top, _, attribute = name.partition(".")
        if top not in sys.modules and importlib.util.find_spec(top) is None:
            sys.modules[top] = ModuleType(top)
            added.append(top)
        if attribute and top in added:
            setattr(sys.modules[top], attribute, ModuleType(name))
    try:
        yield
    finally:
        for top in added:
            del sys.modules[top]
