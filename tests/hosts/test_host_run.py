"""What the runs of all adapters share: settings with every key, the run itself, its state."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from small_runs import manager
from torch import nn

from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, Capabilities
from diagan_plugin.hosts.kit.config import host_config
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.run import HostRun
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.hosts.studiogan.networks import HostBackbone
from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.config.schema import Config
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, Real
from gan_registry.training.distributed import Group

CPU = torch.device("cpu")


class Adding:
    """Adds a network of a width, and keeps a state."""

    def __init__(self, width: int = 3, kept: object = 1.5) -> None:
        self.width = width
        self.kept = kept

    @hookimpl
    def gan_models_ready(self, run):
        if self.width:
            run.add("adding.network", nn.Linear(1, self.width))

    @hookimpl
    def gan_state(self, run):
        return {"kept": self.kept}

    @hookimpl
    def gan_load_state(self, run, state):
        pass


class Replacing:
    @hookimpl
    def gan_models_ready(self, run):
        run.discriminator = nn.Linear(2, 1)


class Reporting:
    @hookimpl
    def gan_result(self, run):
        return {"spread": 1.0}


def session(*plugins: object, size: int = 8, **settings) -> Session:
    named = {f"plugin{number}": plugin for number, plugin in enumerate(plugins)}
    made = Session(
        Capabilities("Mine", ALL_HOOKS), Settings(plugins=manager(**named), **settings),
        torch.zeros(20, 1, size, size), batch_size=4, total_steps=5, updates_per_step=2, device=CPU,
    )  # fmt: skip
    generator, discriminator = NetworkView(nn.Linear(2, 2)), NetworkView(nn.Linear(2, 1))
    made.networks(HostNetworks(generator, discriminator, gaussian(2)))
    return made


def studio_run(**sections) -> StudioRun:
    cfgs = SimpleNamespace(
        RUN=SimpleNamespace(cfg_file="configs/Tiny.yaml", **sections.pop("RUN", {})),
        LOSS=SimpleNamespace(adv_loss="hinge", apply_topk=False),
        OPTIMIZATION=SimpleNamespace(
            total_steps=10, batch_size=9, acml_steps=2, d_updates_per_step=3
        ),
        **{name: SimpleNamespace(**keys) for name, keys in sections.items()},
    )
    return StudioRun(
        cfgs, PluginManager(load_entry_points=False), {}, set(), group=Group(0, 2), device=CPU,
        folder=None, sampler="uniform", samples="drs", seed=1,
    )  # fmt: skip


def backbone(z_prior: str = "gaussian") -> HostBackbone:
    cfgs = SimpleNamespace(
        MODEL=SimpleNamespace(backbone="resnet", z_dim=6, z_prior=z_prior),
        DATA=SimpleNamespace(num_classes=3),
    )
    return HostBackbone(cfgs, nn.Linear(6, 1), nn.Linear(1, 1), None, print, nn.Linear)


@pytest.mark.parametrize("make", [lambda: session().run, studio_run], ids=["Mine", "StudioGAN"])
def test_a_plugin_finds_every_key_of_the_host_s_own_run(make: Callable[[], HostRun]) -> None:
    run = make()
    for name, section in Config().model_dump().items():
        found = getattr(run.config, name)
        assert set(section) <= set(found if name == "PLUGINS" else vars(found)), name
    assert run.config.MODEL.z_prior == "gaussian"
    with run.precision.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_what_a_host_says_comes_before_the_defaults() -> None:
    given = {"MODEL": {"z_dim": 7, "own": 1}, "RUN": {"seed": 3, "sampler": "dia"}}
    config = host_config(given)
    assert (config.MODEL.z_dim, config.MODEL.own, config.MODEL.g_conv_dim) == (7, 1, 64)
    assert (config.RUN.seed, config.RUN.sampler, config.RUN.samples) == (3, "dia", "plain")
    # Neither the host's settings nor the defaults are written to.
    config.DATA.options["rate"] = config.MODEL.z_dim = 1
    assert given["MODEL"]["z_dim"] == 7
    assert host_config(given).DATA.options == {}


def test_a_session_tells_what_it_knows_of_the_data() -> None:
    config = session(size=16, loss="hinge", seed=2).run.config
    assert (config.DATA.img_size, config.DATA.num_classes) == (16, 1)
    assert (config.LOSS.adv_loss, config.RUN.seed, config.MODEL.backbone) == ("hinge", 2, "Mine")
    steps = config.OPTIMIZATION
    assert (steps.batch_size, steps.d_updates_per_step, steps.total_steps) == (4, 2, 5)


class Critic(nn.Module):
    """A discriminator with StudioGAN's form of output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x, label):
        return {"adv_output": self.layer(x).squeeze(1)}


