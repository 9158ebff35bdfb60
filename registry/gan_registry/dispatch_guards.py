"""Notices what a hook leaves changed: torch's modes, the networks, the samples.

Modes are put back. Anything else ends the run: only plugins that it asked for are watched. A look
costs a few microseconds and never waits for a device: networks are compared by identity, by their
flags, and by the counter that torch keeps of changes of each parameter. (A change through
`parameter.data` is not counted; what comes of it is found in the losses.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from gan_registry.live_run import LiveRun
from gan_registry.records import Fake, Real

IN_UPDATE = frozenset(
    {
        "gan_real_logits", "gan_discriminator_weights", "gan_discriminator_penalty",
        "gan_generator_weights", "gan_generator_penalty",
    }
)  # fmt: skip
"""Hooks between a network's forward and backward pass: nobody may change weights there."""

IN_STEP = IN_UPDATE | {"gan_discriminator_updated", "gan_step_end"}
"""Hooks of a step of the training."""

_AFTER = frozenset({"gan_train_end", "gan_metrics", "gan_result", "gan_report"})
"""Hooks after the training, where the mode of a network is of no consequence any more."""

_FREE = frozenset({"gan_build", "gan_plan", "gan_models_ready", "gan_load_state"})
"""Hooks in which networks do not exist, or are there to be changed."""

_flags = attrgetter("requires_grad")
_version = attrgetter("_version")


class Guard:
    """What a hook must leave as it is, compared after each plugin's call.

    Each attribute of a parameter takes 0.1 µs to read, which adds up. So only plugins that the run
    asked for are watched, as others do nothing; and within an update, where autograd itself notices
    most changes, only the first and the last parameter of a network.

    Args:
        networks: Names of the run's networks that are watched; none where the host makes them anew
            or shows them in a wrapper.
    """

    def __init__(self, networks: Collection[str] = ()) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, tuple[nn.Module, tuple[nn.Parameter, ...]]] = {}

    def look(self, run: LiveRun, hook: str, arguments: Mapping[str, Any]) -> Look | None:
        """Takes in networks and samples before a hook's first call; None if nothing is watched.

        Args:
            run: The run.
            hook: The hook.
            arguments: What its implementations are called with.
        """
        if not self._networks:
            return None
        if hook in _FREE:
            self._known = {}
            return None
        built = [name for name in self._networks if getattr(run, name, None) is not None]
        networks = [_Network(name, *self._parts(run, name), hook) for name in built]
        return Look(run, networks, _tensors(arguments))

    def _parts(self, run: LiveRun, name: str) -> tuple[nn.Module, tuple[nn.Parameter, ...]]:
        network = getattr(run, name)
        known = self._known.get(name)
        if known is None or known[0] is not network:
            known = self._known[name] = network, tuple(network.parameters())
        return known


def modes() -> tuple[bool, torch.dtype]:
    """Returns torch's modes, which no hook may leave changed: gradients, the default dtype."""
    return torch.is_grad_enabled(), torch.get_default_dtype()


def put_back(before: tuple[bool, torch.dtype]) -> str:
    """Puts back torch's modes; returns what had been changed, as the end of a sentence."""
    found = "left gradients switched " + ("off" if before[0] else "on")
    if (dtype := torch.get_default_dtype()) is not before[1]:
        found = f"left torch's default dtype changed to {dtype}"
    torch.set_grad_enabled(before[0])
    torch.set_default_dtype(before[1])
    return found


class Look:
    """Networks and samples before a call.

    Args:
        run: The run.
        networks: The networks that are watched.
        tensors: The samples and logits that the hook receives.
    """

    __slots__ = ("_networks", "_run", "_tensors", "_versions")

    def __init__(self, run: LiveRun, networks: list[_Network], tensors: tuple[Tensor, ...]) -> None:
        self._run, self._networks, self._tensors = run, networks, tensors
        self._versions = list(map(_version, tensors))

    def changed(self) -> str | None:
        """Says what was changed since the last look, as the end of a sentence, or None."""
        found = None
        for network in self._networks:
            found = network.changed_flags(self._run) or network.changed_weights() or found
        if (versions := list(map(_version, self._tensors))) != self._versions:
            self._versions = versions
            found = "changed the samples or logits that it was given, in place"
        return found


class _Network:
    """A network as it was before a call."""

    __slots__ = ("_all", "_flags", "_hook", "_name", "_network", "_seen", "_training", "_versions")

    def __init__(
        self, name: str, network: nn.Module, parameters: tuple[nn.Parameter, ...], hook: str
    ) -> None:
        self._name, self._network, self._all, self._hook = name, network, parameters, hook
        self._seen = parameters if hook in IN_STEP else ()
        if hook in IN_UPDATE:
            self._seen = (*parameters[:1], *parameters[-1:])
        self._training = network.training
        self._flags = list(map(_flags, self._seen))
        self._versions = list(map(_version, self._seen))

    def changed_flags(self, run: LiveRun) -> str | None:
        found = None
        if getattr(run, self._name) is not self._network:
            found = f"replaced the {self._name}; networks can be replaced in gan_models_ready"
        if self._network.training != self._training and self._hook not in _AFTER:
            found = f"left the {self._name} in {'eval' if self._training else 'training'} mode"
        if (flags := list(map(_flags, self._seen))) != self._flags:
            left = "frozen" if sum(flags) < sum(self._flags) else "unfrozen"
            found = f"left parameters of the {self._name} {left}"
        return found

    def changed_weights(self) -> str | None:
        versions = list(map(_version, self._seen))
        if versions == self._versions:
            return None
        self._versions = versions
        if self._hook in IN_UPDATE:
            return (
                f"changed the weights of the {self._name} in the middle of an update; "
                "gan_discriminator_updated and gan_step_end are for that"
            )
        # Rare, so that waiting for the device does not matter.
        if all(bool(torch.isfinite(parameter).all()) for parameter in self._all):
            return None
        return f"wrote NaN or infinite values into the {self._name}"


def _tensors(arguments: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Returns the samples and logits among a hook's arguments."""
    found: list[Any] = []
    for value in arguments.values():
        if isinstance(value, (Real, Fake)):
            found.append(value.x)
        elif isinstance(value, Tensor):
            found.append(value)
        elif type(value) is list:  # the micro-batches of an update
            for batch in value:
                found += (batch.real.x, batch.fake.x)
    return tuple(found)
