"""What a host does not fire, a plugin that needs it is refused for, by name."""

from __future__ import annotations

import pytest

from diagan_plugin.hosts import lightning, lucidrains, mimicry
from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, FIRED, Capabilities
from diagan_plugin.hosts.nvlabs import checkout
from diagan_plugin.hosts.studiogan import refusals
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager, asked_plugins


class Penalising:
    @hookimpl
    def gan_add_options(self, parser):
        parser.add_argument("--strength", dest="strict.strength", type=float, default=0.0)

    @hookimpl
    def gan_register(self, catalogs):
        catalogs.samplers.register("strict", dict)

    @hookimpl
    def gan_generator_penalty(self, run):
        return None

    @hookimpl
    def gan_report(self, run, report):
        return None


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager(load_entry_points=False)
    manager._register(Penalising, "strict", "1", given=False)
    return manager


def test_a_plugin_is_asked_for_by_a_name_or_by_an_option(plugins: PluginManager) -> None:
    idle = plugins.options.resolve({})
    assert asked_plugins(plugins, idle, [("samplers", "uniform")]) == {"gan_registry"}
    assert "strict" in asked_plugins(plugins, idle, [("samplers", "strict")])
    assert "strict" in asked_plugins(
        plugins, plugins.options.resolve({}, {"strict.strength": 1.0}), []
    )
    assert asked_plugins(plugins, idle, [("samplers", "the host's own")]) == set()
    plugins.register(Penalising.__base__(), "given")
    assert asked_plugins(plugins, idle, []) == {"given"}


def test_only_those_asked_for_are_refused(plugins: PluginManager) -> None:
    few = Capabilities("Host", frozenset({"gan_step_end"}), {"gan_generator_penalty": "no seam"})
    assert few.missing(plugins) == {"strict": ["gan_generator_penalty"]}
    few.check(plugins, {"other"})
    with pytest.raises(UserError, match=r"'strict' needs gan_generator_penalty.*Host.*no seam"):
        few.check(plugins, {"strict"})
    Capabilities("Host", frozenset({"gan_generator_penalty"})).check(plugins, {"strict"})


def test_hooks_that_describe_are_not_needed(plugins: PluginManager) -> None:
    assert "gan_report" in plugins.infos["strict"].hooks
    assert "gan_report" not in Capabilities("Host", frozenset()).missing(plugins)["strict"]


def test_a_slip_in_the_declaration_is_an_error() -> None:
    with pytest.raises(ValueError, match="gan_stepend"):
        Capabilities("Host", frozenset({"gan_stepend"}))


@pytest.mark.parametrize(
    "capabilities",
    [lightning.CAPABILITIES, lucidrains.CAPABILITIES, mimicry.CAPABILITIES, refusals.CAPABILITIES]
    + [trainer.capabilities for trainer in checkout.TRAINERS],
    ids=lambda capabilities: capabilities.host,
)
def test_adapters_fire_what_the_installed_plugins_need(capabilities: Capabilities) -> None:
    assert capabilities.hooks <= FIRED < ALL_HOOKS
    plugins = PluginManager()
    without_a_reason = {
        name
        for name, hooks in capabilities.missing(plugins).items()
        if not set(hooks) <= set(capabilities.reasons)
    }
    assert without_a_reason == plugins.observers  # hosts have their own loggers
