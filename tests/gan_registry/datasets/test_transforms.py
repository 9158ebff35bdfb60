from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from gan_registry.datasets.transforms import flip, flipped, hash_bits


def splitmix64(state: int) -> int:
    """SplitMix64 in Python's own integers, written from its definition."""
    mask = (1 << 64) - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_the_hash_is_splitmix64():
    # The first outputs of the reference implementation for the state 1234567.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    golden = 0x9E3779B97F4A7C15
    assert [splitmix64(1234567 + (i + 1) * golden) for i in range(3)] == known
    for seed in (0, 1, 2**40):
        start = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        expected = [splitmix64(start + (p + 1) * golden) for p in (0, 1, 17, 2**45)]
        assert hash_bits(seed, [0, 1, 17, 2**45]).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_half_are_flipped_whatever_the_stride(seed):
    for start, stride in ((0, 1), (10**9, 1), (0, 2), (3, 64), (0, 50_000)):
        count = 4000
        share = flipped(seed, start + stride * np.arange(count)).sum()
        assert binom(count, 0.5).sf(abs(share - count / 2) + count / 2) > 1e-5


def test_flips_are_independent_of_neighbours_epochs_and_seeds():
    positions = np.arange(40_000)
    reference = flipped(0, positions)
    others = [flipped(0, positions + lag) for lag in (1, 2, 64, 1797, 50_000)]
    others += [flipped(seed, positions) for seed in (1, 2, 3)]
    for other in others:
        assert abs(np.corrcoef(reference, other)[0, 1]) < 5 / np.sqrt(len(positions))


def test_a_flip_follows_from_seed_and_position_alone():
    x = torch.arange(12 * 2 * 3 * 4, dtype=torch.float32).reshape(12, 2, 3, 4)
    positions = np.arange(100, 112)
    whole = flip(x, 5, positions)
    order = np.random.default_rng(0).permutation(12)
    assert torch.equal(flip(x[order], 5, positions[order]), whole[order])
    assert torch.equal(torch.cat([flip(x[i::3], 5, positions[i::3]) for i in range(3)]),
                       torch.cat([whole[i::3] for i in range(3)]))  # fmt: skip
    assert torch.equal(flip(x[4:5], 5, [104]), whole[4:5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_images_are_mirrored_or_left_alone(dtype):
    x = torch.randint(0, 255, (64, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    kept = x.clone()
    result = flip(x, 1, np.arange(64))
    assert (result.dtype, result.shape) == (dtype, x.shape)
    assert torch.equal(x, kept)
    chosen = flipped(1, np.arange(64))
    assert 0 < chosen.sum() < 64
    for image, before, mirrored in zip(result, x, chosen, strict=True):
        expected = np.asarray(before.float())[..., ::-1] if mirrored else before.float().numpy()
        assert (image.float().numpy() == expected).all()
    # Twice is not at all.
    assert torch.equal(flip(result, 1, np.arange(64)), x)


def test_no_images_one_image_and_what_is_none():
    assert flip(torch.zeros(0, 3, 4, 4), 0, np.arange(0)).shape == (0, 3, 4, 4)
    assert flip(torch.zeros(1, 3, 4, 4), 0, [7]).shape == (1, 3, 4, 4)
    assert hash_bits(0, np.zeros((2, 0))).shape == (2, 0)
    with pytest.raises(ValueError, match=r"`x` must be \[3, C, H, W\], but got \[2, 3, 4, 4\]"):
        flip(torch.zeros(2, 3, 4, 4), 0, [0, 1, 2])
    with pytest.raises(ValueError, match=r"must be \[2, C, H, W\], but got \[2, 2\]"):
        flip(torch.zeros(2, 2), 0, [0, 1])


def test_the_global_random_state_plays_no_part():
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    flip(torch.zeros(4, 1, 2, 2), 0, np.arange(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
