"""What a hook may ask of a run: one table, over the host's run, an adapter's and an own loop's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import digits_config, manager, points_config
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from diagan_plugin import Dia
from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from gan_registry.config.schema import Config
from gan_registry.errors import CapabilityError, PluginError
from gan_registry.hookspecs import hookimpl
from gan_registry.live_run import LiveRun, Networks
from gan_registry.losses.base import Loss
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.samplers.base import IndexSampler
from gan_registry.training.build import build_data, build_networks, build_optimizers
from gan_registry.training.distributed import Group
from gan_registry.training.run import Run

N, BATCH, STEPS = 60, 12, 5
CPU = torch.device("cpu")


class Caller:
    """A plugin that does in a hook what a test gives it to do."""

    def __init__(self) -> None:
        self.act: Callable[[LiveRun], Any] = lambda run: None
        self.answer: Any = None

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        self.answer = self.act(run)


@dataclass
class Case:
    """A run, and how to act in a hook of it."""

    run: LiveRun
    hooks: Any
    plugin: Caller

    def inside(self, act: Callable[[Any], Any]) -> Any:
        self.plugin.act = act
        self.hooks.step_end(self.run)
        return self.plugin.answer


class Labelled(TensorDataset):
    """A dataset that lists its labels, as torchvision's do; class 2 is rare."""

    def __init__(self) -> None:
        x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
        self.targets = [0] * 30 + [1] * 24 + [2] * 6
        super().__init__(x, torch.tensor(self.targets))


class Conditional(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layer(x) + y[:, None]


def own_run(plugin: Caller, group: Group) -> Case:
    config = points_config(OPTIMIZATION__batch_size=BATCH, OPTIMIZATION__total_steps=STEPS)
    run = Run(config, manager(caller=plugin), {}, group=group)
    run.hooks.build(run)
    build_data(run)
    build_networks(run)
    build_optimizers(run)
    return Case(run, run.hooks, plugin)


def adapters_run(plugin: Caller, group: Group) -> Case:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "current", classmethod(lambda cls: group))
        session = Session(
            Capabilities("Mine", ALL_HOOKS), Settings(plugins=manager(caller=plugin)), Labelled(),
            batch_size=BATCH // group.world_size, total_steps=STEPS, device=CPU, num_classes=3,
        )  # fmt: skip
    views = NetworkView(Conditional(2, 2), True), NetworkView(Conditional(2, 1), True)
    session.networks(HostNetworks(*views, gaussian(2), conditional=True, num_classes=3))
    session.start(torch.optim.Adam(views[1].parameters()))
    return Case(session.run, session.run.hooks, plugin)


def loops_run(plugin: Caller, group: Group) -> Case:
    with pytest.MonkeyPatch.context() as patch:
        register = PluginManager.register

        def register_both(self: PluginManager, given: object, name: str, *rest: str) -> None:
            register(self, given, name, *rest)
            register(self, plugin, "caller")

        patch.setattr(PluginManager, "register", register_both)
        dia = Dia(
            Labelled(), total_steps=STEPS, batch_size=BATCH, record_every=1, window=2,
            rank=group.rank, world_size=group.world_size,
        )  # fmt: skip
    network = nn.Linear(2, 1)
    dia.show(network, torch.optim.Adam(network.parameters()))
    dia.sweep(network)
    return Case(dia._run, dia._hooks, plugin)


MAKERS = {"gan-registry": own_run, "adapter": adapters_run, "own loop": loops_run}
LACKING = {
    "gan-registry": set(),
    "adapter": {"objective"},
    "own loop": {"backbone", "generator", "sampling_generator", "objective"},
}
"""What a run of each kind never has; everything else that the contract declares is there."""


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(kind: str, rank: int = 0, world_size: int = 1) -> Case:
    with pytest.MonkeyPatch.context() as patch:
        # Several ranks in one process: none of them may wait for the others.
        patch.setattr(Group, "sum", lambda self, tensor: tensor)
        return MAKERS[kind](Caller(), Group(rank, world_size))


