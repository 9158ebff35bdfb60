"""One logit of every training sample at one moment of the training: the sweep.

A sweep reads the dataset itself, never the training loader: under weighted sampling the loader
visits some samples many times and others not at all, and those would keep a record of zero. It
also leaves no trace: the discriminator's flags and buffers
(:mod:`diagan_plugin.recording.logit_modes`) and every global random state are bit-identical
afterwards, so that a run that records is bit-equal to one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.recording.logit_modes import depends_on_batch, logit_mode
from gan_registry.datasets.fetching import read_ahead, to_device
from gan_registry.seeding import derive_seed, seeded_rng

#: `(x [B, ...], y [B] or None) -> log-density ratios [B]`
LogitsFunction = Callable[[Tensor, "Tensor | None"], Tensor]


class Ranks(Protocol):
    """The processes that share a sweep; see :class:`gan_registry.training.distributed.Group`."""

    @property
    def rank(self) -> int:
        """This process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many there are."""
        ...

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor over the ranks, in place."""
        ...


def sweep(
    logits_fn: LogitsFunction,
    dataset: Any,
    *,
    discriminator: nn.Module,
    mode: str,
    batch_size: int,
    seed: int,
    step: int,
    device: torch.device | str,
    indices: Sequence[int] | NDArray[np.integer[Any]] | Tensor | None = None,
    eval_batch_size: int | None = None,
    ranks: Ranks | None = None,
) -> Tensor:
    """Records the logits of a whole dataset, or of a part of it.

    Where a logit depends on the rest of the batch (:func:`~diagan_plugin.recording.logit_modes.\
depends_on_batch`), batches are made by :func:`sweep_order`: random in composition and each of
    exactly the training size. Otherwise samples are read in index order in larger batches.

    Several ranks share the work batch by batch, in the same batches as one process would make, and
    all get the whole result: where no module draws at random, the very same numbers. Under
    SyncBatchNorm every rank has to sweep equally many batches.

    Args:
        logits_fn: `(x, y) -> logits`, one per sample ([B] or [B, 1], any floating dtype), computed
            by `discriminator` from x [B, ...] and y ([B] or None) on `device`.
        dataset: A map-style dataset, read by
            :func:`~gan_registry.datasets.fetching.read_ahead`.
        discriminator: The network whose modes and buffers are looked after.
        mode: One of :data:`~diagan_plugin.recording.logit_modes.LOGIT_MODES`.
        batch_size: The number of samples that D's batch norm sees together in training.
        seed: The run's seed, not negative.
        step: The training step. With `seed` it determines the composition of the batches, dropout
            and whatever the dataset itself draws.
        device: Where the discriminator is. From the CPU to a CUDA device samples are copied from
            pinned memory and without waiting; no batch synchronises the device.
        indices: The samples to record; all by default.
        eval_batch_size: The batch size where composition is irrelevant; 4 × `batch_size` by default
            (without gradients that needs less memory than a training step).
        ranks: The processes that share the sweep; each must call this. None: this one alone.

    Returns:
        Logits, float32 on `device`: [N] by dataset index, or [len(indices)] in the order given.

    Raises:
        ValueError: `mode`, `batch_size` or `indices` is out of range, or `logits_fn` does not
            return one logit per sample.
        TypeError: The dataset's items are not understood.
    """
    if batch_size < 1:
        raise ValueError(f"Argument `batch_size` must be at least 1, but got {batch_size}.")
    if eval_batch_size is not None and eval_batch_size < 1:
        raise ValueError(
            f"Argument `eval_batch_size` must be at least 1, but got {eval_batch_size}."
        )
    device = torch.device(device)
    rank, world_size = (0, 1) if ranks is None else (ranks.rank, ranks.world_size)
    wanted = _checked_indices(indices, len(dataset))
    if not len(wanted):
        return torch.empty(0, device=device)
    with (
        logit_mode(discriminator, mode) as resolved,
        seeded_rng(device, seed, "sweep", step, rank),
        torch.no_grad(),
    ):
        if depends_on_batch(discriminator, resolved):
            places, order = sweep_order(wanted, len(dataset), batch_size, seed, step)
        else:
            places, order = np.argsort(wanted, kind="stable"), np.sort(wanted)
            batch_size = eval_batch_size or 4 * batch_size
        recorded = torch.zeros(len(order), device=device)
        starts = range(rank * batch_size, len(order), world_size * batch_size)
        batches = (order[start : start + batch_size] for start in starts)
        for start, (x, y) in zip(starts, read_ahead(dataset, batches, device), strict=True):
            logits = logits_fn(x, y)
            if logits.shape not in ((len(x),), (len(x), 1)):
                raise ValueError(
                    f"Argument `logits_fn` must return one logit for each of {len(x)} samples, "
                    f"but got the shape {tuple(logits.shape)}."
                )
            recorded[start : start + len(x)] = logits.reshape(-1)
        if ranks is not None and world_size > 1:
            recorded = ranks.sum(recorded)
        result = torch.empty(len(wanted), device=device)
        result[to_device(torch.from_numpy(places), device)] = recorded[: len(wanted)]
    return result


