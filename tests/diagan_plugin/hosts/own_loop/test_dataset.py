"""Datasets as users have them: mappings, PIL images, streams; and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from diagan_plugin import Dia
from diagan_plugin.hosts.own_loop.keys import StreamKeys

N, BATCH = 40, 10


class Items(torch.utils.data.Dataset):
    """A dataset that makes each of its items by a function of its index."""

    def __init__(self, make, at_once: bool = False) -> None:
        self.make = make
        if at_once:  # as Hugging Face's datasets do
            self.__getitems__ = lambda indices: [make(i) for i in indices]

    def __len__(self) -> int:
        return N

    def __getitem__(self, i):
        return self.make(i)


def train(dia: Dia, network: nn.Module, steps: int = 8) -> list:
    batches = []
    while dia.step_count < steps:
        for batch in DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler):
            batches.append(batch)
            dia.sweep(network)
            dia.step()
    return batches


def make(dataset, **options) -> Dia:
    return Dia(
        dataset,
        **{"total_steps": 8, "batch_size": BATCH, "record_every": 1, "window": 2, **options},
    )


@pytest.mark.parametrize("at_once", [False, True])
def test_items_that_are_mappings_work(at_once):
    items = Items(lambda i: {"img": torch.full((2,), float(i)), "label": i % 3}, at_once)
    dia, network = make(items), nn.Linear(2, 1)
    batches = train(dia, network)
    assert all(torch.equal(b["img"][:, 0], b["index"].float()) for b in batches)
    expected = network(torch.arange(N, dtype=torch.float32)[:, None].expand(N, 2)).flatten()
    np.testing.assert_allclose(dia.diagnosis().ldrm, expected.detach(), rtol=1e-5)


def test_items_of_any_other_form_are_taken_apart_by_the_user():
    items = Items(lambda i: {"photo": np.full((2,), i, np.float32), "kind": "cat"})
    with pytest.raises(TypeError, match=r"\['kind', 'photo'\].*item=lambda"):
        make(items)
    train(make(items, item=lambda i: i["photo"]), nn.Linear(2, 1))
    with pytest.raises(ValueError, match="rename"):
        make(Items(lambda i: {"img": torch.zeros(2), "index": i}))


def test_labels_that_are_no_numbers_are_left_out():
    train(make(Items(lambda i: (torch.zeros(2), "cat"))), nn.Linear(2, 1))


def test_pil_images_are_named_with_the_remedy():
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 4))
    for item in (image, (image, 3), {"image": image}):
        with pytest.raises(TypeError, match=r"PIL image.*ToTensor"):
            make(Items(lambda i, item=item: item))
    with pytest.raises(TypeError, match=r"holds str; .*item=lambda"):
        make(Items(lambda i: "a.png"))


def test_a_stream_is_named_with_the_remedy():
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.zeros(2)

    for dataset in (Stream(), iter([torch.zeros(2)])):
        with pytest.raises(TypeError, match=r"stream.*StreamKeys.*dia\.weights"):
            make(dataset)


def test_epochs_stand_for_steps():
    assert make(Items(lambda i: torch.zeros(2)), total_steps=None, epochs=3)._run.total_steps == 12
    for wrong in ({"epochs": 3}, {"total_steps": None}):
        with pytest.raises(ValueError, match="one of the arguments"):
            make(Items(lambda i: torch.zeros(2)), **wrong)
    with pytest.raises(ValueError, match="`epochs` must be at least 1"):
        make(Items(lambda i: torch.zeros(2)), total_steps=None, epochs=0)


class Conditional(nn.Module):
    """A discriminator whose logit is linear in x, with another slope for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Embedding(3, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.slopes(y) * x).sum(1, keepdim=True)


def labelled() -> TensorDataset:
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, torch.arange(N) % 3)


@pytest.mark.parametrize(
    "conditional", [True, lambda network, x, y: {"logits": network(x, y)}], ids=["D(x, y)", "call"]
)
def test_labels_reach_a_conditional_discriminator_in_sweeps(conditional):
    data, network = labelled(), Conditional()
    dia = make(data, conditional=conditional)
    train(dia, network)
    expected = network(*data.tensors).detach().flatten()
    np.testing.assert_allclose(dia.diagnosis().ldrm, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("aux", ["uniform", "importance"])
def test_labels_reach_the_auxiliary_discriminator_and_rejection(aux):
    network = Conditional()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    dia = make(labelled(), conditional=True, aux=aux)
    while dia.step_count < 8:
        for x, y, index in DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler):
            with pytest.raises(ValueError, match="labels"):
                dia.update(network, optimizer, index, torch.zeros(BATCH, 2), x)
            fake_y = torch.full((BATCH,), 2)
            more = {"labels": y, "fake_labels": fake_y}
            dia.update(network, optimizer, index, torch.ones(BATCH, 2), x, **more)
            dia.step()
    auxiliary = dia._run.additions["dia.auxiliary"]
    moved = (auxiliary.network.slopes.weight - network.slopes.weight).detach()
    assert (moved != 0).any(1).all()  # each class has learnt
    with pytest.raises(ValueError, match="their labels"):
        list(dia.rejection(lambda n: torch.ones(n, 2), burn_in=10).sample(1))
    y = torch.tensor([0, 1, 2]).repeat(4)[:10]
    source = dia.rejection(
        lambda n: (torch.ones(n, 2), y[:n]), burn_in=10, batch_size=10, gamma=0.0, floor=0
    )  # fmt: skip
    list(source.sample(1))
    expected = auxiliary.network(torch.ones(10, 2), y).detach().max()
    assert source.max_logit == pytest.approx(float(expected), rel=1e-5)


def test_a_stream_is_recorded_by_its_keys_and_weighted_in_the_loss(tmp_path):
    """Key i is given the logit i / 10 in any order; the weights are those of the scores."""
    keys = StreamKeys(100)  # more room than there are samples
    dia = Dia(keys, total_steps=40, batch_size=BATCH, k=0.0)
    rng = torch.Generator().manual_seed(0)
    while dia.step_count < 40:
        order = torch.randperm(N, generator=rng)
        for batch in order.split(BATCH):
            index = keys([f"sample {i}" for i in batch.tolist()])
            if dia.phase == 1:
                assert torch.equal(dia.weights(index), torch.ones(BATCH))
            dia.observe(index, batch[:, None] / 10)
            dia.step()
    assert (keys.seen, dia.warnings) == (N, [])
    everything = torch.arange(N)
    numbers = np.array([int(keys.key(i).split()[1]) for i in range(N)])
    scores = np.clip(numbers / 10, 0.01, 0.5)
    np.testing.assert_allclose(dia.weights(everything), scores / scores.mean(), rtol=1e-5)
    assert dia.report(tmp_path / "report.html").exists()
    with pytest.raises(ValueError, match="more than 100 keys"):
        keys(range(100))
    other = StreamKeys(100)
    again = Dia(other, total_steps=40, batch_size=BATCH, k=0.0)
    again.load_state_dict(dia.state_dict())
    assert other.key(3) == keys.key(3)
    torch.testing.assert_close(again.weights(everything), dia.weights(everything))


def test_weights_in_the_loss_are_for_streams():
    with pytest.raises(ValueError, match=r"dia\.sampler"):
        make(labelled()).weights(torch.arange(3))
    with pytest.raises(ValueError, match="groups"):
        Dia(StreamKeys(9), total_steps=9, batch_size=3, groups=[0] * 9)
