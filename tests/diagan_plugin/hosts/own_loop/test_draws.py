"""A loader that does not draw by Dia's sampler is noticed, and so are labels given as indices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin import Dia

N, BATCH, STEPS, RARE = 400, 40, 120, 20


def make(**options) -> Dia:
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    x[:RARE] += 6
    return Dia(
        TensorDataset(x, torch.arange(N) % 10), total_steps=STEPS, batch_size=BATCH,
        groups=(np.arange(N) < RARE).astype(int), group_names=("usual", "rare"),
        **{"record_every": 8, "window": 5, **options},
    )  # fmt: skip


def train(dia: Dia, loader, steps: int = STEPS) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        while dia.step_count < steps:
            for x, *_ in loader:
                fake = torch.randn(BATCH, 2)
                loss = softplus(-network(x)).mean() + softplus(network(fake)).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                dia.sweep(network)
                dia.step()
                if dia.step_count == steps:
                    return


def test_a_loader_without_the_sampler_is_named_and_nothing_is_claimed(tmp_path, caplog):
    dia = make()
    train(dia, DataLoader(dia.dataset, batch_size=BATCH, shuffle=True))
    (warning,) = dia.warnings
    assert "DataLoader(dia.dataset, sampler=dia.sampler)" in warning
    assert caplog.records[0].getMessage().startswith("step 1:")
    text = dia.report(tmp_path / "report.html").read_text()
    assert "does not ask dia.sampler" in text
    assert "rare" in text  # the diagnosis itself stands
    for claim in ("Dia answered by drawing", "of the draws in phase 2", "Effective sample size"):
        assert claim not in text


def test_the_right_loader_is_not_suspected(caplog):
    dia = make()
    train(dia, DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler, num_workers=2))
    assert dia.warnings == []


def test_diagnosing_alone_takes_any_loader():
    dia = make(weighted=False)
    train(dia, DataLoader(dia.dataset, batch_size=BATCH, shuffle=True))
    assert dia.warnings == []


def test_batches_that_are_kept_and_used_again_are_noticed():
    dia = make()
    batches = list(DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler))
    train(dia, batches)
    assert "kept and used again" in dia.warnings[0]


def test_a_resumed_loop_is_not_suspected():
    first, network = make(), nn.Linear(2, 1)
    train(first, DataLoader(first.dataset, batch_size=BATCH, sampler=first.sampler), 30)
    second = make()
    second.sweep(network)
    second.load_state_dict(first.state_dict())
    train(second, DataLoader(second.dataset, batch_size=BATCH, sampler=second.sampler))
    assert second.warnings == []


@pytest.mark.parametrize("record", ["stream", "sweep"])
def test_labels_in_the_place_of_indices_are_refused(record):
    dia = make(record=record)
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters())

    def give(indices):
        if record == "stream":
            dia.observe(indices, network(torch.zeros(BATCH, 2)))
        else:
            dia.update(network, optimizer, indices, torch.zeros(BATCH, 2))

    for _x, label, _index in DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler):
        with pytest.raises(ValueError, match="not labels"):
            give(label)
        with pytest.raises(TypeError, match="not labels"):
            give(label.float())
        break
    for _x, _label, index in DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler):
        give(index)
        give(index)  # D is updated twice on a batch
        with pytest.raises(ValueError, match=r"\[0, 400\)"):
            give(index + N)
        with pytest.raises(ValueError, match=r"\[B\]"):
            give(index[None])
        break
