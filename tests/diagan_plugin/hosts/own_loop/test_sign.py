"""A discriminator that is low on real samples is noticed, and read the right way around."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.utils.data import DataLoader, TensorDataset
from without_float64 import without_float64

from diagan_plugin import Dia
from diagan_plugin.hosts.own_loop.sign import AGREEING, CHECKS, SignCheck

N, RARE, STEPS = 1000, 50, 200


def train(low_on_real: bool, steps: int = STEPS, **options) -> tuple[Dia, float]:
    """Trains lightweight-gan's hinge loss, or its mirror image; the last samples lie apart."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, generator=rng)
    x[-RARE:] = torch.randn(RARE, 2, generator=rng) * 0.1 + 4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
        network = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        optimizers = [
            torch.optim.Adam(net.parameters(), rate)
            for net, rate in ((generator, 1e-3), (network, 4e-3))
        ]
        s = -1 if low_on_real else 1
        dia = Dia(
            TensorDataset(x), total_steps=STEPS, batch_size=64, record_every=10, loss="hinge",
            **options,
        )  # fmt: skip
        drawn = []
        while dia.step_count < steps:
            for x, index in DataLoader(dia.dataset, batch_size=64, sampler=dia.sampler):
                fake = generator(torch.randn(len(x), 2))
                loss = (relu(1 - s * network(x)) + relu(1 + s * network(fake.detach()))).mean()
                optimizers[1].zero_grad()
                loss.backward()
                optimizers[1].step()
                optimizers[0].zero_grad()
                (-s * network(fake)).mean().backward()
                optimizers[0].step()
                if dia.phase == 2:
                    drawn += index.tolist()
                dia.sweep(network)
                dia.step()
                if dia.step_count == steps:
                    break
    return dia, float(np.mean(np.array(drawn) >= N - RARE)) if drawn else float("nan")


def test_the_check_takes_logits_of_a_device_without_float64() -> None:
    check = SignCheck()
    for _ in range(CHECKS):
        check.compare(without_float64(torch.arange(8.0)), without_float64(torch.arange(8.0) + 50))
    assert check.is_inverted


def test_a_discriminator_that_is_low_on_real_samples_is_noticed_at_once(caplog, tmp_path):
    dia, share = train(low_on_real=True)
    (warning,) = dia.warnings
    assert "Dia(…, sign=-1)" in warning
    said = [record for record in caplog.records if "sign=-1" in record.getMessage()]
    assert int(said[0].getMessage().split()[1].rstrip(":")) <= STEPS // 4
    # Nothing was weighted, so the minority did not vanish.
    assert share == pytest.approx(RARE / N, abs=0.02)
    text = dia.report(tmp_path / "report.html").read_text()
    assert "Nothing can be concluded" in text
    assert "stand out" not in text.split("Log-density ratio over training")[0]


def test_with_its_sign_it_finds_what_its_mirror_image_finds():
    low, share = train(low_on_real=True, sign=-1)
    high, other = train(low_on_real=False)
    assert low.warnings == high.warnings == []
    # Dia's own numbers agree; the networks are not mirror images of each other.
    for dia, drawn in ((low, share), (high, other)):
        ldrm = dia.diagnosis().ldrm
        assert ldrm[-RARE:].mean() > ldrm[:-RARE].mean()
        assert drawn > RARE / N


def test_a_sign_is_one_of_two():
    with pytest.raises(ValueError, match="sign"):
        train(low_on_real=False, sign=0)


def test_a_few_comparisons_or_unclear_ones_say_nothing():
    check, rng = SignCheck(), torch.Generator().manual_seed(0)
    noise = torch.randn(2 * CHECKS, 64, generator=rng)
    for i in range(CHECKS):
        check.compare(noise[2 * i], noise[2 * i + 1])
    assert not check.is_inverted
    for i in range(CHECKS):
        assert i >= AGREEING or not check.is_inverted
        check.compare(noise[i] - 2, noise[-i - 1])
    assert check.is_inverted
    check.compare(noise[0], noise[1])  # balance says neither
    assert check.is_inverted
    for i in range(CHECKS):
        check.compare(noise[i] + 2, noise[-i - 1])
    assert not check.is_inverted


def test_watching_leaves_a_network_that_can_be_copied_and_saved():
    network = nn.Sequential(nn.Linear(2, 1))
    dia = Dia(TensorDataset(torch.zeros(9, 2)), total_steps=9, batch_size=3, record_every=1)
    dia.sweep(network)
    watch = dia._doubts.generated
    for other in (copy.deepcopy(network), _saved(network)):
        other(nn.Linear(2, 2)(torch.zeros(3, 2)))
        assert watch.latest is None
    leaf = torch.zeros(3, 2, requires_grad=True)  # a real batch with a gradient penalty
    network(leaf * 2)
    assert watch.latest is None
    network(nn.Linear(2, 2)(torch.zeros(3, 2)))
    assert watch.latest is not None


def _saved(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def test_a_stream_s_sign_is_seen_by_the_outputs_it_gives():
    dia = Dia(
        TensorDataset(torch.zeros(40, 2)), total_steps=100, batch_size=40, record="stream",
    )  # fmt: skip

    def outputs(shift: float) -> Tensor:
        return torch.randn(40, 1, generator=torch.Generator().manual_seed(0)) + shift

    while dia.step_count < 60:
        index = torch.tensor(list(dia.sampler))
        dia.observe(index, outputs(-2), outputs(2))
        dia.step()
    assert "sign=-1" in dia.warnings[0]
