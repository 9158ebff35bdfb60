"""What the rest of the framework asks of a backbone, and the parts that backbones share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_registry.backbones.dropout import Dropout
from gan_registry.backbones.init import Initialiser, initialise, normalise_spectrally
from gan_registry.records import Fake, Real

KINDS = ("generator", "discriminator")
Z_PRIORS = ("gaussian", "uniform")


class Backbone:
    """A generator, a discriminator, and how to talk to them.

    Both networks are given as `functools.partial` of their class (or of any function that returns
    a module), because a run can ask for more of them: `build` calls the same partial again,
    with some of its keyword arguments replaced.

    Args:
        generator: Makes G, a module `(z [B, z_dim], y=None) -> x [B, *sample_shape]`.
        discriminator: Makes D, a module `(x [B, *sample_shape], y=None) -> output`; what D
            returns is free, as long as `realness` reads one logit per sample from it.
        z_dim: Dimension of the latent.
        z_prior: "gaussian", N(0, 1), or "uniform", U(-1, 1).
        seed: Seed of the initial weights.
        num_classes: Number of classes of the labels; 0 where there are none.
        conditional: Whether the networks take labels `y` (int64 [B]). If not, y is None.

    Attributes:
        generator: G. The host or a plugin may replace it by another module.
        discriminator: D, likewise.
        z_dim: Dimension of the latent.
        num_classes: Number of classes of the labels.
        conditional: Whether G takes labels.

    Example:
        >>> backbone = Backbone(
        ...     partial(nn.Linear, in_features=4, out_features=2),
        ...     partial(nn.Linear, in_features=2, out_features=1),
        ...     z_dim=4, seed=0,
        ... )
        >>> z = backbone.latent(3, torch.Generator().manual_seed(0))
        >>> backbone.realness(backbone.discriminator(backbone.generator(z))).shape
        torch.Size([3])
    """

    def __init__(
        self,
        generator: partial[Any],
        discriminator: partial[Any],
        *,
        z_dim: int,
        z_prior: str = "gaussian",
        seed: int,
        num_classes: int = 0,
        conditional: bool = False,
    ) -> None:
        if z_prior not in Z_PRIORS:
            raise ValueError(f"Argument `z_prior` must be one of {Z_PRIORS}, but got {z_prior!r}.")
        if conditional and num_classes < 1:
            raise ValueError(
                "Argument `num_classes` must be at least 1 for conditional networks, but got "
                f"{num_classes}."
            )
        self.z_dim = z_dim
        self.num_classes = num_classes
        self.conditional = conditional
        self._z_prior = z_prior
        self._seed = seed
        self._networks: Mapping[str, partial[Any]] = {
            "generator": generator,
            "discriminator": discriminator,
        }
        self.generator = self.build("generator")
        self.discriminator = self.build("discriminator")

    def build(self, kind: str, *, seed: int | None = None, **overrides: Any) -> nn.Module:
        """Makes a fresh network in training mode on the CPU; `self` is unchanged.

        The global random state is neither read nor changed.

        Args:
            kind: "generator" or "discriminator".
            seed: Seed of the weights. None takes the backbone's own, which gives the very weights
                that its network started from: a network that must *differ* needs a seed.
            **overrides: Arguments of the network to replace, e.g. `in_channels=6` for a
                discriminator that sees two images at a time.

        Raises:
            ValueError: `kind` or the name of an override is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"Argument `kind` must be one of {KINDS}, but got {kind!r}.")
        network = self._networks[kind]
        unknown = overrides.keys() - network.keywords.keys()
        if unknown:
            raise ValueError(
                f"Argument `overrides` must be among {sorted(network.keywords)} for the "
                f"{kind}, but got {sorted(unknown)}."
            )
        with seeded_weights(self._seed if seed is None else seed, KINDS.index(kind)):
            module: nn.Module = network(**overrides)
        return module

    def latent(
        self,
        n: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draws latents.

        Args:
            n: How many.
            generator: Where the randomness comes from. The draw is made on its device, so that a
                CPU generator gives the same latents on every machine. None falls back to torch's
                global generator, which a run never does.
            device: Where the result goes; None leaves it where it was drawn.

        Returns:
            Float32 [n, z_dim].
        """
        source = torch.device("cpu") if generator is None else generator.device
        if self._z_prior == "gaussian":
            z = torch.randn(n, self.z_dim, generator=generator, device=source)
        else:
            z = torch.rand(n, self.z_dim, generator=generator, device=source) * 2.0 - 1.0
        return z if device is None else z.to(device)

    def realness(self, output: Any) -> Tensor:
        """Returns one realness logit per sample, [B], from whatever D returned.

        Raises:
            ValueError: There is no such reading of `output`; a backbone whose D returns something
                else overrides this method.
        """
        return realness(output)

    def features(self, x: Tensor) -> Tensor:
        """Returns D's penultimate activations, [B, F], in D's current mode (train or eval).

        Raises:
            NotImplementedError: The current discriminator has no method `features`.
        """
        method = getattr(self.discriminator, "features", None)
        if not callable(method):
            name = type(self.discriminator).__name__
            raise NotImplementedError(f"The discriminator {name} has no method `features(x)`.")
        result: Tensor = method(x)
        return result

    def lazy_intervals(self) -> Mapping[str, int]:
        """Returns the networks with lazy terms, and how many updates those are apart.

        The host scales Adam's settings accordingly (Karras et al., 2020, appendix B).
        """
        return {}

    def lazy_generator_terms(self, z: Tensor, y: Tensor | None = None) -> Tensor | None:
        """Returns what the lazy step of G minimises, already times the interval, or None.

        Latents [B, z_dim] and labels [B] or None are those of the update before it.
        """
        return None

    def discriminator_terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Returns a scalar that the backbone itself adds to D's loss, or None."""
        return None

    def generator_terms(self, fake: Fake, fake_out: Any) -> Tensor | None:
        """Returns a scalar that the backbone itself adds to G's loss, or None."""
        return None


class LinearHead(nn.Module):
    """An unconditional discriminator: features from its `body`, logits from a linear `head`.

    Its classes take `in_channels`, the channels of an image or the dimension of a point (for a D
    that packs m samples, of m of them together); `spectral`, spectral norm on each layer;
    `dropout`, the probability of dropping a unit of a hidden layer; `init`, see `finish`; and
    `out_features`, the number of outputs.
    """

    body: nn.Module
    head: nn.Module

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations, [B, F]."""
        activations: Tensor = self.body(x)
        return activations

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns logits [B, out_features]; `y` is not used."""
        logits: Tensor = self.head(self.features(x))
        return logits


def realness(output: Any) -> Tensor:
    """Reads one realness logit per sample from a discriminator's output.

    Args:
        output: A tensor [B] or [B, 1] (trailing dimensions of size 1 are dropped); or a non-empty
            tuple or list, of which the first element is read; or a mapping with "adv_output", as
            StudioGAN's discriminators return.

    Returns:
        Logits [B], in the dtype they came in.

    Raises:
        ValueError: `output` is none of these, e.g. [B, C].
    """
    if isinstance(output, Mapping) and "adv_output" in output:
        return realness(output["adv_output"])
    if isinstance(output, (tuple, list)) and output:
        return realness(output[0])
    if isinstance(output, Tensor) and output.dim() >= 1 and all(n == 1 for n in output.shape[1:]):
        return output.reshape(output.shape[0])
    if isinstance(output, Tensor):
        got = f"a tensor of shape {tuple(output.shape)}"
    elif isinstance(output, Mapping):
        got = f"a mapping with the keys {sorted(map(str, output))}"
    else:
        got = f"{type(output).__name__}"
    raise ValueError(
        "Argument `output` must be a tensor [B] or [B, 1], a tuple or list that starts with one, "
        f"or a mapping with 'adv_output', but got {got}."
    )


@contextmanager
def seeded_weights(seed: int, stream: int = 0) -> Iterator[None]:
    """Makes modules built inside draw their weights from a seed, and restores the random state.

    Modules are built on the CPU, so only the CPU's generator is seeded: `torch.manual_seed` would
    also reseed the generators of CUDA and MPS, which nothing here restores.

    Args:
        seed: A non-negative seed.
        stream: Separates networks that share a seed.
    """
    words = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(words[0]))
        yield


def finish(
    network: nn.Module,
    init: str | Initialiser,
    spectral: bool,
    eps: float = 1e-12,
    exclude: Iterable[nn.Module] = (),
) -> None:
    """Initialises a network in place, then puts spectral norm on its layers if asked to.

    In this order, because spectral norm measures the weights when it is attached. See
    `gan_registry.backbones.init`: `initialise` and, for `eps` and `exclude`,
    `normalise_spectrally`.

    Raises:
        ValueError: `init` is unknown.
    """
    initialise(network, init)
    if spectral:
        normalise_spectrally(network, eps, exclude)


def hidden_layer(
    layer: nn.Module, norm: nn.Module | None, activation: Callable[[], nn.Module], dropout: float
) -> Sequence[nn.Module]:
    """Returns the modules of one hidden layer in order: layer, norm, activation, dropout."""
    modules = [layer] if norm is None else [layer, norm]
    modules.append(activation())
    if dropout > 0.0:
        modules.append(Dropout(dropout))
    return modules
