"""How the weights of a network start, and spectral norm on its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

INITIALISATIONS = ("default", "N(0.02)", "N02", "ortho", "glorot", "xavier")
WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

Initialiser = Callable[[nn.Module], None]


def initialise(network: nn.Module, init: str | Initialiser) -> None:
    """Draws a network's weights anew, in place.

    Args:
        network: Its linear, convolutional, embedding and batch-norm layers are treated.
        init: One of these, or a function of one's own that takes the network.

            - "default": the weights stay as they are.
            - "N(0.02)": weights from N(0, 0.02), batch-norm scales from N(1, 0.02), biases 0
              (Radford et al., 2016).
            - "N02", "ortho", "glorot" (or "xavier"), as in StudioGAN: weights from N(0, 0.02),
              orthogonal (Saxe et al., 2014) or Glorot-uniform (Glorot and Bengio, 2010), biases
              0, batch norm as it is.

    Raises:
        ValueError: `init` is unknown.
    """
    if not isinstance(init, str):
        init(network)
        return
    if init not in INITIALISATIONS:
        raise ValueError(f"Argument `init` must be one of {INITIALISATIONS}, but got {init!r}.")
    if init == "default":
        return
    for module in network.modules():
        if isinstance(module, (*WEIGHTED, nn.Embedding)):
            if init == "ortho":
                nn.init.orthogonal_(module.weight)
            elif init in ("glorot", "xavier"):
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, 0.02)
        if isinstance(module, WEIGHTED) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if init == "N(0.02)" and isinstance(module, BATCH_NORMS) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def normalise_spectrally(
    network: nn.Module, eps: float = 1e-12, exclude: Iterable[nn.Module] = ()
) -> None:
    """Normalises the largest singular value of each layer's weight to 1 (Miyato et al., 2018).

    In place; the layers are linear, convolutional and embedding ones, but for those to `exclude`.
    `eps` keeps the power iteration's vectors from being divided by zero; 1e-6 in BigGAN.
    """
    left_alone = set(exclude)
    layers = [m for m in network.modules() if isinstance(m, (*WEIGHTED, nn.Embedding))]
    for layer in layers:
        if layer not in left_alone:
            spectral_norm(layer, eps=eps)
