"""What is given explicitly wins over `--dia-preset`, wherever it is given, and a run keeps it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from small_runs import manager
from torch import nn
from torch.utils.data import TensorDataset

from diagan_plugin import Dia
from diagan_plugin.dia.drivers import DrivingPlugin, weighting_schedule
from diagan_plugin.dia.options import EPOCH, NAME, DiaOptions
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from gan_registry.config.load import apply_settings, validate_config
from gan_registry.plugins import PluginManager
from gan_registry.training.trainer import open_run, train

SAMPLES, BATCH, STEPS = 500, 25, 40
PRESET = {"preset": "replication", "record_every": 4, "window": 5}
CHOICES = [
    ({}, 36),
    ({"phase1": 0.8}, 32),
    ({"phase1": 0.5}, 20),
    ({"preset": "paper", "refresh": "epoch"}, 32),
]
"""What is given beside the preset → where phase 1 ends; 0.8 is the default, 0.9 the preset's."""


def managers() -> PluginManager:
    return manager(dia=DiaPlugin())


def phase1_end(run) -> int:
    schedule = weighting_schedule(run)
    assert schedule is not None
    return schedule.phase1_end


def test_a_flag_and_a_file_win_over_a_preset():
    plugins = managers()
    flags = ["--dia-preset", "replication", "--dia-phase1", "0.8", "--dia-refresh", "once"]
    given = vars(plugins.parser.parse_args(flags))
    # Of the two sources each may hold the preset, the value, or both.
    for section, spoken in (
        ({}, given),
        ({NAME: {"preset": "replication"}}, {**given, "dia.preset": "replication"}),
        ({NAME: {"phase1": 0.8, "refresh": "once"}}, {"dia.preset": "replication"}),
        ({NAME: {"preset": "replication", "phase1": 0.8, "refresh": 0}}, {}),
    ):
        options = DiaOptions(**plugins.options.resolve(section, spoken)[NAME])
        assert (options.phase1, options.refresh, options.ramp) == (0.8, 0, EPOCH)


@pytest.mark.parametrize(("given", "end"), CHOICES)
def test_a_run_is_opened_and_continued_as_it_was_made(tmp_path, given, end):
    content = {
        "DATA": {"name": "gmm25", "options": {"num_samples": SAMPLES}},
        "MODEL": {"backbone": "mlp", "hidden_dim": 8, "num_layers": 1, "z_dim": 2},
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {"batch_size": BATCH, "d_updates_per_step": 1},
        "RUN": {"sampler": NAME, "save_freq": 0},
        "PLUGINS": {NAME: {**PRESET, **given}},
    }

    def trained(folder, steps):
        settings = [f"OPTIMIZATION.total_steps={steps}"]
        config = validate_config(apply_settings(content, settings), "the test")
        return train(config, folder, managers(), quiet=True)

    run = trained(tmp_path / "run", STEPS)
    assert phase1_end(run) == end
    opened = open_run(tmp_path / "run", managers())
    assert opened.options == run.options
    assert phase1_end(opened) == end
    # An epoch is written as such: the same command continues the run, here for longer.
    assert phase1_end(trained(tmp_path / "run", STEPS + 4)) == end


@pytest.mark.parametrize(("given", "end"), CHOICES)
def test_an_adapter_takes_what_was_given_over_a_preset(given, end):
    plugins = managers()
    # A host may hand on options that are resolved already, as StudioGAN's launcher does.
    for options in (
        {NAME: {**PRESET, **given}},
        plugins.options.resolve({NAME: {**PRESET, **given}}),
    ):
        session = Session(
            Capabilities("Mine", ALL_HOOKS),
            Settings(sampler=NAME, options=options, plugins=plugins),
            TensorDataset(torch.zeros(SAMPLES, 1, 4, 4)),
            batch_size=BATCH, total_steps=STEPS, device=torch.device("cpu"),
        )  # fmt: skip
        networks = NetworkView(nn.Linear(2, 2)), NetworkView(nn.Linear(2, 1))
        session.networks(HostNetworks(*networks, gaussian(2)))
        assert phase1_end(session.run) == end


@pytest.mark.parametrize(("given", "end"), CHOICES)
def test_a_loop_of_ones_own_takes_what_was_given_over_a_preset(given, end):
    data = TensorDataset(torch.randn(SAMPLES, 2))
    dia = Dia(data, total_steps=STEPS, batch_size=BATCH, **{**PRESET, **given})
    network, ends = nn.Linear(2, 1), []
    for _ in range(STEPS):
        dia.sweep(network)
        dia.step()
        ends += [dia.step_count] if dia.phase == 2 else []
    assert ends[0] == end


def test_an_epoch_is_a_run_s_own_number_of_steps():
    options = DiaOptions(**managers().options.resolve({NAME: {"refresh": "epoch"}})[NAME])
    assert (options.refresh, options.with_epochs(20).refresh) == (EPOCH, 20)
    assert options.with_epochs(20).ramp == 0


def test_what_only_diagnoses_has_no_schedule_of_weights():
    def driving(weighted: bool):
        return SimpleNamespace(schedule=SimpleNamespace(weighted=weighted))

    class Run:
        pass

    plugin, run, other = DrivingPlugin(), Run(), Run()
    plugin.drive(run, driving(False))
    assert weighting_schedule(run) is None
    weighting = driving(True)
    DrivingPlugin().drive(run, weighting)
    assert weighting_schedule(run) is weighting.schedule
    assert weighting_schedule(other) is None, "another run"