def test_studiogan_s_regularisers_are_those_of_any_discriminator_trained_as_its_own() -> None:
    run = studio_run(STYLEGAN={"d_reg_interval": "N/A"})
    assert run.config.STYLEGAN.d_reg_interval is None  # left out there, the default here
    run.backbone = backbone()
    critic, x = Critic(), torch.randn(4, 3)
    real, fake = Real(torch.arange(4), x, torch.zeros(4)), Fake(x + 1, torch.zeros(4, 6))
    out = critic(x, None)
    added = run.regularization_of(critic, "other")
    assert added.terms(real, fake, out, out, update=0) is None
    run.config.LOSS.apply_r1_reg, run.config.LOSS.r1_lambda = True, 3.0
    found = run.regularization_of(critic, "another").terms(real, fake, out, out, update=0)
    # R1 is half of the squared norm of D's gradient, here that of its weight.
    expected = 3.0 * critic.layer.weight.square().sum() / 2
    torch.testing.assert_close(found, expected)
    assert run.backbone.discriminator is not critic


def test_studiogan_s_numbers() -> None:
    run = studio_run(RUN={"save_freq": 7})
    assert (run.config_name, run.config.RUN.save_freq) == ("Tiny", 7)
    assert (run.config.RUN.sampler, run.config.RUN.samples) == ("uniform", "drs")
    # 9 samples are 4 for each of 2 processes.
    assert (run.batch_size, run.samples_per_step, run.total_steps) == (8, 8 * 2 * 3, 10)


def test_an_evaluation_samples_as_it_is_told_and_leaves_the_run_alone() -> None:
    run = studio_run()
    run.backbone = backbone()
    run.step = 4
    own, before = run.sampling_generator, run.latents(500, "z")
    other = nn.Linear(6, 1)
    view = run.evaluation_view(other, 2, 0.5)
    assert view.sampling_generator is other
    assert view.step == 4
    assert view.labels(5).tolist() == [2] * 5
    assert view.latents(500, "z").abs().max() <= 0.5 < before.abs().max()
    assert run.sampling_generator is own
    assert set(run.labels(100).tolist()) == {0, 1, 2}
    assert torch.equal(run.latents(500, "z"), before)


def test_uniform_latents_are_not_cut_off() -> None:
    z = backbone("uniform").truncated(0.1).latent(500, torch.Generator().manual_seed(0))
    assert 0.9 < z.abs().max() <= 1.0


def test_networks_cannot_be_replaced() -> None:
    with pytest.raises(PluginError, match="adapter for Mine does not support"):
        session(Replacing())
    run = studio_run()
    with pytest.raises(PluginError, match="adapter for StudioGAN does not support"):
        run.generator = nn.Linear(1, 1)


def test_state_that_does_not_fit_is_refused_in_one_line() -> None:
    state = session(Adding()).state()
    assert state["plugins"] == {"plugin0": {"kept": 1.5}}
    session(Adding()).restore(state)
    with pytest.raises(UserError, match=r"'adding.network' does not fit: [^\n]*size mismatch"):
        session(Adding(4)).restore(state)
    with pytest.raises(UserError, match=r"checkpoint holds 'adding.network'"):
        session(Adding(0)).restore(state)
    with pytest.raises(UserError, match=r"checkpoint lacks 'adding.network'"):
        session(Adding()).restore({**state, "additions": {}})
    with pytest.raises(UserError, match="another fingerprint"):
        session(Adding(), size=4).restore(state)


def test_state_must_be_plain() -> None:
    made = session(Adding(kept=nn.Identity()))
    with pytest.raises(PluginError, match="'plugin0': gan_state returned what cannot be saved"):
        made.state()


class Grading:
    """Says something of a group, beside whoever else does."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def gan_result(self, run):
        return {"groups": {"minor": {self.name: 0.7}}}


def test_what_plugins_say_of_one_group_merges_as_in_the_host(tmp_path) -> None:
    session(Grading("difficulty"), Grading("ldrm"), folder=tmp_path).end()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["groups"] == {"minor": {"difficulty": 0.7, "ldrm": 0.7}}
    assert result["steps"] == 0
    assert (tmp_path / "report.html").exists()


def test_two_plugins_cannot_report_the_same(tmp_path) -> None:
    with pytest.raises(
        PluginError, match="'spread', which the result holds already from the plugin 'plugin0'"
    ):
        session(Reporting(), Reporting(), folder=tmp_path).end()
