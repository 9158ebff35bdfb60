"""The plugins' part of a checkpoint, whatever the host keeps beside it: tensors, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.errors import UserError

FORMAT = 1


def collect_state(run: HostRun) -> dict[str, Any]:
    """Returns what plugins continue from; they may communicate, hence on every rank.

    Raises:
        PluginError: A plugin's state is not made of tensors and plain values.
    """
    plugins = run.hooks.state(run)
    return {
        "format": FORMAT,
        "step": run.step,
        "seed": run.seed,
        "sampler_name": run.config.RUN.sampler,
        "fingerprint": run.fingerprint,
        "position": run.position,
        "sampler": run.sampler.state_dict(),
        "additions": {name: addition.state_dict() for name, addition in run.additions.items()},
        "plugins": plugins,
    }


def restore_parts(run: HostRun, state: Mapping[str, Any]) -> None:
    """Restores plugins, what they added, and the sampler.

    Plugins come first: one that had added networks adds them again, to be filled afterwards.

    Raises:
        UserError: Plugins have added other networks or optimisers, or a part is of another shape.
    """
    run.hooks.load_state(run, state["plugins"])
    saved = state["additions"]
    for name in sorted(set(saved) ^ set(run.additions)):
        side = "holds" if name in saved else "lacks"
        raise UserError(f"The checkpoint {side} {name!r}; use the options that it was made with.")
    for name, addition in run.additions.items():
        _load(addition, saved[name], repr(name))
    _load(run.sampler, state["sampler"], f"sampler {run.config.RUN.sampler!r}")


def _load(part: Any, state: Any, name: str) -> None:
    try:
        part.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The checkpoint's {name} does not fit: {reason}") from error