TYPES: dict[str, Any] = {
    "config": Config, "config_name": str, "options": dict, "calling": tuple, "device": torch.device,
    "group": Group, "rank": int, "world_size": int, "seed": int, "step": int, "first_step": int,
    "total_steps": int, "batch_size": int, "samples_per_step": int, "position": int,
    "fingerprint": str, "dataset": torch.utils.data.Dataset, "sampler": IndexSampler,
    "loss": Loss, "discriminator": nn.Module, "generator": nn.Module,
    "sampling_generator": nn.Module, "optimizers": dict, "additions": dict,
    "postprocessors": list, "host": str, "holdout": type(None), "findings": dict,
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_what_the_contract_declares_is_there(kind: str, name: str) -> None:
    case = make(kind)
    if name in LACKING[kind]:
        return
    assert isinstance(case.inside(lambda run: getattr(run, name)), TYPES[name])


def test_the_table_is_whole() -> None:
    declared = {name for name in LiveRun.__annotations__ if not name.startswith("_")}
    assert declared - {"lacks"} <= {*TYPES, "backbone", "objective"}


def test_what_a_host_never_has_is_named_with_the_host(kind: str) -> None:
    case = make(kind)
    assert set(case.run.lacks) - {"discriminator"} == LACKING[kind]
    for name in LACKING[kind]:
        with pytest.raises(
            CapabilityError, match=rf"run\.{name} is not offered by {case.run.host}: "
        ):
            case.inside(lambda run, name=name: getattr(run, name))
        assert getattr(case.run, name, None) is None


def test_what_nobody_has_is_an_attribute_error(kind: str) -> None:
    with pytest.raises(AttributeError, match="no attribute 'colour'") as raised:
        make(kind).run.colour  # noqa: B018
    assert not isinstance(raised.value, CapabilityError)


def test_the_run_tells_who_is_being_called(kind: str) -> None:
    case = make(kind)
    assert case.inside(lambda run: run.calling) == ("caller", "gan_step_end")
    assert case.run.calling == ("", "")


def test_settings_have_every_key(kind: str) -> None:
    config = make(kind).run.config
    for section, keys in Config().model_dump().items():
        assert section == "PLUGINS" or set(keys) <= set(vars(getattr(config, section))), section
    assert config.OPTIMIZATION.batch_size == BATCH
    assert config.OPTIMIZATION.total_steps == STEPS


def test_ranks_and_calls_generate_different_samples(kind: str) -> None:
    if "generator" in LACKING[kind]:
        with pytest.raises(CapabilityError, match=r"run\.backbone is not offered"):
            make(kind).inside(lambda run: run.generate(4))
        return

    def twice(run: LiveRun) -> tuple[Fake, Fake]:
        return run.generate(4), run.generate(4)

    case = make(kind)
    first, second = case.inside(twice)
    assert isinstance(first, Fake)
    assert first.x.shape == (4, 2)
    assert not first.x.requires_grad
    assert not torch.equal(first.z, second.z)
    case.run.new_step()
    assert torch.equal(case.inside(twice)[0].z, first.z)
    other = make(kind, rank=1, world_size=2)
    assert not torch.equal(other.inside(twice)[0].z, first.z)


def test_labels_come_as_often_as_in_the_data() -> None:
    run = make("adapter").run
    drawn = run.labels(20_000, "test")
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert torch.allclose(shares, torch.tensor([0.5, 0.4, 0.1]), atol=0.015)
    assert torch.equal(run.labels(50, "test"), drawn[:50])
    assert make("gan-registry").run.labels(5, "test") is None


def test_labels_of_data_that_do_not_tell_come_evenly() -> None:
    run = make("adapter").run
    run.dataset.labels = None
    shares = torch.bincount(run.labels(20_000, "test"), minlength=3) / 20_000
    assert torch.allclose(shares, torch.full((3,), 1 / 3), atol=0.015)


def test_logits_are_the_log_density_ratio_of_each_sample(kind: str) -> None:
    run = make(kind).run
    x, y = torch.randn(7, 2), None if kind != "adapter" else torch.arange(7) % 3
    logits = run.logits(x, y)
    assert logits.shape == (7,)
    assert logits.dtype == torch.float32
    # All three play the logistic loss, where the ratio is D's output itself.
    assert torch.allclose(logits, run.discriminator(x, y).reshape(-1))
    other = nn.Linear(2, 1)
    if kind == "adapter":
        other = NetworkView(other)
    other.forward = (lambda f: lambda x, y=None: f(x))(other.forward)
    assert torch.allclose(run.logits(x, y, other), other(x).reshape(-1))


def test_additions_have_names_of_their_own(kind: str) -> None:
    case, layer = make(kind), nn.Linear(2, 2)
    case.inside(lambda run: run.add("caller.layer", layer))
    assert case.run.additions["caller.layer"] is layer
    with pytest.raises(PluginError, match=r"'caller.layer' is taken"):
        case.inside(lambda run: run.add("caller.layer", nn.Linear(2, 2)))


def test_what_is_logged_is_read_once(kind: str) -> None:
    case = make(kind)
    case.run.take_log()
    case.inside(lambda run: run.log({"caller/loss": torch.tensor(2.5), "caller/name": "x"}))
    assert case.run.noted() == case.run.take_log() == {"caller/loss": 2.5, "caller/name": "x"}
    assert case.run.noted() == {}


def test_weights_act_from_the_next_batch_on(kind: str) -> None:
    case = make(kind)
    run = case.run
    if kind == "gan-registry":
        run = Run(digits_config(RUN__sampler="caller"), with_sampler(case.plugin), {})
        run.hooks.build(run)
        build_data(run)
        case = Case(run, run.hooks, case.plugin)
    elif kind == "adapter":
        run.sampler = weighted(run)
    weights = np.zeros(len(run.dataset))
    weights[5] = 1.0
    before = run.position
    case.inside(lambda run: run.set_weights(weights))
    assert (run.sampler.draw(before, before + 3 * run.batch_size) == 5).all()


def weighted(run: LiveRun) -> IndexSampler:
    from diagan_plugin import DiaSampler

    return DiaSampler(len(run.dataset), run.seed)


class WithSampler:
    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.samplers.register("caller", weighted)


def with_sampler(plugin: Caller) -> PluginManager:
    return manager(caller=plugin, sampler=WithSampler())


def test_draws_of_an_update_are_those_that_its_batches_hold(kind: str) -> None:
    run = make(kind).run
    if kind == "gan-registry":
        batches = [run.stream.next() for _ in range(2)]
    elif kind == "adapter":
        batches = []
        for _, (x, _) in zip(range(2), run.loader, strict=False):
            batches.append(Real(run.loader.indices, x))
    else:
        batches = [Real(torch.tensor(rows), torch.zeros(3, 0)) for rows in ([4, 4, 1], [0, 59, 2])]
    none = Fake(torch.zeros(1), torch.zeros(1))
    # Nothing comes back from there: indices are at hand, and to fetch them would wait for it.
    run.device = torch.device("meta")
    drawn = run.drawn([MicroBatch(batch, none) for batch in batches])
    assert drawn.dtype == np.int64
    assert drawn.tolist() == torch.cat([batch.indices for batch in batches]).tolist()


def test_networks_are_replaced_or_the_host_is_named(kind: str) -> None:
    case, layer = make(kind), nn.Linear(2, 1)

    def replace(run: LiveRun) -> None:
        run.discriminator = layer

    if kind == "gan-registry":
        with pytest.raises(PluginError, match="gan_step_end replaced the discriminator; networks"):
            case.inside(replace)
        replace(case.run)  # as in gan_models_ready
        assert case.run.discriminator is case.run.backbone.discriminator is layer
    else:
        with pytest.raises(
            CapabilityError, match=f"gan_step_end replaces the discriminator, which {case.run.host}"
        ):
            case.inside(replace)


def test_networks_are_built_or_the_host_is_named(kind: str) -> None:
    case = make(kind)
    if kind == "gan-registry":
        one, two = case.inside(lambda run: [run.build("discriminator") for _ in range(2)])
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)
        return
    words = {
        "adapter": "the adapter for Mine cannot build",
        "own loop": r"run\.backbone is not offered",
    }
    with pytest.raises(CapabilityError, match=words[kind]):
        case.inside(lambda run: run.build("discriminator"))


