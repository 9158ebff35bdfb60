"""A host's networks behind the calls that plugins make: `G(z, y)`, `D(x, y)`, latents."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gan_registry.backbones.base import realness
from gan_registry.errors import CapabilityError
from gan_registry.records import Fake, Real

Latent = Callable[[int, "torch.Generator | None", "torch.device | str | None"], Tensor]
"""`(n, generator, device) -> latents [n, z_dim]`."""


class NetworkView(nn.Module):
    """A network that is called as `network(input, y)`, whether it takes labels or not.

    Args:
        network: The host's network; this is no copy.
        conditional: Whether it takes labels as a second argument.
        call: `(network, input, y) -> output`, for a network that is called otherwise.
    """

    def __init__(
        self,
        network: nn.Module,
        conditional: bool = False,
        call: Callable[[nn.Module, Tensor, Tensor | None], Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.conditional = conditional
        self._call = call

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Calls the network on inputs [B, ...] and labels [B]."""
        if self._call is not None:
            return self._call(self.network, x, y)
        if not self.conditional:
            return self.network(x)
        return self.network(x, labels_of(x, y))


def labels_of(x: Tensor, y: Tensor | None) -> Tensor:
    """Returns the labels y, int64 [B]; where there are none, class 0 for each of x [B, ...]."""
    return torch.zeros(len(x), dtype=torch.int64, device=x.device) if y is None else y


class LogitView(NetworkView):
    """A discriminator that answers with logits, also where it ends in a sigmoid.

    The logits are what enters the sigmoid, a module or a call: read back from its output they would
    saturate. Which tensor the sigmoid returned is known exactly, so logits that happen to lie
    between 0 and 1 are left alone. Samples get the precision of D's weights: a host makes them, and
    calls D, in autocast; a diagnosis does not.
    """

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns D's output on samples [B, ...], before a sigmoid at its end."""
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), x)
        with SigmoidCalls() as before:
            output = super().forward(x.to(weight.dtype) if x.is_floating_point() else x, y)
        return before(output)


class SigmoidCalls(TorchFunctionMode):
    """Watches all calls of the sigmoid function in a `with` block, those of modules among them.

    Called with a network's output it returns what entered the sigmoid that made it, or the output
    itself where none did. It does not see into a network that was compiled or scripted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls a function of torch's, and notes what entered and left it if it is a sigmoid."""
        kwargs = kwargs or {}
        if func not in _SIGMOIDS:
            return func(*args, **kwargs)
        entered = args[0] if args else kwargs["input"]
        if func in _IN_PLACE:
            entered = entered.clone()
        output = func(*args, **kwargs)
        self._seen.append((entered, output))
        return output

    def __call__(self, output: Any) -> Any:
        """Returns the logits that belong to an output."""
        return _before_sigmoid(output, self._seen)


_IN_PLACE = (Tensor.sigmoid_, torch.sigmoid_)
_SIGMOIDS = (torch.sigmoid, Tensor.sigmoid, torch.special.expit, nn.functional.sigmoid, *_IN_PLACE)


_LAYOUTS = ("View", "UnsafeView", "Squeeze", "Reshape", "Mean", "ToCopy")
"""What may follow the sigmoid at D's end: other shapes, the mean over patches, another dtype."""


def is_probability(logits: Tensor) -> bool:
    """Whether a tensor that still has its graph came out of a sigmoid, perhaps reshaped."""
    node = logits.grad_fn
    while node is not None:
        if node.name().startswith("SigmoidBackward"):
            return True
        if not node.name().startswith(_LAYOUTS):
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


