"""torch-mimicry (kwotsin/mimicry), which the published code is built on, as a peer.

Its release imports tensorflow and `torch._six`, which its networks and training steps do not need.
Empty packages stand in for the two whose `__init__` does so; the modules used are its own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.speed.harness import Skipped

_SHELLS = ("", ".training")


def load(module: str) -> Any:
    """Imports a module of torch_mimicry.

    Raises:
        Skipped: It is not installed.
    """
    if "torch_mimicry" not in sys.modules:
        spec = importlib.util.find_spec("torch_mimicry")
        if spec is None or spec.submodule_search_locations is None:
            raise Skipped("torch-mimicry is missing: pip install --no-deps torch-mimicry")
        for name in _SHELLS:
            shell = types.ModuleType(f"torch_mimicry{name}")
            shell.__path__ = [
                path + name.replace(".", "/") for path in spec.submodule_search_locations
            ]
            sys.modules[shell.__name__] = shell
    return importlib.import_module(f"torch_mimicry.{module}")


class Networks(NamedTuple):
    """Mimicry's view of a pair of networks."""

    generator: Any
    discriminator: Any


def wrapped(generator: nn.Module, discriminator: nn.Module, z_dim: int, loss: str) -> Networks:
    """Gives any two networks mimicry's `train_step`."""
    gan = load("nets.gan.gan")

    def forward(self: Any, x: Tensor) -> Tensor:
        output: Tensor = self.network(x)
        return output

    g = type("Generator", (gan.BaseGenerator,), {"forward": forward})(z_dim, 0, 0, loss)
    d = type("Discriminator", (gan.BaseDiscriminator,), {"forward": forward})(0, loss)
    g.network, d.network = generator, discriminator
    return Networks(g, d)


def colored_mnist(checkout: str) -> Networks:
    """Builds the paper's networks for Colored MNIST from a checkout of its code."""
    package = str(Path(checkout).resolve() / "diagan-pkg")
    if package not in sys.path:
        sys.path.append(package)
    module = importlib.import_module("diagan.models.mnist")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of each network
        return Networks(
            module.MNIST_DCGAN_Generator(loss_type="ns", topk=False),
            module.MNIST_DCGAN_Discriminator(loss_type="ns"),
        )


class Adapter(nn.Module):
    """A network of mimicry's, called as ours are: with labels, which it does not use."""

    def __init__(self, build: Callable[..., nn.Module], **arguments: Any) -> None:
        super().__init__()
        self.network = build(**arguments)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Calls the network."""
        output: Tensor = self.network(x)
        return output


def published_step(
    networks: Networks, second: Any, adam: Callable[[Any], torch.optim.Optimizer]
) -> Callable[[Tensor, Tensor], None]:
    """Returns a step of the published phase 2: `train_step` of D, of a second D, and of G.

    Args:
        networks: Mimicry's D and G.
        second: Mimicry's second D, for DRS.
        adam: Makes an optimiser of parameters.

    Returns:
        A function of two batches of real samples, drawn by score and uniformly.
    """
    log = load("training.metric_log").MetricLog()
    g, d = networks
    opt_g, opt_d, opt_second = (adam(net.parameters()) for net in (g, d, second))

    def step(weighted: Tensor, uniform: Tensor) -> None:
        d.train_step((weighted, None), netG=g, optD=opt_d, log_data=log)
        second.train_step((uniform, None), netG=g, optD=opt_second, log_data=log)
        g.train_step((weighted, None), netD=d, optG=opt_g, log_data=log)

    return step
