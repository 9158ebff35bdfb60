from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as legacy_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Subset, TensorDataset

from diagan_plugin.recording.sweep import sweep, sweep_order
from gan_registry.datasets.fetching import fetch
from gan_registry.seeding import seeded_rng


class Vectors:
    """Batched access only; counts how it is read."""

    def __init__(self, n: int, dim: int = 3, noisy: bool = False) -> None:
        self.x = torch.randn(n, dim, generator=torch.Generator().manual_seed(n))
        self.y = torch.arange(n) % 4
        self.noisy = noisy
        self.batches: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        raise AssertionError("read item by item")

    def __getitems__(self, indices) -> tuple[Tensor, Tensor]:
        self.batches.append(list(indices))
        x = self.x[torch.as_tensor(indices)]
        if self.noisy:
            x = x + torch.rand(()) + float(np.random.rand()) + random.random()  # noqa: NPY002
        return x, self.y[torch.as_tensor(indices)]


def rng_states() -> tuple[bytes, tuple, tuple]:
    numpy_state = np.random.get_state()  # noqa: NPY002
    return (
        torch.get_rng_state().numpy().tobytes(),
        (numpy_state[0], numpy_state[1].tobytes(), *numpy_state[2:]),
        random.getstate(),
    )


def run(data, net, mode="auto", logits=None, **changes) -> Tensor:
    settings = {"batch_size": 8, "seed": 1, "step": 0, "device": "cpu", **changes}
    logits = logits or (lambda x, y: net(x))
    return sweep(logits, data, discriminator=net, mode=mode, **settings)


def dropout_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        spectral_norm(nn.Linear(3, 8)),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        legacy_spectral_norm(nn.Linear(8, 1)),
    )


