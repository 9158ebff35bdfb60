from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_registry.seeding import derive_seed

NUMBERS = st.integers(0, 2**100) | st.sampled_from([0, 2**32 - 1, 2**32, 2**64])


@given(NUMBERS, st.lists(NUMBERS | st.text(max_size=5), max_size=5))
def test_a_seed_is_what_numpy_makes_of_the_whole_list(seed: int, parts: list[int | str]) -> None:
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    state = np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)
    assert derive_seed(seed, *parts) == int(state[0]) >> 1 < 2**63


def test_negative_numbers_are_no_seeds() -> None:
    for arguments in ((-1,), (0, -1)):
        with pytest.raises((ValueError, OverflowError)):
            derive_seed(*arguments)
