"""The memory layout in which convolutions run, settled by trying (`RUN.channels_last`).

Channels-last makes a phase of training of a 32-px network 1.1 to 1.7 times as fast on a CPU, and is
what a GPU's tensor cores ask for. But a network that flattens by `.view` fails in it, as then may
one of torch's own layout that is given channels-last samples. So one pass of a few samples is made
with copies, of which nothing is left.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_registry.catalogs import HOST
from gan_registry.errors import PluginError, UserError
from gan_registry.formatting import one_line
from gan_registry.seeding import seeded_rng
from gan_registry.training.run import Run

_LOG = logging.getLogger(__name__)

_FEW = 2  # samples of a pass; batch norm needs two

_TRAINING = "training"
"""The pass without which there is no training; others are asked for by some runs only."""

Layouts = tuple[bool, bool]
"""Whether G and whether D run channels-last."""


def lay_out(run: Run, replaced: bool = False) -> None:
    """Puts both networks into the memory layout that `RUN.channels_last` asks for.

    With `auto` those with convolutions run channels-last on a CPU and on CUDA. If they fail in it
    and not in torch's own layout, G alone or both take that one, with a line in the log. If D does
    not take channels-last samples, G must not make them: that is why there is no fast G beside it.

    Args:
        run: The run; its networks are on its device.
        replaced: Whether a plugin has replaced a network. It may then be incomplete until the
            training starts, and failing is not yet held against it.

    Raises:
        PluginError: A backbone of a plugin fails whatever the layout.
        UserError: `RUN.channels_last` is true, and the networks fail in that layout.
    """
    setting, networks = run.config.RUN.channels_last, (run.generator, run.discriminator)
    if setting == "false" or (setting == "auto" and run.device.type not in ("cpu", "cuda")):
        return
    wanted = _has_convolutions(networks[0]), _has_convolutions(networks[1])
    if any(wanted):
        _apply(networks, _settled(run, wanted, replaced))


def _settled(run: Run, wanted: Layouts, replaced: bool) -> Layouts:
    """Returns the layouts of G and D that work, the fastest first."""
    forced, contiguous = run.config.RUN.channels_last == "true", (False, False)
    share = run.batch_size // run.world_size
    for samples in sorted({min(_FEW, share), share}):  # mixtures and packs ask for more than a few
        failures = _failures(run, wanted, samples)
        if not failures:
            return wanted
        others = _failures(run, contiguous, samples)
        if _TRAINING not in others:
            break
    else:
        if not replaced:
            _raise_own(run, others[_TRAINING], samples)
        return wanted if forced else contiguous
    first = next((error for name, error in failures.items() if name not in others), None)
    if first is None:
        return wanted
    reason = one_line(f"{type(first).__name__}: {first}")
    if forced:
        raise UserError(
            f"RUN.channels_last is true, but {_backbone(run)} fails in that memory layout: "
            f"{reason} Leave the key out, or set it to false."
        ) from first
    only_d = (False, wanted[1])
    alone = wanted == (True, True) and not _failures(run, only_d, samples).keys() - others.keys()
    if run.rank == 0:
        who = "G of " if alone else ""
        _LOG.warning(
            "RUN.channels_last: %s%s keeps torch's own memory layout, as it fails in "
            "channels-last, which is faster: %s", who, _backbone(run), reason,
        )  # fmt: skip
    return only_d if alone else contiguous


def _raise_own(run: Run, error: Exception, samples: int) -> None:
    """Raises the error that a backbone has in any layout, by the name of its plugin."""
    if isinstance(error, UserError) or run.plugins.catalogs.backbones.owner(_name(run)) == HOST:
        raise error
    reason = f"fails with {samples} samples: {type(error).__name__}: {error}"
    raise PluginError(one_line(f"T{_backbone(run)[1:]} {reason}")) from error


def _name(run: Run) -> str:
    return run.config.MODEL.backbone


def _backbone(run: Run) -> str:
    name = _name(run)
    return f"the backbone {name!r} of {run.plugins.catalogs.backbones.owner(name)!r}"


def _has_convolutions(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in network.modules())


def _apply(networks: Sequence[nn.Module], layouts: Layouts) -> None:
    for network, channels_last in zip(networks, layouts, strict=True):
        if channels_last:
            network.to(memory_format=torch.channels_last)


def _failures(run: Run, layouts: Layouts, samples: int) -> Mapping[str, Exception]:
    """Passes a few samples through copies of the networks; returns what failed, by the pass.

    The networks themselves are never called, so their state, whatever it is, stays as it was, and
    so do all random states.
    """
    failures: dict[str, Exception] = {}
    with seeded_rng(run.device, run.seed, "layout"), torch.enable_grad():
        try:
            # Together, as they may share modules.
            generator, discriminator = copy.deepcopy((run.generator, run.discriminator))
        except Exception as error:  # then nobody can tell, and torch's own layout works for all
            return {"copying": error} if any(layouts) else {}
        _apply((generator, discriminator), layouts)
        for name, run_pass in _PASSES.items():
            generator.train(name != "evaluation")
            discriminator.train(name != "evaluation")
            try:
                with run.precision.autocast():
                    run_pass(run, generator, discriminator, samples)
            except Exception as error:
                failures[name] = error
    return failures


def _train(run: Run, generator: nn.Module, discriminator: nn.Module, n: int) -> None:
    """As an update: generated and real samples through D, and back."""
    fake, y = _made(run, generator, n)
    real = torch.randn(n, *run.dataset.sample_shape, device=run.device)
    total = _total([discriminator(real, y), discriminator(fake, y)])
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]


def _penalise(run: Run, generator: nn.Module, discriminator: nn.Module, n: int) -> None:
    """As a gradient penalty: through D, and twice back."""
    fake, y = _made(run, generator, n)
    x = fake.detach().requires_grad_()
    (slope,) = torch.autograd.grad(_total(discriminator(x, y)), x, create_graph=True)
    if slope.requires_grad:
        slope.square().sum().backward()  # type: ignore[no-untyped-call]


def _evaluate(run: Run, generator: nn.Module, discriminator: nn.Module, n: int) -> None:
    """As a sweep: forward in evaluation mode, D's features too where it has them."""
    with torch.no_grad():
        fake, y = _made(run, generator, n)
        discriminator(fake, y)
        features = getattr(discriminator, "features", None)
        if callable(features):
            features(fake)


_PASSES: Mapping[str, Callable[[Run, nn.Module, nn.Module, int], None]] = {
    _TRAINING: _train,
    "penalty": _penalise,
    "evaluation": _evaluate,
}


def _made(run: Run, generator: nn.Module, n: int) -> tuple[Tensor, Tensor | None]:
    y = run.labels(n, "layout")
    return generator(run.latents(n, "layout"), y).float(), y


def _total(output: Any) -> Tensor:
    """Adds up all that a network returned, so that a gradient reaches all of it."""
    return torch.stack([part.float().sum() for part in _tensors(output)]).sum()


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list, Mapping)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
