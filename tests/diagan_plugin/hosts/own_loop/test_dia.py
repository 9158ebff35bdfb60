from __future__ import annotations

import copy
import itertools
import re
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin import Dia
from gan_registry.errors import UserError

N, BATCH, STEPS, RARE = 400, 40, 120, 20


@pytest.fixture
def points() -> torch.Tensor:
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    x[:RARE] += 6
    return x


def make(points, **options) -> Dia:
    options = {"record_every": 8, "window": 5, **options}
    groups = (np.arange(N) < RARE).astype(int)
    return Dia(
        TensorDataset(points, torch.arange(N)), total_steps=STEPS, batch_size=BATCH,
        groups=groups, group_names=("usual", "rare"), **options,
    )  # fmt: skip


def read_ahead(loader, batches: int):
    """Asks for so many batches more than it hands out, as a loader with workers does."""
    waiting: deque = deque()
    for batch in loader:
        waiting.append(batch)
        if len(waiting) > batches:
            yield waiting.popleft()
    yield from waiting


class Loop:
    """A loop of one's own: D learns to tell the data from a fixed generator N(0, 1)."""

    def __init__(self, dia: Dia, streams: bool = False, ahead: int = 0) -> None:
        self.dia, self.streams, self.ahead = dia, streams, ahead
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
        self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-2)
        self.drawn: list[list[int]] = []
        self.phases: list[int] = []

    def run(self, stop: int) -> None:
        while self.dia.step_count < stop:
            self.position = self.dia.sampler.position
            loader = DataLoader(self.dia.dataset, batch_size=BATCH, sampler=self.dia.sampler)
            for x, label, index in read_ahead(loader, self.ahead):
                self.position += len(index)
                assert torch.equal(label, index)
                fake = torch.randn(
                    BATCH, 2, generator=torch.Generator().manual_seed(self.dia.step_count)
                )
                real_logits = self.net(x)
                loss = softplus(-real_logits).mean() + softplus(self.net(fake)).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.drawn.append(index.tolist())
                self.phases.append(self.dia.phase)
                if self.streams:
                    self.dia.observe(index, real_logits)
                else:
                    self.dia.sweep(self.net)
                self.dia.step()
                if self.dia.step_count == stop:
                    return


@pytest.mark.parametrize("streams", [False, True])
def test_rare_samples_are_found_and_drawn_more_often(points, streams):
    dia = make(points, record="stream" if streams else "sweep")
    loop = Loop(dia, streams)
    loop.run(STEPS)
    diagnosis = dia.diagnosis()
    assert diagnosis.score[:RARE].min() > np.median(diagnosis.score[RARE:]) + 0.5
    second = [i for batch, phase in zip(loop.drawn, loop.phases, strict=True) if phase == 2
              for i in batch]  # fmt: skip
    share = np.mean(np.array(second) < RARE)
    expected = diagnosis.probability[:RARE].sum()
    assert share > 3 * RARE / N
    # Systematic draws: each epoch's counts are within 1 of their expectation.
    assert abs(share - expected) < 0.05
    assert 0 < dia.logged["weights/ess_share"] <= 1


def test_sweeps_agree_with_a_direct_computation(points):
    dia = make(points, record_every=1, window=2, phase1=1.0, weighted=False)
    loop = Loop(dia)
    recorded = []
    for step in range(1, STEPS + 1):
        loop.run(step)
        recorded.append(loop.net(points).detach().numpy()[:, 0].astype(np.float64))
    last = np.stack(recorded[-2:])
    diagnosis = dia.diagnosis()
    np.testing.assert_allclose(diagnosis.ldrm, last.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diagnosis.ldrv, last.var(0, ddof=1), rtol=1e-4, atol=1e-8)


