"""Which of the discriminator's modes is on while its logits are recorded.

The log-density ratio of a sample is D's logit, but D has several: with batch normalisation or
dropout it answers differently in evaluation and in training mode, and the two can rank samples
quite differently. The modes are

* `eval`: `D.eval()`, i.e. running batch-norm statistics and no dropout;
* `train`: `D.train()`, i.e. batch statistics and dropout, as D sees samples while it learns;
* `batchstat`: batch statistics, but no dropout;
* `auto`: the rule of :func:`automatic_logit_mode`.

In every mode spectral normalisation keeps the vectors it has. Its power iteration would otherwise
advance at each training-mode batch, and the batches of one sweep would meet different weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

LOGIT_MODES = ("auto", "eval", "train", "batchstat")


def has_batch_norm(discriminator: nn.Module) -> bool:
    """Tells whether any module normalises by batch statistics (`nn.BatchNorm*`, SyncBatchNorm)."""
    return any(isinstance(module, _BatchNorm) for module in discriminator.modules())


def automatic_logit_mode(discriminator: nn.Module) -> str:
    """Returns the mode that `auto` stands for: batchstat when D has batch norm, else eval."""
    return "batchstat" if has_batch_norm(discriminator) else "eval"


def resolve_logit_mode(mode: str, discriminator: nn.Module) -> str:
    """Turns `auto` into the mode chosen for a discriminator, and checks every other.

    Args:
        mode: One of :data:`LOGIT_MODES`.
        discriminator: The network whose logits are recorded.

    Returns:
        "eval", "train" or "batchstat".

    Raises:
        ValueError: `mode` is none of the known ones.
    """
    if mode not in LOGIT_MODES:
        raise ValueError(f"Argument `mode` must be one of {LOGIT_MODES}, but got {mode!r}.")
    return automatic_logit_mode(discriminator) if mode == "auto" else mode


def depends_on_batch(discriminator: nn.Module, mode: str) -> bool:
    """Tells whether a logit depends on which samples share the batch.

    Args:
        discriminator: The network whose logits are recorded.
        mode: "eval", "train" or "batchstat" (see :func:`resolve_logit_mode`).

    Returns:
        True in train and batchstat mode (dropout, too, depends on the place in a batch), and in
        eval mode where a batch norm keeps no running statistics, or where a module says so by an
        attribute `depends_on_batch`, as one with StyleGAN's minibatch standard deviation should.
    """
    return mode != "eval" or any(
        (isinstance(module, _BatchNorm) and module.running_mean is None)
        or bool(getattr(module, "depends_on_batch", False))
        for module in discriminator.modules()
    )


@contextmanager
def logit_mode(discriminator: nn.Module, mode: str) -> Iterator[str]:
    """Puts a discriminator into a logit mode, and afterwards leaves no trace of it.

    On leaving, also by an exception, every module has its own `training` flag again and every
    buffer (running statistics, batch counts, spectral-norm vectors) is the same tensor with
    bit-identical contents, so that training goes on as if nothing had been recorded. An autograd
    graph made before, and not yet run backward, stays valid.

    Args:
        discriminator: Any network. Batch norm is recognised as `nn.BatchNorm*` or a subclass
            (SyncBatchNorm included), spectral norm in both of torch's forms.
        mode: One of :data:`LOGIT_MODES`.

    Yields:
        The resolved mode: "eval", "train" or "batchstat".

    Raises:
        ValueError: `mode` is none of the known ones.

    Example:
        >>> with torch.no_grad(), logit_mode(discriminator, "batchstat"):  # doctest: +SKIP
        ...     logits = discriminator(x)
    """
    resolved = resolve_logit_mode(mode, discriminator)
    modules = list(discriminator.modules())
    flags = [module.training for module in modules]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
    ]
    weights = [
        (module, hook.name, vars(module)[hook.name])
        for module in modules
        for hook in _legacy_spectral_norms(module)
        if hook.name in vars(module)
    ]
    try:
        _set_mode(discriminator, resolved)
        yield resolved
    finally:
        for module, training in zip(modules, flags, strict=True):
            module.training = training
        for module, name, buffer, saved in buffers:
            module._buffers[name] = buffer
            if buffer is not None and saved is not None:
                # Not `buffer.copy_`: that would count as an in-place change and invalidate graphs
                # that saved this buffer, although its values end up just as they were.
                buffer.data.copy_(saved)
        for module, name, weight in weights:
            setattr(module, name, weight)


def _set_mode(discriminator: nn.Module, mode: str) -> None:
    discriminator.train(mode == "train")
    for module in discriminator.modules():
        if mode == "batchstat" and isinstance(module, _BatchNorm):
            module.train()
        # The older spectral norm is a hook that reads the flag of the layer it sits on. A layer of
        # torch's own with such a hook (linear, convolution, embedding) uses the flag for nothing
        # else; elsewhere it may mean more, so the iteration is left to advance, and is undone.
        if isinstance(module, _SpectralNorm) or (
            type(module).__module__.startswith("torch.nn.") and any(_legacy_spectral_norms(module))
        ):
            module.training = False


def _legacy_spectral_norms(module: nn.Module) -> list[SpectralNorm]:
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)]


__all__ = [
    "LOGIT_MODES",
    "automatic_logit_mode",
    "depends_on_batch",
    "has_batch_norm",
    "logit_mode",
    "resolve_logit_mode",
]
