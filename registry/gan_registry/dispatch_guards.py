"""Notices what a hook leaves changed: torch's modes, the networks, the samples.

A look costs a few microseconds and never waits for a device: networks are compared by identity, by
their flags, and by the counter that torch keeps of changes of each parameter. (A change through
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

_FREE = frozenset({"gan_build", "gan_plan", "gan_models_ready", "gan_load_state"})
"""Hooks in which networks do not exist, or are there to be changed."""

_flags = attrgetter("requires_grad")
_version = attrgetter("_version")


class Guard:
    """What a hook must leave as it is, compared after each plugin's call.

    Args:
        networks: Names of the run's networks that are watched; none where the host makes them anew
            or shows them in a wrapper.
    """

    def __init__(self, networks: Collection[str] = ()) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, tuple[nn.Module, tuple[nn.Parameter, ...]]] = {}

    def look(self, run: LiveRun, hook: str, arguments: Mapping[str, Any]) -> Look:
        """Takes in the state before a hook's first call."""
        networks: list[_Network] = []
        if self._networks and hook not in _FREE:
            deep = hook in IN_STEP
            networks = [_Network(name, *self._parts(run, name), deep) for name in self._networks]
        elif self._known:
            self._known = {}
        return Look(run, hook, networks, _tensors(arguments) if networks else ())

    def _parts(self, run: LiveRun, name: str) -> tuple[nn.Module, tuple[nn.Parameter, ...]]:
        network = getattr(run, name)
        known = self._known.get(name)
        if known is None or known[0] is not network:
            known = self._known[name] = network, tuple(network.parameters())
        return known


class Look:
    """The state before a call.

    Args:
        run: The run.
        hook: The hook.
        networks: The networks that are watched.
        tensors: The samples and logits that the hook receives.
    """

    __slots__ = ("_dtype", "_grad", "_hook", "_networks", "_run", "_tensors", "_versions")

    def __init__(
        self, run: LiveRun, hook: str, networks: list[_Network], tensors: tuple[Tensor, ...]
    ) -> None:
        self._run, self._hook, self._networks, self._tensors = run, hook, networks, tensors
        self._grad, self._dtype = torch.is_grad_enabled(), torch.get_default_dtype()
        self._versions = tuple(map(_version, tensors))

    def changed(self) -> tuple[str | None, bool]:
        """Compares with the present state, and puts back what can be put back.

        Returns:
            What was changed, as the end of a sentence, or None; and whether all is as it was.
        """
        found, mended = None, True
        if torch.is_grad_enabled() != self._grad:
            torch.set_grad_enabled(self._grad)
            found = f"left gradients switched {'off' if self._grad else 'on'}"
        if (dtype := torch.get_default_dtype()) != self._dtype:
            torch.set_default_dtype(self._dtype)
            found = f"left torch's default dtype changed to {dtype}"
        for network in self._networks:
            wrong = network.changed_flags(self._run)
            found = wrong or found
            if network.deep:
                wrong = network.changed_weights(self._hook)
                found, mended = wrong or found, mended and wrong is None
        versions = tuple(map(_version, self._tensors))
        if versions != self._versions:
            self._versions = versions
            found, mended = "changed the samples or logits that it was given, in place", False
        return found, mended


class _Network:
    """A network as it was before a call; `deep`: look at each parameter, too."""

    __slots__ = ("_flags", "_name", "_network", "_parameters", "_training", "_versions", "deep")

    def __init__(
        self, name: str, network: nn.Module, parameters: tuple[nn.Parameter, ...], deep: bool
    ) -> None:
        self._name, self._network, self._parameters, self.deep = name, network, parameters, deep
        self._training = network.training
        if deep:
            self._flags = list(map(_flags, parameters))
            self._versions = list(map(_version, parameters))

    def changed_flags(self, run: LiveRun) -> str | None:
        found = None
        if getattr(run, self._name) is not self._network:
            setattr(run, self._name, self._network)
            found = f"replaced the {self._name}; networks can be replaced in gan_models_ready"
        if self._network.training != self._training:
            self._network.train(self._training)
            found = f"left the {self._name} in {'eval' if self._training else 'training'} mode"
        if self.deep and (flags := list(map(_flags, self._parameters))) != self._flags:
            for parameter, flag in zip(self._parameters, self._flags, strict=True):
                parameter.requires_grad_(flag)
            frozen = sum(flags) < sum(self._flags)
            found = f"left parameters of the {self._name} {'frozen' if frozen else 'unfrozen'}"
        return found

    def changed_weights(self, hook: str) -> str | None:
        versions = list(map(_version, self._parameters))
        if versions == self._versions:
            return None
        self._versions = versions
        if hook in IN_UPDATE:
            return (
                f"changed the weights of the {self._name} in the middle of an update; "
                "gan_discriminator_updated and gan_step_end are for that"
            )
        # Rare, so that waiting for the device does not matter.
        if all(bool(torch.isfinite(parameter).all()) for parameter in self._parameters):
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