def test_resumes_exactly(points):
    whole = Loop(make(points))
    whole.run(STEPS)
    first = Loop(make(points))
    first.run(100)  # in the middle of phase 2, and at the end of an epoch of draws
    second = Loop(make(points))
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.dia.sweep(second.net)
    second.dia.load_state_dict(first.dia.state_dict())
    second.run(STEPS)
    assert second.drawn == whole.drawn[100:]
    for a, b in zip(second.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(second.dia.diagnosis().score, whole.dia.diagnosis().score)


@pytest.mark.parametrize("stop", [93, 97, 105])  # before the weights, between, well after
def test_what_a_loader_has_read_ahead_is_drawn_again(points, stop):
    whole, first, second = (Loop(make(points), ahead=2) for _ in range(3))
    whole.run(STEPS)
    first.run(stop)
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.dia.sweep(second.net)
    assert first.position == stop * BATCH < first.dia.sampler.position
    second.dia.load_state_dict(first.dia.state_dict(first.position))
    second.run(STEPS)
    assert second.drawn == whole.drawn[stop:]
    with pytest.raises(ValueError, match=f"at most {first.dia.sampler.position}"):
        first.dia.state_dict(first.dia.sampler.position + 1)


def test_a_state_is_loaded_once_d_is_known(points):
    state = {"step": 3}
    with pytest.raises(ValueError, match=r"Dia\.sweep\(D\).*before.*Dia\.load_state_dict"):
        make(points).load_state_dict(state)


def test_diagnosing_alone_never_weights(points):
    dia = make(points, weighted=False)
    loop = Loop(dia)
    loop.run(STEPS)
    assert dia.phase == 1
    epochs = np.array(loop.drawn).reshape(-1, N)
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs.tolist())


def test_report_is_written_and_names_the_rare_group(points, tmp_path):
    dia = make(points)
    Loop(dia).run(STEPS)
    text = dia.report(tmp_path / "report.html").read_text()
    assert "rare" in text
    assert not re.search(r"""(src|href)=["']https?:""", text)


def test_mistakes_are_named(points):
    with pytest.raises(TypeError, match=r"'widow'.*did you mean 'window'"):
        make(points, widow=3)
    with pytest.raises(UserError, match="record_every=48"):
        make(points, record_every=1000)
    with pytest.raises(UserError, match="logistic"):
        make(points, loss="logistik")
    dia = make(points)
    with pytest.raises(ValueError, match="sweep"):
        dia.step()
    with pytest.raises(ValueError, match="stream"):
        dia.observe(torch.arange(3), torch.zeros(3))
    dia.sweep(nn.Linear(2, 1))
    with pytest.raises(UserError, match="nothing yet"):
        dia.diagnosis()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"k": -1.0}, "'k' is -1.0, but must be a number of at least 0"),
        ({"window": 1}, "at least 2"),
        ({"record": "swep"}, "Did you mean 'sweep'"),
        ({"logits": "evil"}, "Did you mean 'eval'"),
        ({"phase1": 1.5}, "at most 1"),
        ({"record_every": 0}, "at least 1"),
        ({"max_ratio": 0.5}, "at least 1"),
        ({"aux": "sometimes"}, "uniform"),
    ],
)
def test_a_bad_option_is_refused_before_the_training(points, option, says):
    with pytest.raises(UserError, match=says):
        make(points, **option)


def test_options_are_read_as_their_flags_are(points):
    assert make(points, refresh="once", k=1).step_count == 0
    with pytest.raises(ValueError, match="batch_size"):
        Dia(TensorDataset(points), total_steps=10, batch_size=0)


def test_items_of_any_form_carry_their_index():
    class Items(torch.utils.data.Dataset):
        def __init__(self, item):
            self.item = item

        def __len__(self):
            return 3

        def __getitem__(self, i):
            return self.item

    x = torch.zeros(2)
    for item, expected in ((x, (x, 1)), ((x, 7), (x, 7, 1)), ([x, 7], (x, 7, 1))):
        dia = Dia(Items(item), total_steps=10, batch_size=2, record_every=1)
        assert dia.dataset[1] == expected


def test_a_loop_in_autocast_is_followed(points):
    images = points[:, :, None, None].repeat(1, 1, 4, 4)
    net = nn.Sequential(nn.Conv2d(2, 8, 4), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Flatten(0))
    made = nn.Conv2d(2, 2, 1)
    dia = Dia(
        TensorDataset(images), total_steps=20, batch_size=BATCH, aux="uniform", phase1=0.5,
        record_every=4,
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    loader = iter(DataLoader(dia.dataset, batch_size=10, sampler=dia.sampler))
    for x, index in itertools.islice(loader, 20):
        with torch.autocast("cpu", torch.bfloat16):
            fake = made(torch.randn_like(x))
            loss = softplus(-net(x)).mean() + softplus(net(fake)).mean()
        assert fake.dtype == torch.bfloat16
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        dia.update(net, optimizer, index, fake)
        dia.step()
    assert dia.phase == 2
    kept = next(iter(dia.rejection(lambda n: made(torch.randn(n, 2, 4, 4)).bfloat16()).sample(8)))
    assert kept.x.shape[1:] == (2, 4, 4)
