"""LDRTracker against a float64 two-pass recomputation of each sample's list of records."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from diagan_plugin.recording import tracker as module
from diagan_plugin.recording.tracker import LDRTracker


class Reference:
    """Keeps every record in a Python list, and does nothing clever."""

    def __init__(self, num_samples, window):
        self.records = [[] for _ in range(num_samples)]
        self.window = window

    def record(self, indices, values):
        for i, v in zip(np.asarray(indices).tolist(), np.asarray(values).tolist(), strict=True):
            if np.isfinite(v):
                self.records[i].append(v)

    def kept(self):
        return [np.array(r if self.window is None else r[-self.window :]) for r in self.records]

    def check(self, tracker, rtol=1e-12):
        kept = self.kept()
        count = [len(r) for r in kept]
        mean = [r.mean() if len(r) else np.nan for r in kept]
        variance = [r.var(ddof=1) if len(r) > 1 else np.nan for r in kept]
        np.testing.assert_array_equal(tracker.count.numpy(), count)
        np.testing.assert_array_equal(tracker.total.numpy(), [len(r) for r in self.records])
        np.testing.assert_allclose(tracker.mean.numpy(), mean, rtol=rtol, atol=1e-13)
        np.testing.assert_allclose(tracker.variance.numpy(), variance, rtol=rtol, atol=1e-13)


@pytest.fixture(params=[50, 3, 1, None], ids=lambda w: f"window={w}")
def window(request):
    return request.param


@pytest.mark.parametrize("seed", range(3))
def test_mixed_recording_matches_recomputation(window, seed):
    rng = np.random.default_rng(seed)
    n = 40
    tracker, reference = LDRTracker(n, window), Reference(n, window)
    for _ in range(150):
        if rng.random() < 0.3:
            indices, values = np.arange(n), rng.normal(3, 2, n).astype(np.float32)
            values[rng.random(n) < rng.choice([0.0, 0.1])] = np.nan
            tracker.record_all(torch.from_numpy(values))
        else:
            size = int(rng.integers(0, 30))
            indices = rng.integers(0, rng.choice([3, n]), size)  # often with many duplicates
            values = rng.normal(3, 2, size).astype(np.float32)
            values[rng.random(size) < 0.1] = np.inf
            tracker.record(torch.from_numpy(indices), torch.from_numpy(values))
        reference.record(indices, values)
    reference.check(tracker)


@settings(max_examples=60, deadline=None)
@given(
    window=st.sampled_from([1, 2, 5, None]),
    batches=st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 4),
                st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
            ),
            max_size=12,
        ),
        max_size=8,
    ),
)
def test_any_batches_match_recomputation(window, batches):
    tracker, reference = LDRTracker(5, window), Reference(5, window)
    bad = []
    for batch in batches:
        indices, values = [i for i, _ in batch], [v for _, v in batch]
        bad += [i for i, v in batch if not np.isfinite(v)]
        tracker.record(indices, np.asarray(values, dtype=np.float32))
        reference.record(indices, np.asarray(values, dtype=np.float32))
    # Hypothesis likes values that differ by 1e-38 or cancel: compare on the scale of the values.
    kept = reference.kept()
    for i, records in enumerate(kept):
        assert tracker.count[i] == len(records)
        if len(records):
            assert tracker.mean[i].item() == pytest.approx(records.mean(), abs=1e-11)
        if len(records) > 1:
            assert tracker.variance[i].item() == pytest.approx(records.var(ddof=1), abs=1e-9)
    assert tracker.non_finite_count == len(bad)
    assert tracker.non_finite_indices == bad[:10]


def test_a_hundred_thousand_records_do_not_drift(window):
    # A large mean with a small spread is where running sums lose everything.
    rng = np.random.default_rng(7)
    n, steps = 3, 100_000
    values = rng.normal(1e4, 0.5, (steps, n)).astype(np.float32)
    tracker = LDRTracker(n, window)
    every = torch.arange(n)
    for step in range(0, steps, 500):  # batches with 500 records of each sample, and single sweeps
        block = torch.from_numpy(values[step : step + 500])
        if step % 5000:
            tracker.record(every.repeat(500), block.flatten())
        else:
            for row in block:
                tracker.record_all(row)
    kept = values.astype(np.float64)[-(window or steps) :]
    np.testing.assert_allclose(tracker.mean.numpy(), kept.mean(0), rtol=1e-12)
    if window != 1:
        np.testing.assert_allclose(tracker.variance.numpy(), kept.var(0, ddof=1), rtol=1e-9)
    assert tracker.total.tolist() == [steps] * n


def test_duplicates_in_one_batch_are_recorded_in_order():
    tracker = LDRTracker(4, window=2)
    tracker.record([2, 0, 2, 2, 0, 2], [1.0, 10.0, 2.0, 3.0, 20.0, 7.0])
    assert tracker.count.tolist() == [2, 0, 2, 0]
    assert tracker.mean[2] == 5.0  # the last two of four: 3 and 7
    assert tracker.variance[2] == 8.0
    assert tracker.mean[0] == 15.0


class RingWrites(TorchDispatchMode):
    """Collects the slots that are written to."""

    def __init__(self):
        super().__init__()
        self.slots = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ == "scatter_" and args[0].dtype == torch.float32:
            self.slots += args[2].tolist()
        return func(*args, **(kwargs or {}))


def test_no_slot_is_written_twice_in_a_batch():
    # The order of such writes is not defined on a GPU, nor on a CPU with several threads.
    tracker = LDRTracker(3, window=4)
    for _ in range(3):
        with RingWrites() as writes:
            tracker.record([1] * 11 + [0, 2, 0], torch.arange(14.0))
        stored = [slot for slot in writes.slots if slot < 3 * 4]
        assert len(stored) == len(set(stored)) == 4 + 1 + 2
    assert tracker.mean[1] == (7 + 8 + 9 + 10) / 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1, 1)])
def test_dtypes_and_shapes(window, dtype, shape):
    values = torch.tensor([0.5, -1.25, 3.0], dtype=dtype).reshape(shape).requires_grad_()
    tracker = LDRTracker(4, window)
    tracker.record(torch.tensor([3, 0, 1], dtype=torch.int32), values)
    assert tracker.mean.dtype == tracker.variance.dtype == torch.float64
    assert tracker.count.dtype == torch.int64
    assert not tracker.mean.requires_grad
    np.testing.assert_array_equal(tracker.mean.numpy(), [-1.25, 3.0, np.nan, 0.5])
    assert tracker.variance.isnan().all()

    sweep = LDRTracker(3, window)
    sweep.record_all(values)
    assert sweep.mean.tolist() == [0.5, -1.25, 3.0]


def test_running_moments_keep_float64_values():
    values = torch.tensor([1.0, 1.0 + 1e-10, 1.0 + 3e-10], dtype=torch.float64)
    tracker = LDRTracker(1, window=None)
    tracker.record([0, 0, 0], values)
    assert tracker.variance.item() == pytest.approx(values.var().item(), rel=1e-5)


def test_empty_and_single(window):
    tracker = LDRTracker(1, window)
    tracker.record(torch.empty(0, dtype=torch.int64), torch.empty(0, 1))
    tracker.record([], [])
    assert tracker.count.tolist() == [0]
    assert tracker.mean.isnan().all()
    tracker.record([0], [2.5])
    assert tracker.mean.tolist() == [2.5]
    assert tracker.variance.isnan().all()


def test_non_finite_values_are_counted_and_not_stored(window):
    tracker = LDRTracker(30, window)
    tracker.record([5, 5, 6], torch.tensor([1.0, torch.nan, torch.inf]))
    sweep = torch.zeros(30)
    sweep[10:25] = -torch.inf
    tracker.record_all(sweep)
    tracker.record([7], torch.tensor([1e300], dtype=torch.float64))  # overflows float32
    assert tracker.non_finite_count == 2 + 15 + 1
    assert tracker.non_finite_indices == [5, 6, *range(10, 18)]
    assert tracker.mean.nan_to_num().isfinite().all()
    assert tracker.total[5] == 2
    assert tracker.total[10:25].sum() == 0
    assert tracker.mean[7] == 0.0


@pytest.mark.parametrize("bad", [2, 6, 9])
def test_a_sweep_goes_on_after_a_value_in_any_part_that_is_not_finite(window, bad, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)
    tracker, reference = LDRTracker(10, window), Reference(10, window)
    rng = np.random.default_rng(bad)
    for number in range(9):
        values = rng.normal(3.0, 2.0, 10)
        values = values.astype(np.float32).astype(np.float64)  # what a window keeps
        if number in (3, 6):
            values[bad] = np.nan
        tracker.record_all(values)
        reference.record(np.arange(10), values)
        reference.check(tracker)
    assert tracker.non_finite_indices == [bad, bad]


def test_values_whose_sum_overflows_are_recorded(window):
    tracker, reference = LDRTracker(4, window), Reference(4, window)
    for size in (3e38, -3e38):
        values = torch.full((4,), size)
        tracker.record_all(values)
        reference.record(np.arange(4), values.double())
    assert tracker.non_finite_count == 0
    np.testing.assert_array_equal(tracker.count, [2 if window != 1 else 1] * 4)
    mean = [np.mean(kept) for kept in reference.kept()]
    np.testing.assert_allclose(tracker.mean, mean, rtol=1e-12)


def test_recording_leaves_the_values_alone(window):
    values = torch.arange(4.0, dtype=torch.float64)
    tracker = LDRTracker(4, window)
    for _ in range(3):
        tracker.record_all(values)
        tracker.record(torch.arange(4), values)
    assert values.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_reading_between_records_is_never_stale(window):
    tracker, reference = LDRTracker(4, window), Reference(4, window)
    for step in range(5):
        values = torch.arange(4.0) * step
        for record, indices in ((tracker.record_all, None), (tracker.record, torch.arange(4))):
            record(values) if indices is None else record(indices, values)
            reference.record(np.arange(4), values)
            reference.check(tracker)
    tracker.mean.zero_()  # a copy: changing it changes nothing
    reference.check(tracker)


def test_state_goes_on_where_it_was_saved(window, tmp_path):
    rng = torch.Generator().manual_seed(0)
    original = LDRTracker(6, window)

    def feed(tracker, seed):
        rng.manual_seed(seed)
        for _ in range(20):
            index = torch.randint(0, 6, (5,), generator=rng)
            tracker.record(index, torch.randn(5, generator=rng))
            tracker.record_all(torch.randn(6, generator=rng))

    feed(original, 1)
    original.record([3], [torch.nan])
    torch.save(original.state_dict(), tmp_path / "state.pt")
    restored = LDRTracker(6, window)
    restored.record([0], [99.0])  # must be gone after loading
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for tracker in (original, restored):
        feed(tracker, 2)
    assert torch.equal(original.mean, restored.mean)
    assert torch.equal(original.variance.nan_to_num(), restored.variance.nan_to_num())
    assert torch.equal(original.total, restored.total)
    assert restored.non_finite_indices == [3]


def test_state_is_a_copy(window):
    tracker = LDRTracker(2, window)
    tracker.record_all([1.0, 2.0])
    state = tracker.state_dict()
    tracker.record_all([5.0, 6.0])
    restored = LDRTracker(2, window)
    restored.load_state_dict(state)
    assert restored.mean.tolist() == [1.0, 2.0]


def test_sweeps_after_loading_uneven_counts(window):
    tracker, reference = LDRTracker(3, window), Reference(3, window)
    tracker.record([1, 1], [2.0, 4.0])
    reference.record([1, 1], [2.0, 4.0])
    restored = LDRTracker(3, window)
    restored.load_state_dict(tracker.state_dict())
    for step in range(4):
        values = np.array([1.0, 2.5, -3.0]) * step
        restored.record_all(values)
        reference.record(range(3), values)
        reference.check(restored)


def test_state_of_another_tracker_is_refused():
    state = LDRTracker(5, window=3).state_dict()
    with pytest.raises(ValueError, match="num_samples 5"):
        LDRTracker(6, window=3).load_state_dict(state)
    with pytest.raises(ValueError, match="window 3"):
        LDRTracker(5, window=None).load_state_dict(state)
    with pytest.raises(ValueError, match="version"):
        LDRTracker(5, window=3).load_state_dict({})


def test_reset_forgets_everything(window):
    tracker = LDRTracker(2, window)
    tracker.record_all([1.0, torch.nan])
    tracker.reset()
    assert tracker.count.tolist() == [0, 0]
    assert tracker.non_finite_count == 0
    assert tracker.non_finite_indices == []
    tracker.record_all([3.0, 4.0])
    assert tracker.mean.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("lengths", [(4, 3), (120, 10), (10, 120), (0, 60)])
@pytest.mark.parametrize("even", [False, True])
def test_merging_equals_recording_one_after_the_other(window, lengths, even):
    rng = np.random.default_rng(0)
    parts = [LDRTracker(5, window) for _ in lengths]
    reference = Reference(5, window)
    for part, length in zip(parts, lengths, strict=True):
        for _ in range(length):
            values = rng.normal(2, 3, 5).astype(np.float32)
            indices = np.arange(5) if even else rng.integers(0, 5, 5)
            part.record_all(values) if even else part.record(indices, values)
            reference.record(indices, values)
    parts[0].record([1], [np.nan])
    parts[1].record([4, 2], [np.inf, np.nan])
    parts[0].merge(parts[1])
    reference.check(parts[0], rtol=1e-10)
    assert parts[0].non_finite_count == 3
    assert parts[0].non_finite_indices == [1, 4, 2]
    parts[0].record([0], [1.5])  # the ring goes on at the right place
    reference.record([0], [1.5])
    reference.check(parts[0], rtol=1e-10)


def test_merging_another_size_is_refused():
    with pytest.raises(ValueError, match="5 samples with window 50"):
        LDRTracker(5).merge(LDRTracker(6))
    with pytest.raises(ValueError, match="window None"):
        LDRTracker(5, window=None).merge(LDRTracker(5))


class ForbidSynchronisation(TorchDispatchMode):
    """Fails on what would make a GPU wait or copy between devices."""

    forbidden = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "item")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert name not in self.forbidden, f"{name} waits for the device"
        assert not (name == "_to_copy" and kwargs.get("device") is not None), "device copy"
        assert not (name == "index" and any(_is_mask(i) for i in args[1])), "boolean indexing"
        return func(*args, **kwargs)


def _is_mask(index):
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def test_recording_never_waits_for_the_device(window):
    tracker = LDRTracker(10, window)
    with ForbidSynchronisation():
        for dtype in (torch.float16, torch.float32):
            tracker.record(torch.tensor([1, 1, 4]), torch.tensor([1.0, 2.0, torch.nan]).to(dtype))
            tracker.record_all(torch.randn(10).to(dtype))
    assert tracker.non_finite_count == 2
    with ForbidSynchronisation(), pytest.raises(AssertionError, match="waits"):
        _ = tracker.non_finite_count  # the mode does see a read


def test_recording_needs_no_data_on_the_host(window):
    # Meta tensors have no data: whatever depends on some raises.
    tracker = LDRTracker(10, window, device="meta")
    index = torch.zeros(4, dtype=torch.int64, device="meta")
    tracker.record(index, torch.zeros(4, 1, device="meta", dtype=torch.bfloat16))
    tracker.record_all(torch.zeros(10, device="meta"))
    assert tracker.mean.shape == tracker.variance.shape == (10,)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(window):
    trackers = [LDRTracker(20, window), LDRTracker(20, window, device="cuda")]
    rng = torch.Generator().manual_seed(0)
    for _ in range(30):
        index, value = torch.randint(0, 20, (16,), generator=rng), torch.randn(16, generator=rng)
        for tracker in trackers:
            tracker.record(index.to(tracker.device), value.to(tracker.device))
    torch.testing.assert_close(trackers[0].mean, trackers[1].mean.cpu(), equal_nan=True)
    torch.testing.assert_close(trackers[0].variance, trackers[1].variance.cpu(), equal_nan=True)


def test_memory_is_as_stated():
    moments = LDRTracker(1000, window=None)
    moments.record(torch.arange(1000), torch.randn(1000))
    assert moments.nbytes <= 24 * 1000
    ring = LDRTracker(1000, window=50)
    assert ring.nbytes <= (4 * 50 + 8) * 1000 + 8


@pytest.mark.parametrize(
    ("indices", "values", "error", "match"),
    [
        ([0, 5], [1.0, 2.0], ValueError, r"in \[0, 5\), but got 5"),
        ([0, -1], [1.0, 2.0], ValueError, "but got -1"),
        ([0, 1], [1.0], ValueError, r"\[2\] or \[2, 1\], but got \[1\]"),
        ([0, 1], torch.ones(2, 2), ValueError, "but got"),
        ([0], torch.tensor(1.0), ValueError, "but got"),
        ([[0], [1]], [1.0, 2.0], ValueError, r"must be \[B\]"),
        (torch.tensor([0.0]), [1.0], TypeError, "must be integers"),
        (torch.tensor([True]), [1.0], TypeError, "must be integers"),
        ([0], torch.tensor([1j]), TypeError, "real numbers"),
        ([0], torch.tensor([True]), TypeError, "real numbers"),
    ],
)
def test_bad_records_are_refused_and_change_nothing(indices, values, error, match):
    tracker = LDRTracker(5)
    with pytest.raises(error, match=match):
        tracker.record(indices, values)
    assert tracker.total.sum() == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_samples"):
        LDRTracker(0)
    with pytest.raises(ValueError, match="window"):
        LDRTracker(5, window=0)
    with pytest.raises(TypeError, match=r"`window` must be a whole number, but got 2\.5"):
        LDRTracker(5, window=2.5)
    with pytest.raises(TypeError, match="num_samples"):
        LDRTracker(5.0)
    with pytest.raises(ValueError, match="float64"):
        LDRTracker(5, device="mps")
    with pytest.raises(ValueError, match=r"\[5\] or \[5, 1\], but got \[4\]"):
        LDRTracker(5).record_all(torch.zeros(4))


@pytest.mark.parametrize("window", [None, 4])
def test_a_closed_tracker_keeps_the_statistics_and_nothing_else(window) -> None:
    tracker = LDRTracker(1000, window)
    for number in range(6):
        tracker.record_all(torch.randn(1000, generator=torch.Generator().manual_seed(number)))
    tracker.record([0, 1], [float("nan"), 3.0])
    open_state, statistics, count = tracker.state_dict(), tracker.statistics(), tracker.count
    tracker.close()
    assert tracker.nbytes == 24 * 1000
    other = LDRTracker(1000, window)
    other.load_state_dict(tracker.state_dict())
    for closed in (tracker, other):
        for before, after in zip(statistics, closed.statistics(), strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=0)
        torch.testing.assert_close(closed.count, count)
        assert closed.non_finite_indices == [0]
        for more in (
            lambda t=closed: t.record([0], [1.0]),
            lambda t=closed: t.record_all(torch.zeros(1000)),
            lambda t=closed: t.merge(LDRTracker(1000, window)),
            lambda t=closed: LDRTracker(1000, window).merge(t),
        ):
            with pytest.raises(RuntimeError, match="closed"):
                more()
    # An open state opens it again.
    other.load_state_dict(open_state)
    other.record([0], [1.0])
