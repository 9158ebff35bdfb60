"""Which logits are read from what a discriminator returns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from diagan_plugin import Dia
from diagan_plugin.hosts.kit.networks import is_probability
from diagan_plugin.hosts.own_loop.reading import Reading, find_logits

B = 6
V = torch.arange(B, dtype=torch.float32)


def patches(*shape: int) -> Tensor:
    """Patches around V, whose mean over a sample is V."""
    noise = torch.randn(B, *shape, generator=torch.Generator().manual_seed(0))
    noise = noise - noise.flatten(1).mean(1).reshape(-1, *[1] * len(shape))
    return V.reshape(-1, *[1] * len(shape)) + noise


FORMS = {
    "[B]": V,
    "[B, 1]": V[:, None],
    "[B, 1, 1, 1]": V[:, None, None, None],
    "patches [B, 1, 4, 4]": patches(1, 4, 4),
    "patches [B, 25]": patches(25),
    "tuple (logits, classes)": (V[:, None], torch.randn(B, 10)),
    "scales": [patches(1, 4, 4), patches(1, 2, 2)],
    "scales with features": [[torch.randn(B, 8, 4, 4), patches(1, 4, 4)], [patches(1, 2, 2)]],
    "mapping": {"logits": patches(1, 4, 4), "features": torch.randn(B, 9)},
    "StudioGAN's": {"adv_output": V, "cls_output": None},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read(form):
    assert torch.allclose(find_logits(FORMS[form]), V, atol=1e-5)
    assert torch.allclose(Reading(sign=-1)(FORMS[form]), -V, atol=1e-5)


@pytest.mark.parametrize("output", [None, {"h": V}, (), [], torch.tensor(1.0)])
def test_what_is_not_understood_asks_for_read(output):
    with pytest.raises(ValueError, match="read=lambda"):
        Reading()(output)


def test_a_reading_of_one_s_own_may_give_patches():
    reading = Reading(lambda out: out["patches"])
    assert torch.allclose(reading({"patches": patches(1, 3, 3)}), V, atol=1e-5)


class OfForm(nn.Module):
    def __init__(self, form) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(2, 1), form

    def forward(self, x):
        return self.form(self.layer(x))


@pytest.mark.parametrize(
    ("form", "read"),
    [
        (lambda v: v[:, :, None, None].expand(-1, 1, 4, 4), None),
        (lambda v: v.expand(-1, 25), None),
        (lambda v: (v, torch.zeros(len(v), 10)), None),
        (lambda v: [v[:, :, None].expand(-1, 1, 4), v], None),
        (lambda v: {"h": v, "logits": 0 * v}, lambda out: out["h"]),
        (lambda v: torch.sigmoid(v).view(-1), None),
        (lambda v: v.sigmoid(), None),
        (lambda v: nn.functional.sigmoid(v)[:, :, None], None),
        (lambda v: (torch.sigmoid_(v.clone()), torch.zeros(len(v), 10)), None),
        (lambda v: nn.Sigmoid()(v), None),
    ],
)
def test_sweeps_and_rejection_read_it(form, read):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * 100
    network = OfForm(form)
    dia = Dia(
        TensorDataset(x), total_steps=4, batch_size=10, record_every=1, window=2, read=read,
        weighted=False,
    )  # fmt: skip
    for _ in range(4):
        dia.sweep(network)
        dia.step()
    expected = network.layer(x).detach().flatten()
    assert torch.allclose(torch.from_numpy(dia.diagnosis().ldrm).float(), expected, rtol=1e-4)
    source = dia.rejection(lambda n: x[:1].expand(n, 2), burn_in=10, gamma=0.0)
    list(source.sample(1))
    assert source.max_logit == pytest.approx(float(expected[0]), rel=1e-4)


@pytest.mark.parametrize(
    ("preset", "given", "per_batch"),
    [("paper", {}, False), ("paper-code", {}, True), ("paper-code", {"per_batch": False}, False),
     ("paper-code", {"gamma": 0.0}, False)],
)  # fmt: skip
def test_rejection_follows_the_preset_unless_told(preset, given, per_batch):
    dia = Dia(TensorDataset(torch.randn(20, 2)), total_steps=500, batch_size=10, preset=preset)
    dia.sweep(nn.Linear(2, 1))
    assert dia.rejection(lambda n: torch.randn(n, 2), **given).per_batch is per_batch


def test_rejection_by_a_d_of_weighted_draws_is_warned_of(caplog):
    dia = Dia(
        TensorDataset(torch.randn(40, 2)), total_steps=4, batch_size=10, record_every=1, window=2,
        phase1=0.5,
    )  # fmt: skip
    network = nn.Linear(2, 1)
    warned = []
    for _ in range(3):
        dia.sweep(network)
        dia.step()
        caplog.clear()
        dia.rejection(lambda n: torch.randn(n, 2))
        warned.append("weighted draws" in caplog.text)
    assert warned == [False, True, True]


def test_logits_that_happen_to_lie_in_the_unit_interval_are_left_alone():
    x = torch.rand(20, 2)
    network = nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 1))
    with torch.no_grad():
        network[2].weight.fill_(0.1)
        network[2].bias.fill_(0.2)
    dia = Dia(TensorDataset(x), total_steps=2, batch_size=10, record_every=1, weighted=False)
    for _ in range(2):
        dia.sweep(network)
        dia.step()
    expected = network(x).detach().flatten()
    assert bool(((expected > 0) & (expected < 1)).all())
    assert torch.allclose(torch.from_numpy(dia.diagnosis().ldrm).float(), expected, atol=1e-5)


def test_probabilities_are_refused_where_only_the_output_is_given():
    dia = Dia(TensorDataset(torch.zeros(8, 2)), total_steps=8, batch_size=8, record="stream")
    index = torch.tensor(list(dia.sampler))
    logits = nn.Linear(2, 1)(torch.zeros(8, 2))
    for output in (torch.sigmoid(logits).view(-1), (logits.sigmoid(), None)):
        with pytest.raises(ValueError, match="sigmoid"):
            dia.observe(index, output)
    assert not is_probability(logits)
    dia.observe(index, logits)
    with pytest.raises(ValueError, match="each of 8 samples"):
        dia.observe(index, logits[:5])