def test_a_run_s_networks_answer_for_a_backbone(kind: str) -> None:
    if "backbone" in LACKING[kind]:
        return
    backbone: Networks = make(kind).run.backbone
    latents = backbone.latent(3, torch.Generator().manual_seed(0))
    assert latents.shape == (3, 2)
    assert backbone.realness(torch.zeros(3, 1)).shape == (3,)


def test_what_d_is_trained_on_beside_its_loss_is_shown_or_none(kind: str) -> None:
    case = make(kind)
    added = case.inside(lambda run: run.regularization_of(run.discriminator, "caller.other"))
    if kind != "gan-registry":
        assert added is None
        return
    real, fake = (
        Real(torch.arange(4), torch.randn(4, 2)),
        Fake(torch.randn(4, 2), torch.zeros(4, 2)),
    )
    assert added.terms(real, fake, torch.zeros(4, 1), torch.zeros(4, 1), update=0) is None
    case.run.config.LOSS.apply_gp = True
    added = case.inside(lambda run: run.regularization_of(run.discriminator, "caller.another"))
    assert added.terms(real, fake, torch.zeros(4, 1), torch.zeros(4, 1), update=0) > 0
    assert added.lazy_terms([real], update=0) == []


def test_a_run_can_be_asked_to_stop(kind: str) -> None:
    case = make(kind)
    assert case.run.stopped is None
    case.inside(lambda run: run.stop("enough"))
    assert case.run.stopped == "enough"