def sweep_order(
    wanted: NDArray[np.int64], num_samples: int, batch_size: int, seed: int, step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shuffles the samples of a sweep into batches of exactly the training size.

    A smaller last batch would have noisier batch statistics than the discriminator ever met. It is
    filled up, therefore, with samples whose logits are discarded: the first ones of the order
    again, or, when fewer than a batch are wanted at all, others of the dataset. No batch holds a
    sample twice (unless `wanted` does). Only a dataset of fewer samples than `batch_size` makes a
    smaller batch.

    Args:
        wanted: The dataset indices to record, [n].
        num_samples: The size N of the dataset.
        batch_size: The training batch size B.
        seed: The run's seed.
        step: The training step; another step gives another composition.

    Returns:
        `(places, order)`: `order` holds the dataset indices to evaluate, a multiple of B (or all N
        when N < B); `places` [n] tells that `order[j]` is `wanted[places[j]]` for j < n.
    """
    rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "sweep order", step)))
    places = rng.permutation(len(wanted))
    order = wanted[places]
    missing = -len(order) % batch_size
    if len(order) >= batch_size:
        fill = order[:missing]
    else:
        fill = rng.permutation(np.setdiff1d(np.arange(num_samples), wanted))[:missing]
    return places, np.concatenate([order, fill])


def random_part(
    num_samples: int, fraction: float, seed: int, purpose: str, step: int
) -> NDArray[np.int64]:
    """Chooses a random share of the samples, at least one; it follows from (seed, purpose, step).

    Returns:
        Dataset indices, ascending, int64 [n].
    """
    rng = np.random.Generator(np.random.PCG64(derive_seed(seed, purpose, step)))
    chosen = rng.choice(num_samples, max(round(fraction * num_samples), 1), replace=False)
    return np.sort(chosen)


def _checked_indices(
    indices: Sequence[int] | NDArray[np.integer[Any]] | Tensor | None, num_samples: int
) -> NDArray[np.int64]:
    if indices is None:
        return np.arange(num_samples, dtype=np.int64)
    if isinstance(indices, Tensor):
        indices = indices.cpu().numpy()
    wanted = np.asarray(indices)
    if not wanted.size:
        return np.empty(0, np.int64)
    if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
        raise ValueError(
            "Argument `indices` must be one-dimensional and integer, "
            f"but got shape {wanted.shape}, dtype {wanted.dtype}."
        )
    if wanted.min() < 0 or wanted.max() >= num_samples:
        raise ValueError(
            f"Argument `indices` must lie in [0, {num_samples}), "
            f"but got {wanted.min()} … {wanted.max()}."
        )
    return wanted.astype(np.int64)
