"""What a loop is told speaks of what a loop can do, and errors are those of the call."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from diagan_plugin import Dia
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.hosts.own_loop.wording import in_a_loop_s_words
from gan_registry.dispatch import PluginFailure
from gan_registry.errors import UserError

PAGE = Path(__file__).resolve().parents[4] / "docs" / "hosts" / "own-loop.md"
FLAG = re.compile(r"--[a-z]|GAN_REGISTRY_DISABLE|MODEL\.backbone")


def make(**options) -> Dia:
    return Dia(
        TensorDataset(torch.zeros(40, 2)), **{"total_steps": 100, "batch_size": 10, **options}
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"record_every": 1000}, "record_every=40 or less, or more total_steps"),
        ({"phase1": "auto", "record": "stream"}, 'record="sweep"'),
        ({"phase1": "auto"}, "window"),
        ({"record_every": 4, "record_fraction": 0.05}, "record_fraction"),
        ({"record_every": 4, "within_class": True}, "leave it out"),
        ({"aux_ratio": True}, "RatioHead"),
    ],
)
def test_refusals_name_arguments(options, names):
    with pytest.raises(UserError) as refused:
        make(**options).sweep(nn.Linear(2, 1))
    assert names in str(refused.value)
    assert not FLAG.search(str(refused.value))


def test_importance_with_batch_norm_is_refused_in_a_loop_s_words():
    dia = make(record_every=4, aux="importance")
    with pytest.raises(UserError, match='aux="uniform"') as refused:
        dia.sweep(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)))
    assert not FLAG.search(str(refused.value))


def test_warnings_name_arguments(caplog):
    make(record_every=4, phase1=1.0, loss="hinge").sweep(nn.Linear(2, 1))
    assert "lower phase1" in caplog.text
    assert "no density ratio" in caplog.text
    assert "RatioHead in the loop measures a ratio" in caplog.text  # there is no aux_ratio
    assert not FLAG.search(caplog.text)


def test_warnings_of_the_weights_name_arguments(caplog):
    dia = make(record_every=1, total_steps=8, phase1=0.5, window=2)
    network = nn.Linear(2, 1)
    nn.init.zeros_(network.weight)
    nn.init.constant_(network.bias, 3.0)
    for _ in range(8):
        dia.sweep(network)
        dia.step()
    assert "nearly uniform" in caplog.text
    assert 'which centre="data" takes off' in caplog.text
    assert not FLAG.search(caplog.text)


def test_errors_in_a_call_are_raised_as_they_are():
    dia = make(record_every=1, phase1=1.0, window=200)
    dia.sweep(nn.Linear(2, 1))
    dia.sweep(nn.Linear(3, 1))  # the wrong network
    with pytest.raises(RuntimeError, match="shapes") as raised:
        dia.step()
    assert not isinstance(raised.value, PluginFailure)
    dia = make(record_every=1)
    with pytest.raises(RuntimeError, match="shapes") as raised:
        dia.sweep(nn.Linear(3, 1))
    assert not isinstance(raised.value, PluginFailure)


def test_flags_become_arguments():
    said = in_a_loop_s_words(
        "use --dia-record-every 12 or less, --dia-record stream, --dia-phase1."
    )
    assert said == 'use record_every=12 or less, record="stream", phase1.'


def test_the_report_names_no_flags(tmp_path):
    dia = make(record_every=4, weighted=False)
    for _ in range(100):
        dia.sweep(nn.Linear(2, 1))
        dia.step()
    text = dia.report(tmp_path / "report.html").read_text()
    assert not re.search(r"--(dia|samples|sampler|diagnose)", text)


def test_the_page_lists_every_argument():
    text = PAGE.read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    parameters = set(inspect.signature(Dia.__init__).parameters) - {"self", "options"}
    assert parameters <= listed
    options = {field.name for field in fields(DiaOptions)} - {"diagnose", "aux_ratio"}
    assert options <= listed


class TestPenalty:
    def test_is_that_of_the_discriminator_it_is_asked_for(self):
        from gan_registry.records import Fake, Real

        network, other = nn.Linear(2, 1), nn.Linear(2, 1)
        dia = make(
            record_every=4, penalty=lambda D, real, fake: (D(real) - D(fake)).square().mean()
        )
        dia.sweep(network)
        x, y = torch.randn(5, 2), torch.randn(5, 2)
        added = dia._run.regularization_of(other, "dia.auxiliary")
        term = added.terms(Real(torch.arange(5), x), Fake(y, y), None, None, 0)
        assert torch.allclose(term, (other(x) - other(y)).square().mean())
        assert added.lazy_terms([], 0) == []
        assert make(record_every=4)._run.regularization_of(other, "dia.auxiliary") is None

    def test_knows_the_labels_of_a_conditional_discriminator(self):
        from diagan_plugin.hosts.kit.networks import LogitView
        from gan_registry.records import Fake, Real

        class Labelled(nn.Linear):
            def forward(self, x, y):
                return super().forward(x) + y[:, None]

        network = Labelled(2, 1)
        dia = make(record_every=4, conditional=True, penalty=lambda D, real, fake: D(real).sum())
        x, y = torch.randn(3, 2), torch.tensor([1, 2, 3])
        added = dia._run.regularization_of(LogitView(network, True), "dia.auxiliary")
        term = added.terms(Real(torch.arange(3), x, y), Fake(x, x), None, None, 0)
        assert torch.allclose(term, network(x, y).sum())


def test_the_device_is_that_of_the_discriminator():
    dia = make(record_every=4)
    assert dia._run.device.type == "cpu"
    dia._run.show(nn.Linear(2, 1, device="meta"))
    assert dia._run.device.type == "meta"
    named = make(record_every=4, device="cpu")
    named._run.show(nn.Linear(2, 1, device="meta"))
    assert named._run.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("record", ["sweep", "stream"])
def test_a_loop_on_a_gpu_needs_no_argument_for_it(record, tmp_path):
    dia = make(record_every=4, record=record, total_steps=40)
    network = nn.Linear(2, 1).cuda()
    while dia.step_count < 40:
        for x, index in torch.utils.data.DataLoader(dia.dataset, 10, sampler=dia.sampler):
            if record == "sweep":
                dia.sweep(network)
            else:
                dia.observe(index, network(x.cuda()))
            dia.step()
    assert dia.phase == 2
    assert dia._run.device.type == "cuda"
    assert dia.report(tmp_path / "report.html").exists()
