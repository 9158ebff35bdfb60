"""Every random number follows from (seed, purpose, step), so that resuming needs no saved state."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_WORD = 2**32 - 1


def derive_seed(seed: int, *parts: int | str) -> int:
    """Derives an independent 63-bit seed from the run's seed and a description of its purpose.

    Args:
        seed: The run's seed, not negative.
        *parts: What the numbers are for, e.g. `("latents", step)`. Text is hashed stably.

    Returns:
        A seed for `torch.Generator.manual_seed`, equal on every machine.
    """
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in parts]
    words: list[int] = []
    for number in (int(seed), *numbers):
        # As numpy takes a list of numbers apart, which by itself costs as much as all the rest.
        while number > _WORD:
            words.append(number & _WORD)
            number >>= 32
        words.append(number)
    low, high = np.random.SeedSequence(np.array(words, np.uint32)).generate_state(2).tolist()
    return int(low | high << 32) >> 1


def generator_for(
    seed: int, *parts: int | str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Returns a generator on `device`, seeded by :func:`derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *parts))


def seed_modules(seed: int, rank: int, step: int, device: torch.device) -> None:
    """Seeds what modules draw themselves in this step (dropout, noise layers).

    They draw from torch's global generators, which no module lets us replace; seeding those at the
    start of each step makes a step a function of (seed, rank, step) alone. `torch.manual_seed`
    would do the same for every kind of device there is, at a hundred times the cost.

    Args:
        seed: The run's seed.
        rank: This process's number.
        step: The step.
        device: Where modules draw, beside the CPU.
    """
    seed_global_generators(derive_seed(seed, "modules", rank, step), device)


def seed_global_generators(value: int, device: torch.device) -> None:
    """Seeds torch's global generators of the CPU and of one device, and of no other.

    Args:
        value: The seed, see :func:`derive_seed`.
        device: The device.
    """
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """Restores afterwards what :func:`seed_global_generators` changes.

    Args:
        device: Where modules draw, beside the CPU.
    """
    cuda = []
    if device.type == "cuda":
        cuda.append(torch.cuda.current_device() if device.index is None else device.index)
    mps = torch.mps.get_rng_state() if device.type == "mps" else None  # fork_rng knows no mps
    try:
        with torch.random.fork_rng(devices=cuda, device_type="cuda"):
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextmanager
def seeded_rng(device: torch.device | str, seed: int, *purpose: int | str) -> Iterator[None]:
    """Seeds every global random generator for a while, then puts each back where it was.

    Modules and data transforms draw from global generators that no caller can replace. Inside
    this context what they draw follows from `(seed, *purpose)`; outside, nothing has changed:
    torch's generator on the CPU and on `device` (CUDA or MPS), numpy's and Python's are
    bit-identical afterwards, also when an exception is raised.

    Args:
        device: The device whose generator modules may draw from.
        seed: The run's seed, not negative.
        *purpose: What the numbers are for, e.g. `("sweep", step)`.
    """
    device = torch.device(device)
    derived = derive_seed(seed, *purpose)
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global one is the very point
    try:
        with kept_random_state(device):
            seed_global_generators(derived, device)
            random.seed(derived)
            np.random.seed(derived % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