class SigmoidInputs:
    """Watches the sigmoid modules of a network during one call.

    Called with the network's output it returns what entered the sigmoid that made it, or the
    output itself where none did.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        self._modules = [m for m in network.modules() if isinstance(m, nn.Sigmoid)]
        self._handles: list[Any] = []
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> SigmoidInputs:
        seen = self._seen

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((inputs[0], output))

        self._handles = [module.register_forward_hook(note) for module in self._modules]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def __call__(self, output: Any) -> Any:
        """Returns the logits that belong to an output."""
        return _before_sigmoid(output, self._seen)


def _before_sigmoid(output: Any, seen: Sequence[tuple[Tensor, Tensor]]) -> Any:
    """Puts in the place of each sigmoid's result what entered it, also in tuples and mappings."""
    if isinstance(output, Tensor):
        for entered, left in seen:
            # The same memory, perhaps of another shape: `sigmoid(x).view(-1)`.
            if left.data_ptr() == output.data_ptr() and left.numel() == output.numel():
                return entered.reshape(output.shape)
    elif seen and type(output) in (tuple, list):
        return type(output)(_before_sigmoid(part, seen) for part in output)
    elif seen and type(output) is dict:
        return {key: _before_sigmoid(part, seen) for key, part in output.items()}
    return output


class HostNetworks:
    """What plugins ask of a backbone, answered with a host's networks.

    Args:
        generator: G as `G(z, y)`.
        discriminator: D as `D(x, y)`.
        latent: Draws latents.
        read: Reads one logit per sample, [B], from D's output; higher for more real.
        average: The moving average of G as `G(z, y)`, or None.
        conditional: Whether the networks take labels.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: Latent,
        *,
        read: Callable[[Any], Tensor] = realness,
        average: nn.Module | None = None,
        conditional: bool = False,
        num_classes: int = 1,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.average = average
        self.conditional = conditional
        self.num_classes = num_classes
        self._latent = latent
        self._read = read

    def latent(
        self,
        n: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draws n latents [n, z_dim]."""
        return self._latent(n, generator, device)

    def realness(self, output: Any) -> Tensor:
        """Returns one logit per sample, [B], of D's output; higher for more real."""
        return self._read(output)

    def discriminate(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        """Passes samples [B, ...] through a discriminator, D or one like it."""
        return network(x, y)

    def features(self, x: Tensor) -> Tensor:
        """Returns D's penultimate activations, [B, F].

        Raises:
            NotImplementedError: The host's discriminator has no method `features`.
        """
        network = getattr(self.discriminator, "network", self.discriminator)
        method = getattr(network, "features", None)
        if not callable(method):
            raise NotImplementedError(f"{type(network).__name__} has no method `features(x)`.")
        features: Tensor = method(x)
        return features

    def build(self, kind: str, *, seed: int | None = None, **overrides: Any) -> nn.Module:
        """Refuses: how a host makes its networks is not known here.

        Raises:
            CapabilityError: Always.
        """
        raise CapabilityError(f"A fresh {kind} of this host's cannot be built.")

    def discriminator_terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Returns None: what a host adds to D's loss is not known here."""
        return None


def gaussian(z_dim: int) -> Latent:
    """Returns the sampler of a standard Gaussian latent of `z_dim` dimensions."""

    def latent(
        n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        return torch.empty(n, z_dim, device=device).normal_(generator=generator)

    return latent


class Spy:
    """Calls back after each call of a module, and leaves copies of the module alone.

    The hook on the module is a plain function: copied along with the module, it then knows that
    the copy is another one.

    Args:
        module: The module.
        after: Called with the positional arguments and the output; what it returns, if not None,
            takes the output's place.
        before: Called before the module, if given.
    """

    def __init__(
        self,
        module: nn.Module,
        after: Callable[[tuple[Any, ...], Any], Any],
        before: Callable[[], None] | None = None,
    ) -> None:
        own = weakref.ref(module)

        def post(called: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return after(args, output) if called is own() else None

        def pre(called: nn.Module, args: tuple[Any, ...]) -> None:
            if before is not None and called is own():
                before()

        self._handles = [
            module.register_forward_pre_hook(pre), module.register_forward_hook(post)
        ]  # fmt: skip

    def remove(self) -> None:
        """Stops calling back."""
        for handle in self._handles:
            handle.remove()
