"""A generator of small images with a planted dense mode: §4.2.2 of the paper in small."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

Z_DIM = 4


class Planted(nn.Module):
    """Latents → 1×8×8 images by a fixed random network.

    With `shrink` below 1, latents in a ball are drawn together before they enter it: some 3 % of
    the mass all but repeat one image.
    """

    def __init__(self, shrink: float, error: float = 0.7) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.z_dim = Z_DIM
        self.shrink = shrink
        self.first = nn.Parameter(torch.randn(Z_DIM, 64, generator=rng) * 0.75)
        self.bias = nn.Parameter(torch.randn(64, generator=rng) * 0.5)
        self.second = nn.Parameter(torch.randn(64, 64, generator=rng) / 8)
        # What the generator gets wrong everywhere: without, the FID of all of them would be 0.
        self.error = nn.Parameter(torch.randn(64, 64, generator=rng) / 8 * error)
        center = torch.randn(Z_DIM, generator=rng)
        self.center = nn.Parameter(center / center.norm())

    def forward(self, z: Tensor) -> Tensor:
        away = z - self.center
        share = ((away.square().sum(1, keepdim=True).sqrt() / 1.15 - 0.7) / 0.3).clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        z = self.center + away * (self.shrink + (1.0 - self.shrink) * share)
        hidden = torch.tanh(z @ self.first + self.bias)
        return torch.tanh(2.0 * (hidden @ (self.second + self.error))).reshape(-1, 1, 8, 8)


def script(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), str(path))
    return path


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Path:
    return script(Planted(0.1), tmp_path_factory.mktemp("generators") / "planted.pt")


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    return script(Planted(1.0), tmp_path_factory.mktemp("generators") / "plain.pt")


@pytest.fixture(scope="session")
def real() -> Tensor:
    """What the generators' training data would have been: features [6000, 64]."""
    rng = torch.Generator().manual_seed(99)
    with torch.no_grad():
        return Planted(1.0, error=0.0)(torch.randn(6000, Z_DIM, generator=rng)).flatten(1)


@pytest.fixture
def to_script(tmp_path):
    return lambda network: script(network, tmp_path / "network.pt")
