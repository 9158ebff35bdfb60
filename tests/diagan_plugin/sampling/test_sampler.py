"""DiaSampler: one stream of indices, however it is read, sharded, interrupted or reweighted."""

from __future__ import annotations

from itertools import chain, islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils.data import DataLoader, Dataset

from diagan_plugin.sampling import draws
from diagan_plugin.sampling import sampler as module
from diagan_plugin.sampling.sampler import DiaBatchSampler, DiaSampler
from gan_registry.samplers.base import IndexSampler
from gan_registry.samplers.uniform import UniformSampler

N = 101
RANKS = [1, 2, 3, 8]


def weights(seed=0, n=N):
    return np.random.default_rng(seed).random(n) ** 2 + 0.01


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks an epoch, so that their seams are tested."""
    monkeypatch.setattr(module, "_BLOCK", 16)


class Identity(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return index


# ---------------------------------------------------------------------- the stream


def test_it_is_a_sampler_for_host_and_torch():
    sampler = DiaSampler(N)
    assert isinstance(sampler, IndexSampler)
    assert isinstance(sampler, torch.utils.data.Sampler)


def test_without_weights_it_is_the_hosts_uniform_sampler():
    ours, hosts = DiaSampler(N, seed=3), UniformSampler(N, seed=3)
    np.testing.assert_array_equal(ours.draw(0, 5 * N), hosts.draw(0, 5 * N))
    for epoch in range(3):
        assert sorted(ours) == list(range(N)), epoch


@pytest.mark.parametrize("method", ["systematic", "iid"])
def test_draws_do_not_depend_on_how_they_are_asked_for(method):
    def make():
        sampler = DiaSampler(N, seed=1, method=method)
        sampler.set_weights(weights(1), start=150)
        sampler.set_weights(weights(2), start=420)
        return sampler

    whole = make().draw(0, 1000)
    assert whole.dtype == np.int64
    rng = np.random.default_rng(0)
    sampler = make()
    for _ in range(100):
        start, stop = sorted(rng.integers(0, 1001, 2))
        np.testing.assert_array_equal(sampler.draw(start, stop), whole[start:stop])
    assert make().draw(7, 7).size == 0


def test_weighted_epochs_count_from_the_start_of_their_segment():
    w = weights()
    sampler = DiaSampler(N)
    sampler.set_weights(w, start=37)
    uniform = DiaSampler(N).draw(0, 37)
    np.testing.assert_array_equal(sampler.draw(0, 37), uniform)
    expected = N * w / w.sum()
    for epoch in range(20):
        start = 37 + epoch * N
        counts = np.bincount(sampler.draw(start, start + N), minlength=N)
        assert (np.abs(counts - expected) < 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_mean_counts_over_epochs_are_the_expectations(seed):
    w = weights(seed)
    sampler = DiaSampler(N, seed=seed)
    sampler.set_weights(w, start=0)
    epochs = 500
    expected = N * w / w.sum()
    counts = np.bincount(sampler.draw(0, epochs * N), minlength=N)
    r = expected % 1
    z = (counts / epochs - expected) / np.sqrt(r * (1 - r) / epochs)
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("seed", range(3))
def test_iid_frequencies_pass_chi_square(seed):
    w = weights(seed)
    sampler = DiaSampler(N, seed=seed, method="iid")
    sampler.set_weights(w, start=0)
    counts = np.bincount(sampler.draw(0, 500 * N), minlength=N)
    assert 1e-5 < stats.chisquare(counts, 500 * N * w / w.sum()).pvalue < 1 - 1e-5


def test_seeds_segments_and_epochs_all_differ():
    def draws(seed):
        sampler = DiaSampler(N, seed=seed)
        sampler.set_weights(np.ones(N), start=2 * N)
        sampler.set_weights(np.ones(N), start=4 * N)
        return [tuple(sampler.draw(e * N, (e + 1) * N)) for e in range(6)]

    orders = draws(0) + draws(1)
    assert len(set(orders)) == 12
    assert all(sorted(order) == list(range(N)) for order in orders)  # equal weights: each once


def test_a_weighted_draw_shares_no_random_numbers_with_a_uniform_epoch(monkeypatch):
    """A method that shuffles as a uniform epoch does shows which numbers it is given."""

    def shuffle(probabilities, size, rng):
        return rng.permutation(size)

    monkeypatch.setitem(draws.DRAW_METHODS, "shuffle", shuffle)
    epochs = 6
    uniform = DiaSampler(N, seed=3).draw(0, epochs * N).reshape(epochs, N)
    sampler = DiaSampler(N, seed=3, method="shuffle")
    weighted = []
    for segment in range(1, epochs):
        start = 2 * segment * N
        sampler.set_weights(np.ones(N), start)
        weighted += list(sampler.draw(start, start + 2 * N).reshape(2, N))
    orders = [tuple(order) for order in (*uniform, *weighted)]
    assert len(set(orders)) == len(orders) == 16


def test_setting_weights_at_the_same_or_an_earlier_position_replaces():
    reference = DiaSampler(N)
    reference.set_weights(weights(2), start=50)
    sampler = DiaSampler(N)
    sampler.set_weights(weights(1), start=50)
    sampler.draw(0, 300)  # cached draws must not survive
    sampler.set_weights(weights(2), start=50)
    np.testing.assert_array_equal(sampler.draw(0, 300), reference.draw(0, 300))
    sampler.set_weights(weights(3), start=200)
    sampler.set_weights(weights(1), start=70)
    sampler.set_weights(weights(2), start=50)
    np.testing.assert_array_equal(sampler.draw(0, 300), reference.draw(0, 300))


def test_weights_are_copied_and_may_be_a_tensor():
    w = weights()
    sampler, other = DiaSampler(N), DiaSampler(N)
    sampler.set_weights(w, start=0)
    other.set_weights(torch.from_numpy(w.copy()).requires_grad_(), start=0)
    w[:] = 0
    np.testing.assert_array_equal(sampler.draw(0, N), other.draw(0, N))
    assert sampler.probabilities_at(0).sum() == pytest.approx(1)
    other.set_weights(torch.ones(N, dtype=torch.bfloat16), start=0)
    assert sorted(other.draw(0, N)) == list(range(N))
    assert DiaSampler(N).probabilities_at(5) is None


@pytest.mark.parametrize("kind", [list, torch.tensor, np.asarray])
def test_a_sampler_from_weights_draws_by_them_from_the_start(kind):
    expected = DiaSampler(N, seed=3, method="iid")
    expected.set_weights(weights())
    made = DiaSampler.from_weights(kind(weights()), seed=3, method="iid")
    assert list(made) == list(expected)


@pytest.mark.parametrize("bad", [[], 5.0, [[1.0]], ["a"], None, [np.nan, 1.0], [-1.0, 2.0]])
def test_what_are_no_weights_is_refused(bad):
    with pytest.raises((TypeError, ValueError), match=r"weights|num_samples"):
        DiaSampler.from_weights(bad)


def test_old_weights_are_forgotten_with_an_error_and_not_silently():
    sampler = DiaSampler(N)
    for segment in range(6):
        sampler.set_weights(weights(segment), start=N * (segment + 1))
        sampler.draw(N * (segment + 1), N * (segment + 2))
    assert len(sampler.state_dict()["segments"]) <= 3
    sampler.draw(0, N)  # the uniform part needs no memory
    with pytest.raises(ValueError, match="no longer kept"):
        sampler.draw(N, 2 * N)
    with pytest.raises(ValueError, match="no longer kept"):
        sampler.set_weights(weights(), start=2 * N)
    first = sampler.state_dict()["segments"][0]["start"]
    sampler.set_weights(weights(), start=first)  # but these can still be replaced
    sampler.draw(first, first + N)


def test_weights_ahead_are_all_kept_until_used():
    sampler = DiaSampler(N)
    for segment in range(5):
        sampler.set_weights(weights(segment), start=N * (segment + 1))
    for segment in range(5):
        counts = np.bincount(sampler.draw(N * (segment + 1), N * (segment + 2)), minlength=N)
        w = weights(segment)
        assert (np.abs(counts - N * w / w.sum()) < 1).all()


# ---------------------------------------------------------------------- iterating and ranks


def ranks(world_size, **options):
    return [DiaSampler(N, rank=r, world_size=world_size, **options) for r in range(world_size)]


def interleaved(shards):
    """Undoes the stride: item k of rank r is number kR + r."""
    merged = [None] * sum(map(len, shards))
    for r, shard in enumerate(shards):
        merged[r :: len(shards)] = shard
    return merged


@pytest.mark.parametrize("world_size", [*RANKS, N, N + 5])
@pytest.mark.parametrize("method", ["systematic", "iid"])
def test_union_of_the_ranks_is_the_draw_of_one_process(world_size, method):
    samplers = ranks(world_size, method=method, seed=9)
    single = DiaSampler(N, method=method, seed=9)
    for epoch in range(4):
        if epoch == 2:
            for sampler in [*samplers, single]:
                sampler.set_weights(weights())
        shards = [list(sampler) for sampler in samplers]
        assert [len(shard) for shard in shards] == [len(sampler) for sampler in samplers]
        assert max(map(len, shards)) - min(map(len, shards)) <= 1
        expected = single.draw(epoch * N, (epoch + 1) * N).tolist()
        assert interleaved(shards) == expected
        assert list(single) == expected
        assert {sampler.position for sampler in samplers} == {(epoch + 1) * N}


def test_a_host_that_shards_gets_the_whole_draw_on_every_rank():
    for sampler in ranks(3, shard="host"):
        assert len(sampler) == N
        assert list(sampler) == list(DiaSampler(N))


@pytest.mark.parametrize("world_size", RANKS)
def test_position_is_exact_after_every_index(world_size):
    for sampler in ranks(world_size):
        assert sampler.position == 0
        length = len(sampler)
        for taken, _ in enumerate(sampler, start=1):
            if taken < length:
                assert sampler.position == taken * world_size
        assert sampler.position == N
        assert sampler.epoch == 1


@settings(max_examples=60, deadline=None)
@given(
    taken=st.integers(0, 30),
    old=st.sampled_from(RANKS),
    new=st.sampled_from(RANKS),
    weights_at=st.sampled_from([None, 0, 10, 64, N]),
)
def test_resuming_anywhere_with_any_number_of_ranks(taken, old, new, weights_at):
    def prepared(world_size):
        samplers = ranks(world_size, seed=4)
        if weights_at is not None:
            for sampler in samplers:
                sampler.set_weights(weights(), start=weights_at)
        return samplers

    taken = min(taken, N // old)  # ranks in step
    before = prepared(old)
    first = interleaved([list(islice(sampler, taken)) for sampler in before])
    state = before[-1].state_dict(position=taken * old)
    if taken:
        assert before[0].state_dict()["position"] == taken * old
    after = ranks(new)
    for sampler in after:
        sampler.load_state_dict(state)
        sampler.set_epoch(state["position"] // N)  # what Lightning calls; must not start anew
    rest = [list(sampler) for sampler in after]
    # Rank r's first index is the first position of its residue at or after the saved one.
    merged = [None] * N
    for r, shard in enumerate(rest):
        start = state["position"] + (r - state["position"]) % new
        if state["position"] < N:
            merged[start:N:new] = shard
    whole = prepared(1)[0].draw(0, N).tolist()
    assert first == whole[: taken * old]
    if state["position"] < N:
        assert merged[taken * old :] == whole[taken * old :]
    assert list(after[0]) == prepared(new)[0].draw(*_after(state, N))[::new].tolist()


def _after(state, n):
    """The epoch after the one that the iteration resumed in."""
    epoch = state["position"] // n + 1
    return epoch * n, (epoch + 1) * n


def test_state_holds_only_what_may_be_loaded_safely(tmp_path):
    sampler = DiaSampler(N, seed=5, method="iid", fingerprint="abc")
    list(sampler)
    sampler.set_weights(weights())
    part = list(islice(sampler, 40))
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    restored = DiaSampler(N, fingerprint="abc")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert part + list(restored) == sampler.draw(N, 2 * N).tolist()
    np.testing.assert_array_equal(restored.draw(0, 9 * N), sampler.draw(0, 9 * N))
    restored.set_weights(weights(1))  # segments are numbered on
    sampler.set_epoch(2)
    sampler.set_weights(weights(1))
    np.testing.assert_array_equal(restored.draw(2 * N, 4 * N), sampler.draw(2 * N, 4 * N))


def test_restored_weights_keep_their_last_bits():
    w = np.full(49, 1 / 49)  # normalising them again would change them
    sampler = DiaSampler(49)
    sampler.set_weights(w * 3, start=0)
    state = sampler.state_dict()
    restored = DiaSampler(49)
    restored.load_state_dict(state)
    again = restored.state_dict()["segments"][0]["probabilities"]
    assert torch.equal(again, state["segments"][0]["probabilities"])


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (DiaSampler(N + 1, fingerprint="abc"), "another dataset: it has 102 samples"),
        (DiaSampler(N, fingerprint="xyz"), "another dataset: its fingerprint is xyz"),
    ],
)
def test_state_of_another_dataset_is_refused(other, match):
    sampler = DiaSampler(N, fingerprint="abc")
    with pytest.raises(ValueError, match=match):
        sampler.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="version"):
        sampler.load_state_dict({"version": 99})


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda p: p.float(), r"must be float64 \[101\]"),
        (lambda p: p[1:], r"must be float64 \[101\]"),
        (lambda p: 2 * p, "do not sum to 1"),
        (lambda p: torch.cat([-p[:1], p[1:-1], p[-1:] + 2 * p[:1]]), "are negative"),
        (lambda p: p * torch.nan, "do not sum to 1"),
    ],
)
def test_probabilities_of_a_state_are_checked(spoil, match):
    sampler = DiaSampler(N)
    sampler.set_weights(weights(), start=0)
    state = sampler.state_dict()
    state["segments"][0]["probabilities"] = spoil(state["segments"][0]["probabilities"])
    with pytest.raises(ValueError, match=match):
        DiaSampler(N).load_state_dict(state)


@pytest.mark.parametrize("first", [-1, 1.5, True, "x"])
def test_the_beginning_of_the_weights_of_a_state_is_a_position(first):
    sampler = DiaSampler(N)
    sampler.set_weights(weights(), start=0)
    with pytest.raises((ValueError, TypeError), match="first_weighted"):
        DiaSampler(N).load_state_dict({**sampler.state_dict(), "first_weighted": first})


def test_set_epoch_chooses_the_epoch():
    sampler = DiaSampler(N)
    epochs = [list(sampler) for _ in range(3)]
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]
    assert list(sampler) == epochs[2]
    next(iter(sampler))
    sampler.set_epoch(3)  # the abandoned epoch 3 starts anew when asked for
    assert list(sampler) == sampler.draw(3 * N, 4 * N).tolist()


def test_an_abandoned_epoch_is_not_taken_up_again():
    sampler = DiaSampler(N)
    list(islice(sampler, 30))
    assert list(sampler) == sampler.draw(N, 2 * N).tolist()
    assert sampler.position == 2 * N
    list(islice(sampler, N))  # all indices, without asking for the end
    assert list(sampler) == sampler.draw(3 * N, 4 * N).tolist()


def test_an_old_iterator_does_not_move_the_position():
    sampler = DiaSampler(N)
    old = iter(sampler)
    next(old)
    new = iter(sampler)
    next(new)
    assert sampler.position == N + 1
    assert [*old] == sampler.draw(1, N).tolist()
    assert sampler.position == N + 1
    list(new)
    assert sampler.position == 2 * N


@pytest.mark.parametrize("taken", [0, 1, 15, 16, 17, 60, 100])
def test_new_weights_act_from_the_next_index_on(taken):
    sampler = DiaSampler(N)
    iterator = iter(sampler)
    part = list(islice(iterator, taken))
    only = np.zeros(N)
    only[42] = 1
    sampler.set_weights(only)
    assert sampler.position == taken
    assert part + [42] * (N - taken) == part + list(iterator)
    np.testing.assert_array_equal(sampler.draw(0, N), part + [42] * (N - taken))


@pytest.mark.parametrize("world_size", RANKS)
@pytest.mark.parametrize("start", [12, 16, 50, 99, 101, 150])
def test_new_weights_act_from_a_named_position_on(world_size, start):
    samplers = ranks(world_size)
    shards = []
    for sampler in samplers:
        iterator = iter(sampler)
        part = list(islice(iterator, 1))
        sampler.set_weights(weights(), start=start)
        shards.append(part + list(iterator) + list(sampler))
    reference = DiaSampler(N)
    reference.set_weights(weights(), start=start)
    whole = reference.draw(0, 2 * N)
    for r, shard in enumerate(shards):
        expected = [*whole[:N][r::world_size], *whole[N:][r::world_size]]
        assert shard == expected


@pytest.mark.parametrize("world_size", RANKS)
@pytest.mark.parametrize("start", [12, 50, 99])
def test_ranks_in_step_agree_on_the_position_also_beyond_new_weights(world_size, start):
    samplers = ranks(world_size)
    iterators = [iter(sampler) for sampler in samplers]
    for iterator, sampler in zip(iterators, samplers, strict=True):
        next(iterator)
        sampler.set_weights(weights(), start=start)
    for taken in range(2, N // world_size):  # at its last index a rank is at the end
        for iterator in iterators:
            next(iterator)
        assert {sampler.position for sampler in samplers} == {taken * world_size}


def test_new_weights_may_be_set_again_and_again():
    sampler, reference = DiaSampler(N), DiaSampler(N)
    seen, iterator = [], iter(sampler)
    for taken in (0, 1, 1, 5, 20, 40):
        seen += islice(iterator, taken)
        for seed in (taken, taken + 1):  # of two at one position the later holds
            sampler.set_weights(weights(seed))
        reference.set_weights(weights(taken + 1), start=len(seen))
    assert seen + list(iterator) == reference.draw(0, N).tolist()


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_epoch_chosen_during_an_iteration_is_where_new_weights_act(epoch):
    sampler = DiaSampler(N)
    old = iter(sampler)
    next(old)
    sampler.set_epoch(epoch)
    assert sampler.position == epoch * N
    next(old)
    assert sampler.position == epoch * N  # an iterator made before no longer counts
    sampler.set_weights(weights())
    assert list(sampler) == sampler.draw(epoch * N, (epoch + 1) * N).tolist()
    reference = DiaSampler(N)
    reference.set_weights(weights(), start=epoch * N)
    np.testing.assert_array_equal(sampler.draw(0, 3 * N), reference.draw(0, 3 * N))


def test_a_host_that_only_draws_lets_old_weights_go_and_an_iterating_one_keeps_what_it_needs():
    sampler = DiaSampler(N)
    iterator = iter(sampler)
    taken = list(islice(iterator, 3))
    for segment in range(1, 6):  # draws ahead of the iteration
        sampler.set_weights(weights(segment), start=segment * 10)
        sampler.draw(segment * 10, segment * 10 + 20)
    assert taken + list(iterator) == sampler.draw(0, N).tolist()
    only_draws = DiaSampler(N)
    for segment in range(1, 6):
        only_draws.set_weights(weights(segment), start=segment * 10)
        only_draws.draw(segment * 10, segment * 10 + 20)
    held = [each["start"] for each in only_draws.state_dict()["segments"]]
    assert held == [40, 50]


def test_the_stream_is_read_in_blocks_also_after_new_weights(monkeypatch):
    sampler = DiaSampler(N)
    reads, draw = [], sampler.draw
    monkeypatch.setattr(sampler, "draw", lambda *place: reads.append(place) or draw(*place))
    iterator = iter(sampler)
    next(iterator)
    sampler.set_weights(weights())
    list(iterator)
    assert reads == [(0, 16), *((start, min(start + 16, N)) for start in range(1, N, 16))]


def test_a_position_already_handed_out_is_refused():
    sampler = DiaSampler(N)
    list(islice(sampler, 10))
    with pytest.raises(ValueError, match="at least 10"):
        sampler.set_weights(weights(), start=9)
    assert sampler.probabilities_at(50) is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_named_position_is_exact_under_prefetching_workers(num_workers):
    batch, start = 10, 60  # set after 1 batch; two workers have asked for 5 by then
    sampler = DiaSampler(N, seed=2)
    loader = DataLoader(Identity(), batch_size=batch, sampler=sampler, num_workers=num_workers)
    seen = []
    for step, indices in enumerate(loader):
        seen += indices.tolist()
        if step == 0:
            sampler.set_weights(weights(), start=start)
    reference = DiaSampler(N, seed=2)
    reference.set_weights(weights(), start=start)
    assert seen == reference.draw(0, N).tolist()


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("world_size", [1, 3])
def test_batches_are_those_of_torch(drop_last, world_size):
    for ours, theirs in zip(ranks(world_size), ranks(world_size), strict=True):
        batches = DiaBatchSampler(ours, 7, drop_last)
        expected = torch.utils.data.BatchSampler(theirs, 7, drop_last)
        assert len(batches) == len(expected)
        for _ in range(2):
            assert list(batches) == list(expected)


def test_batches_in_a_loader_and_resumed():
    sampler = DiaSampler(N)
    loader = DataLoader(Identity(), batch_sampler=DiaBatchSampler(sampler, 8))
    iterator = iter(loader)
    seen = [next(iterator).tolist() for _ in range(5)]
    state = sampler.state_dict()
    assert state["position"] == 40
    restored = DiaBatchSampler(DiaSampler(N), 8)
    restored.sampler.load_state_dict(state)
    restored.set_epoch(0)
    assert [*chain(*seen, *restored)] == sampler.draw(0, N).tolist()
    with pytest.raises(ValueError, match="batch_size"):
        DiaBatchSampler(sampler, 0)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("world_size", RANKS)
def test_batches_move_the_position_as_they_are_handed_out(drop_last, world_size):
    for sampler in ranks(world_size):
        batches = DiaBatchSampler(sampler, 7, drop_last)
        for number, batch in enumerate(batches, start=1):
            reached = number * 7 * world_size
            if len(batch) < 7 or number * 7 == len(sampler):
                reached = N
            assert sampler.position == reached
        assert sampler.position == N


@pytest.mark.parametrize("world_size", RANKS)
@pytest.mark.parametrize("start", [None, 30, 60])
def test_new_weights_act_from_the_next_batch_or_a_named_position_on(world_size, start):
    samplers = ranks(world_size)
    shards = []
    for sampler in samplers:
        iterator = iter(DiaBatchSampler(sampler, 2))
        part = next(iterator)
        sampler.set_weights(weights(), start)
        shards.append([*part, *chain(*iterator)])
    reference = DiaSampler(N)
    reference.set_weights(weights(), start=2 * world_size if start is None else start)
    assert interleaved(shards) == reference.draw(0, N).tolist()


def test_batches_that_were_abandoned_are_not_taken_up_again():
    batches = DiaBatchSampler(DiaSampler(N), 8)
    old = iter(batches)
    next(old)
    assert [*chain(*batches)] == batches.sampler.draw(N, 2 * N).tolist()
    next(old)
    assert batches.sampler.position == 2 * N
    batches.set_epoch(5)
    assert [*chain(*batches)] == batches.sampler.draw(5 * N, 6 * N).tolist()


# ---------------------------------------------------------------------- edges and bad input


def test_a_single_sample():
    sampler = DiaSampler(1)
    sampler.set_weights([5], start=2)
    assert sampler.draw(0, 6).tolist() == [0] * 6
    assert [list(sampler) for _ in range(3)] == [[0]] * 3


def test_global_random_state_is_not_touched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sampler = DiaSampler(N)
    sampler.set_weights(weights())
    list(sampler)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["num_samples", "seed", "rank", "world_size"])
@pytest.mark.parametrize("value", [1.5, 2.0, "2", None])
def test_numbers_that_are_not_whole_are_refused(name, value):
    with pytest.raises(TypeError, match=f"`{name}` must be a whole number, but got"):
        DiaSampler(**{"num_samples": N, "world_size": 3, name: value})
    with pytest.raises(TypeError, match="`batch_size` must be a whole number"):
        DiaBatchSampler(DiaSampler(N), value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"seed": -1}, "seed"),
        ({"method": "random"}, r"one of \('systematic', 'iid'\), but got 'random'"),
        ({"shard": "both"}, "shard"),
        ({"world_size": 0}, "world_size"),
        ({"rank": 2, "world_size": 2}, r"`rank` must be in \[0, 2\), but got 2"),
        ({"rank": -1}, "rank"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        DiaSampler(**({"num_samples": N} | options))


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (np.full(N, -1.0), ValueError, "negative"),
        (np.full(N, np.nan), ValueError, "nan at index 0"),
        (torch.full((N,), torch.inf), ValueError, "inf"),
        (np.zeros(N), ValueError, "all zero"),
        (np.ones(N - 1), ValueError, "each of the 101 samples, but got 100"),
        (np.ones((N, 1)), ValueError, r"\[N\]"),
        (np.ones(N, dtype=bool), TypeError, "bool"),
        (torch.ones(N, dtype=torch.bool), TypeError, "bool"),
        (np.ones(N, dtype=complex), TypeError, "complex"),
        (torch.ones(N, dtype=torch.complex64), TypeError, "complex"),
        (np.array(["1"] * N), TypeError, "real numbers"),
    ],
)
def test_bad_weights_are_refused_and_change_nothing(bad, error, match):
    sampler = DiaSampler(N)
    with pytest.raises(error, match=match):
        sampler.set_weights(bad, start=0)
    np.testing.assert_array_equal(sampler.draw(0, N), DiaSampler(N).draw(0, N))


def test_bad_ranges_are_refused():
    sampler = DiaSampler(N)
    for start, stop in ((-1, 3), (5, 4)):
        with pytest.raises(ValueError, match="start"):
            sampler.draw(start, stop)
    with pytest.raises(ValueError, match="epoch"):
        sampler.set_epoch(-1)
    with pytest.raises(ValueError, match="start"):
        sampler.set_weights(weights(), start=-1)
    with pytest.raises(ValueError, match="position"):
        sampler.state_dict(position=-1)
    with pytest.raises(TypeError, match="`position` must be a whole number"):
        sampler.state_dict(position=2.5)
