"""StudioGAN's networks behind the calls that plugins make: `G(z, y)`, `D(x, y)`, latents."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.networks import HostNetworks, Latent, gaussian, labels_of
from gan_registry.backbones.base import realness
from gan_registry.errors import UserError
from gan_registry.seeding import kept_random_state, seed_global_generators

STYLE_BACKBONES = ("stylegan2", "stylegan3")


class GeneratorView(nn.Module):
    """A generator of StudioGAN's as `G(z, y) -> x`.

    Args:
        network: The generator, not wrapped for several devices.
        num_classes: Number of classes; StyleGAN's labels are one-hot.
        stylegan: `utils.sample.stylegan_generate_images` for a StyleGAN, else None.
        parts: StyleGAN's mapping and synthesis networks; the generator's own by default.
        truncation: StyleGAN's ψ and cut-off; −1 for none.
        own_mode: Whether `train()` and `eval()` reach the network. If not, it stays in the mode in
            which StudioGAN prepared it.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        stylegan: Callable[..., Any] | None = None,
        *,
        parts: tuple[Any, Any] | None = None,
        truncation: tuple[float, Any] = (-1, None),
        own_mode: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self._num_classes = num_classes
        self._stylegan = stylegan
        # In a list, so that they are no submodules a second time.
        self._parts = [parts] if parts is not None else []
        self._truncation = truncation
        self._own_mode = own_mode

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generates x [B, C, H, W] from latents z [B, z_dim] and labels y, int64 [B]."""
        y = labels_of(z, y)
        if self._stylegan is None:
            generated: Tensor = self.network(z, y, eval=not self.network.training)
            return generated
        mapping, synthesis = (
            self._parts[0] if self._parts else (self.network.mapping, self.network.synthesis)
        )
        psi, cutoff = self._truncation
        _, generated = self._stylegan(
            zs=z, fake_labels=y, num_classes=self._num_classes, style_mixing_p=0.0,
            update_emas=False, generator_mapping=mapping, generator_synthesis=synthesis,
            truncation_psi=psi, truncation_cutoff=cutoff,
        )  # fmt: skip
        return generated

    def train(self, mode: bool = True) -> GeneratorView:
        """Sets the mode, where that is this object's business."""
        if self._own_mode:
            super().train(mode)
        return self


class HostBackbone(HostNetworks):
    """What plugins ask of a backbone, answered with StudioGAN's networks.

    Attributes:
        generator: G as `G(z, y)`.
        discriminator: StudioGAN's own D, not wrapped for several devices.
        average: The moving average of G as `G(z, y)`, or None.
        z_dim: Dimension of the latent.
        num_classes: Number of classes.
        conditional: True: StudioGAN gives labels to every network.
    """

    def __init__(
        self,
        cfgs: Any,
        generator: nn.Module,
        discriminator: nn.Module,
        average: nn.Module | None,
        stylegan_generate: Callable[..., Any],
        build: Callable[[str], nn.Module],
    ) -> None:
        self.is_stylegan = cfgs.MODEL.backbone in STYLE_BACKBONES
        self.stylegan_generate = stylegan_generate if self.is_stylegan else None
        self.z_dim = int(cfgs.MODEL.z_dim)
        self.z_prior = cfgs.MODEL.z_prior
        self.num_classes = int(cfgs.DATA.num_classes)
        super().__init__(
            self.view(generator), discriminator, prior(self.z_prior, self.z_dim),
            read=host_realness, average=None if average is None else self.view(average),
            conditional=True, num_classes=self.num_classes,
        )  # fmt: skip
        # StyleGAN's layer of minibatch deviations takes groups of this many, or a smaller batch.
        group = cfgs.STYLEGAN.d_epilogue_mbstd_group_size if self.is_stylegan else 1
        self.group_size = group if isinstance(group, int) else 1
        if self.group_size > 1:
            # Its logits depend on the batch in every mode; see `logit_modes.depends_on_batch`.
            discriminator.depends_on_batch = True  # type: ignore[assignment]
        self._build = build

    def view(self, network: nn.Module) -> GeneratorView:
        """Returns a generator as `G(z, y)`."""
        return GeneratorView(network, self.num_classes, self.stylegan_generate)

    def truncated(self, bound: float) -> HostBackbone:
        """Returns these networks with Gaussian latents cut off at ±`bound`; not for bound ≤ 0."""
        view = copy.copy(self)
        view._latent = prior(self.z_prior, self.z_dim, bound)
        return view

    def discriminate(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        """Passes samples through a discriminator, in a batch that StudioGAN's networks can take.

        They refuse, or squeeze, a batch of one, and StyleGAN's one that its groups do not divide:
        such a batch is filled up with its own samples. Their outputs are cut off again.

        Returns:
            The output on x alone, as :meth:`realness` takes it.
        """
        n = len(x)
        y = labels_of(x, y)
        size = max(n, 2)
        if size > self.group_size:
            size = -(-size // self.group_size) * self.group_size
        if size == n:
            return network(x, y)
        rows = torch.arange(size, device=x.device) % n
        output = network(x[rows], y[rows])["adv_output"]
        return {"adv_output": output[:n]}

    def features(self, x: Tensor) -> Tensor:
        """Returns D's penultimate activations `h`, [B, F], for labels of class 0.

        Raises:
            NotImplementedError: This discriminator returns none.
        """
        output = self.discriminator(x, labels_of(x, None))
        if output.get("h") is None:
            name = type(self.discriminator).__name__
            raise NotImplementedError(f"StudioGAN's {name} returns no features `h`.")
        features: Tensor = output["h"]
        return features.flatten(1)

    def build(self, kind: str, *, seed: int | None = None, **overrides: Any) -> nn.Module:
        """Makes a fresh network of StudioGAN's.

        Raises:
            UserError: An override is asked for: StudioGAN's networks take none.
        """
        if overrides:
            raise UserError(
                f"StudioGAN's networks cannot be built with other {', '.join(sorted(overrides))}."
            )
        # StudioGAN draws initial weights from torch's global generators, which are put back.
        device = next(self.discriminator.parameters()).device
        with kept_random_state(device):
            if seed is not None:
                seed_global_generators(seed, device)
            return self._build(kind)


def prior(name: str, z_dim: int, bound: float = -1.0) -> Latent:
    """Returns the sampler of a `z_prior` of StudioGAN's.

    Args:
        name: "uniform", or else a standard Gaussian.
        z_dim: Dimension of the latent.
        bound: Where the Gaussian is cut off on both sides; −1 for nowhere.
    """
    if name != "uniform" and bound <= 0:
        return gaussian(z_dim)

    def latent(
        n: int, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        z = torch.empty(n, z_dim, device=device)
        if name == "uniform":
            return z.uniform_(-1.0, 1.0, generator=generator)
        return nn.init.trunc_normal_(z, a=-bound, b=bound, generator=generator)

    return latent


def host_realness(output: Any) -> Tensor:
    """Reads one logit per sample, [B], from the output of any of StudioGAN's discriminators.

    Those without a projection squeeze the logit of a batch of one to a scalar.
    """
    if isinstance(output, dict):
        output = output["adv_output"]
    if isinstance(output, Tensor) and output.dim() == 0:
        output = output.reshape(1)
    return realness(output)
