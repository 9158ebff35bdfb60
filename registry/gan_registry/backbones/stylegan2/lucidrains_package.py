"""Loads the networks of `stylegan2-pytorch` (lucidrains), also where there is no GPU.

The package can't simply be imported: it asserts that there is a CUDA device, and imports `aim`, a
tracker of experiments, for its trainer. Neither concerns its networks. So their one source file is
run as a module of our own, with its assert statements left out, as `python -O` leaves them out,
and with placeholders for what only the trainer uses. Nothing global is touched, neither
`sys.modules` nor torch, so that other threads notice nothing, and a later
`import stylegan2_pytorch` is the package's own.
"""

from __future__ import annotations

import builtins
import importlib.util
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gan_registry.errors import UserError

PACKAGE = "stylegan2_pytorch"
NEEDED = ("StyleVectorizer", "Generator", "Discriminator", "DiscriminatorBlock", "Conv2DMod")
# What the networks built here never call: the trainer's tools, attention, quantisation.
NOT_NEEDED = frozenset({"aim", "einops", "fire", "torchvision", "vector_quantize_pytorch", PACKAGE})
REMEDY = "pip install 'diagan-plugin[stylegan2]'"


@lru_cache(maxsize=1)
def lucidrains_networks() -> ModuleType:
    """Returns a module with the network classes of `stylegan2-pytorch`.

    Raises:
        UserError: The package, or kornia, which its layers use, is missing or unlike what is known.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"MODEL.backbone stylegan2 needs the package stylegan2-pytorch: {REMEDY}.")
    path = Path(spec.submodule_search_locations[0]) / f"{PACKAGE}.py"
    module = ModuleType(f"{PACKAGE}.{PACKAGE}")
    module.__file__ = str(path)
    # An import statement looks for `__import__` in the builtins of the module that it stands in.
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True, optimize=1)
        exec(code, vars(module))
    except (OSError, ImportError) as error:
        raise UserError(
            f"MODEL.backbone stylegan2 can't load stylegan2-pytorch ({error}): {REMEDY}."
        ) from error
    missing = [name for name in NEEDED if not hasattr(module, name)]
    if missing:
        raise UserError(
            f"The installed stylegan2-pytorch has no {', '.join(missing)}; version 1.9.0 is known "
            "to work."
        )
    return module


class _Placeholder(ModuleType):
    """Stands for a module; what is imported from it says, when called, that it isn't there."""

    def __getattr__(self, name: str) -> Any:
        return _Placeholder(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ImportError(
            f"{self.__name__} is not available: only the networks of {PACKAGE} are loaded."
        )


def _import(name: str, *args: Any, **kwargs: Any) -> Any:
    if name.partition(".")[0] in NOT_NEEDED:
        return _Placeholder(name)
    return builtins.__import__(name, *args, **kwargs)