class Coordinate(nn.Module):
    """D(x) = the first coordinate, from which a sample can be recognised."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


# --- what is recorded ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 32, 33, 100])
def test_eval_logits_equal_a_direct_forward(n):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))
    net(torch.randn(64, 3) * 3 + 1)
    data = Vectors(n)
    got = run(data, net, "eval")
    with torch.no_grad():
        want = net.eval()(data.x).flatten()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["eval", "train", "batchstat"])
@pytest.mark.parametrize("n", [8, 9, 15, 16, 50])
def test_every_sample_is_recorded_once_at_its_own_place_in_full_batches(mode, n):
    data = Vectors(n)
    got = run(data, Coordinate(), mode, batch_size=8)
    assert torch.equal(got, data.x[:, 0])
    flat = [i for batch in data.batches for i in batch]
    assert sorted(set(flat)) == list(range(n))
    if mode == "eval":
        assert flat == list(range(n))  # index order, no extra work
    else:
        assert flat[:n] != sorted(flat[:n])
        assert all(len(batch) == len(set(batch)) == 8 for batch in data.batches)
        assert len(data.batches) == -(-n // 8)


def test_batchstat_logits_equal_those_of_the_composition_by_hand():
    net = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Dropout(0.9), nn.Linear(3, 1)).train()
    data = Vectors(21)
    got = run(data, net, "batchstat", batch_size=8, seed=5, step=300)
    want = np.full(21, np.nan)
    x = data.x.double().numpy()
    w, b = net[2].weight.detach().double().numpy()[0], net[2].bias.item()
    for batch in data.batches:
        part = x[batch]
        z = (part - part.mean(0)) / np.sqrt(part.var(0) + 1e-5)
        for index, value in zip(batch, z @ w + b, strict=True):
            if np.isnan(want[index]):  # fill comes last: its logits don't count
                want[index] = value
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)


def test_logits_need_not_be_float32_or_flat():
    data = Vectors(10)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        got = run(data, Coordinate(), "train", lambda x, y, d=dtype: x[:, :1].to(d))
        assert got.shape == (10,)
        assert got.dtype == torch.float32
        assert torch.equal(got, data.x[:, 0].to(dtype).float())


def test_nan_logits_stay_with_their_sample():
    data = Vectors(20)
    data.x[13, 0] = float("nan")
    data.x[4, 0] = float("inf")
    got = run(data, Coordinate(), "train")
    assert got.isnan().nonzero().flatten().tolist() == [13]
    assert got.isinf().nonzero().flatten().tolist() == [4]


def test_labels_reach_the_discriminator():
    data = Vectors(30)
    got = run(data, Coordinate(), "train", lambda x, y: y.float())
    assert torch.equal(got, data.y.float())


# --- a part of the dataset ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_subset_comes_back_in_the_order_asked_for(mode, kind):
    data, wanted = Vectors(40), [31, 2, 17, 5, 39, 0, 8, 9, 10, 11, 12]
    got = run(data, Coordinate(), mode, indices=kind(wanted))
    assert torch.equal(got, data.x[wanted, 0])


def test_a_subset_smaller_than_a_batch_is_filled_up_from_the_rest_of_the_data():
    data = Vectors(40)
    got = run(data, Coordinate(), "batchstat", indices=[3, 30], batch_size=16)
    assert torch.equal(got, data.x[[3, 30], 0])
    (batch,) = data.batches
    assert len(set(batch)) == 16
    assert set(batch[:2]) == {3, 30}


def test_a_dataset_smaller_than_a_batch_and_nothing_at_all():
    data = Vectors(5)
    assert torch.equal(run(data, Coordinate(), "train", batch_size=16), data.x[:, 0])
    assert [len(batch) for batch in data.batches] == [5]
    assert run(data, Coordinate(), "train", indices=[]).shape == (0,)
    assert run(Vectors(0), Coordinate(), "train").shape == (0,)


def test_order_is_a_function_of_seed_and_step():
    wanted = np.arange(100)
    _, base = sweep_order(wanted, 100, 16, seed=3, step=200)
    _, again = sweep_order(wanted, 100, 16, seed=3, step=200)
    _, other_step = sweep_order(wanted, 100, 16, seed=3, step=201)
    _, other_seed = sweep_order(wanted, 100, 16, seed=4, step=200)
    assert np.array_equal(base, again)
    assert not np.array_equal(base, other_step)
    assert not np.array_equal(base, other_seed)


def test_composition_is_even():
    # Over many steps any two samples meet in a batch equally often: (B−1)/(N−1) of the time.
    meetings = np.zeros((24, 24))
    for step in range(600):
        _, order = sweep_order(np.arange(24), 24, 8, seed=0, step=step)
        for batch in order.reshape(-1, 8):
            meetings[np.ix_(batch, batch)] += 1
    share = meetings[~np.eye(24, dtype=bool)] / 600
    expected = 7 / 23
    assert np.abs(share - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 600)


# --- no trace -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "eval", "train", "batchstat"])
def test_random_state_flags_buffers_and_gradients_are_untouched(mode):
    net, data = dropout_net(), Vectors(30, noisy=True)
    net(torch.randn(4, 3))
    states = rng_states()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    got = run(data, net, mode)
    assert rng_states() == states
    assert net.training
    assert all(module.training for module in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not got.requires_grad


def test_random_state_is_restored_after_an_exception():
    def broken(x, y):
        torch.rand(3)
        raise RuntimeError("D is broken")

    net, states = dropout_net(), rng_states()
    states = rng_states()
    with pytest.raises(RuntimeError, match="D is broken"):
        run(Vectors(9, noisy=True), net, "eval", broken, batch_size=4)
    assert rng_states() == states
    assert net.training


def test_dropout_and_augmentation_follow_from_seed_and_step_alone():
    net = dropout_net()
    torch.manual_seed(1)
    first = run(Vectors(30, noisy=True), net, "train", step=100)
    torch.manual_seed(2)
    random.seed(5)
    assert torch.equal(run(Vectors(30, noisy=True), net, "train", step=100), first)
    assert not torch.equal(run(Vectors(30, noisy=True), net, "train", step=101), first)
    assert not torch.equal(run(Vectors(30, noisy=True), net, "train", step=100, seed=2), first)


def test_seeded_rng_gives_the_purpose_its_own_numbers():
    def draw(*purpose):
        with seeded_rng("cpu", 7, *purpose):
            return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002

    assert draw("a", 1) == draw("a", 1)
    assert len({value for purpose in ("a", "b") for value in draw(purpose, 1)}) == 6


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generator_is_restored_and_logits_arrive_on_the_device():
    net, data = dropout_net().cuda(), Vectors(30)
    state = torch.cuda.get_rng_state()
    got = run(data, net, "train", device="cuda")
    assert got.is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_no_operation_waits_for_the_device():
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.overloadpacket not in (
                torch.ops.aten._local_scalar_dense,
                torch.ops.aten.nonzero,
                torch.ops.aten.is_nonzero,
                torch.ops.aten.equal,
            ), func
            return func(*args, **(kwargs or {}))

    net, data = dropout_net(), Vectors(30)
    for mode in ("eval", "train", "batchstat"):
        with Watch():
            run(data, net, mode)


# --- reading datasets ---------------------------------------------------------------------------


class Items:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_datasets_of_every_kind():
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    pick = np.array([4, 1, 5])
    for data in (
        TensorDataset(x, y),
        Subset(TensorDataset(x, y), range(6)),
        Items([(x[i], i) for i in range(6)]),
        Items([[x[i].numpy(), int(i), "name"] for i in range(6)]),
    ):
        got_x, got_y = fetch(data, pick)
        assert torch.equal(got_x, x[pick])
        assert torch.equal(got_y, y[pick])
    for data in (TensorDataset(x), Items(list(x)), Items([(row,) for row in x])):
        got_x, got_y = fetch(data, pick)
        assert torch.equal(got_x, x[pick])
        assert got_y is None


def test_a_batch_of_two_items_is_not_taken_for_a_pair():
    x = torch.arange(6.0).reshape(3, 2)
    got_x, got_y = fetch(Subset(Items(list(x)), range(3)), np.array([0, 2]))
    assert torch.equal(got_x, x[[0, 2]])
    assert got_y is None


def test_items_that_are_not_understood():
    with pytest.raises(TypeError, match="Argument `dataset` must give items"):
        fetch(Items([{"image": torch.zeros(2)}]), np.array([0]))
    with pytest.raises(TypeError, match="Argument `dataset` must give items"):
        fetch(Items(["text"]), np.array([0]))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"eval_batch_size": 0}, "`eval_batch_size` must be at least 1"),
        ({"mode": "best"}, "`mode` must be one of"),
        ({"indices": [0, 10]}, r"`indices` must lie in \[0, 10\)"),
        ({"indices": [-1]}, r"`indices` must lie in \[0, 10\)"),
        ({"indices": [0.5]}, "`indices` must be one-dimensional and integer"),
        ({"indices": [[1]]}, "`indices` must be one-dimensional and integer"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        run(Vectors(10), Coordinate(), **kwargs)


def test_one_logit_for_each_sample():
    net = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="one logit for each of 10 samples, but got the shape"):
        run(Vectors(10), net, "eval")


# --- several ranks ------------------------------------------------------------------------------


class OneOf:
    """A rank whose sum over the ranks is left to the test."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor


@pytest.mark.parametrize("mode", ["eval", "batchstat"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_share_the_batches_and_together_equal_one_process(mode, world_size):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    data = Vectors(50)
    whole = run(data, net, mode)
    parts = [run(data, net, mode, ranks=OneOf(r, world_size)) for r in range(world_size)]
    assert torch.equal(sum(parts), whole)
    assert ((torch.stack(parts) != 0).sum(0) == 1).all()  # nobody does another's work
