"""`Dia` in a loop of one's own and under Accelerate: the example files, and its seams for D."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import in_processes
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin import Dia

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
N, BATCH, STEPS, RARE = 120, 12, 40, 12
has_accelerate = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed"
)


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["plain_loop", "accelerate_loop", "lightning_gan"])
def test_an_example_is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


def test_the_plain_loop_runs_all_three_phases(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shares = example("plain_loop").main(steps=400, report=str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert set(shares) == {"plain", "drs"}
    # Weighted sampling makes the rare group, 5 % of the data, common; rejection sampling makes it
    # rare again. Measured are 14 % and 3 %.
    assert shares["plain"] > 0.05
    assert shares["drs"] < shares["plain"] / 2


class Loop:
    def __init__(self, seed=0, **options) -> None:
        x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
        x[:RARE] += 6
        options = {"record_every": 4, "window": 5, "aux": "uniform", **options}
        self.x = x
        self.dia = Dia(
            TensorDataset(x), total_steps=STEPS, batch_size=BATCH,
            groups=(np.arange(N) < RARE).astype(int), **options,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
        self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-2)
        self.drawn: list[int] = []

    def run(self, stop, updates=True):
        dia = self.dia
        while dia.step_count < stop:
            loader = DataLoader(dia.dataset, batch_size=BATCH, sampler=dia.sampler)
            for x, index in loader:
                rng = torch.Generator().manual_seed(dia.step_count)
                fake = torch.randn(len(x), 2, generator=rng)
                loss = softplus(-self.net(x)).mean() + softplus(self.net(fake)).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                if dia.phase == 2:
                    self.drawn += index.tolist()
                if updates:
                    dia.update(self.net, self.optimizer, index, fake, x)
                else:
                    dia.sweep(self.net)
                dia.step()
                if dia.step_count == stop:
                    break
        return self


@pytest.mark.parametrize("aux", ["uniform", "importance"])
def test_the_auxiliary_discriminator_learns_the_data_as_they_are(aux):
    """D has seen the rare group far more often than the copy, whose ratio there is lower."""
    loop = Loop(aux=aux, max_ratio=50.0).run(STEPS)
    auxiliary = loop.dia._run.additions["dia.auxiliary"]
    assert auxiliary.network is not loop.net
    with torch.no_grad():
        excess = (loop.net(loop.x) - auxiliary(loop.x)).flatten()
    share = np.isin(loop.drawn, np.arange(RARE)).mean()
    assert share > 0.2  # of 10 % in the data
    assert excess[:RARE].mean() > excess[RARE:].mean()


def test_the_draws_are_counted_from_the_batches():
    loop = Loop().run(STEPS)
    counted = loop.dia._driver().draws
    np.testing.assert_array_equal(counted, np.bincount(loop.drawn, minlength=N))
    assert counted.sum() == 8 * BATCH


def test_goes_on_exactly_with_the_auxiliary_discriminator():
    whole = Loop().run(STEPS)
    first = Loop().run(36)
    second = Loop(seed=1)
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.dia.show(second.net, second.optimizer)
    second.dia.load_state_dict(first.dia.state_dict())
    second.run(STEPS)
    one, two = (loop.dia._run.additions["dia.auxiliary"].state_dict() for loop in (whole, second))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(map(torch.equal, whole.net.parameters(), second.net.parameters()))


def test_an_update_that_is_not_shown_is_asked_for():
    with pytest.raises(ValueError, match=r"Dia\.update"):
        Loop().run(1, updates=False)


def test_rejection_keeps_what_the_judge_finds_likely():
    """Exact rejection by log p/q of two Gaussians gives p, here from a D that knows it."""
    loop = Loop(aux="none").run(STEPS)

    class Exact(nn.Module):
        def forward(self, x):
            return (x**2 / 2 - (x - 1) ** 2 / 2).sum(1, keepdim=True).clamp(max=3)

    loop.dia._run.show(Exact(), loop.optimizer)
    rng = torch.Generator().manual_seed(0)
    source = loop.dia.rejection(
        lambda n: torch.randn(n, 2, generator=rng), gamma=0.0, burn_in=2000, floor=0
    )
    kept = torch.cat([batch.x for batch in source.sample(500)])
    assert (kept.mean(0) - 1).abs().max() < 0.2  # 4 standard errors


@has_accelerate
def test_the_accelerate_loop_runs(tmp_path):
    with torch.random.fork_rng(devices=[]):
        dia = example("accelerate_loop").main(60, str(tmp_path / "report.html"), cpu=True)
    assert (dia.step_count, dia.phase) == (60, 2)
    assert dia._driver().draws.sum() == 12 * 64
    assert (tmp_path / "report.html").exists()


def _under_accelerate(rank: int, folder: Path) -> dict:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    dia = Dia(
        TensorDataset(x), total_steps=STEPS, batch_size=BATCH, record_every=4, shard="host",
        rank=accelerator.process_index, world_size=accelerator.num_processes,
    )  # fmt: skip
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    loader = DataLoader(dia.dataset, batch_size=BATCH // 2, sampler=dia.sampler)
    net, loader = accelerator.prepare(net, loader)
    drawn = []
    while dia.step_count < STEPS:
        for _, index in loader:
            drawn.append(index)
            dia.sweep(net)
            dia.step()
    weights = dia.sampler.probabilities_at(N * 4)
    return {"drawn": torch.stack(drawn), "weights": torch.from_numpy(weights)}


@has_accelerate
def test_accelerate_shards_the_draw_once(tmp_path):
    """Two processes: an epoch before weighting is each sample once, over both together."""
    one, two = in_processes(_under_accelerate, tmp_path)
    epochs = torch.cat([one["drawn"], two["drawn"]], 1).reshape(4, N)
    for epoch in epochs[:3]:
        assert torch.equal(epoch.sort().values, torch.arange(N))
    assert torch.equal(one["weights"], two["weights"])
