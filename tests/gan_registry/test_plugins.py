from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gan_registry import plugins as plugins_module
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import DISABLE_VARIABLE, PluginManager


class Full:
    """Uses every way of registering something."""

    @hookimpl
    def gan_add_options(self, parser):
        group = parser.add_argument_group("full")
        group.add_argument("--full-size", dest="full.size", type=int, default=3)
        parser.add_argument("--full-on", dest="full.on", action="store_true")

    @hookimpl
    def gan_register(self, catalogs):
        catalogs.losses.register("full_loss", dict)
        catalogs.claim("LOSS.full_key", "full.size")

    @hookimpl
    def gan_step_end(self, run):
        pass


def entry(name: str, plugin: Any) -> SimpleNamespace:
    def load() -> Any:
        if isinstance(plugin, Exception):
            raise plugin
        return plugin

    return SimpleNamespace(
        name=name, value=f"package:{name}", load=load, dist=SimpleNamespace(version="1.2")
    )


@pytest.fixture
def installed(monkeypatch):
    """Pretends that these plugins, and no others, are installed."""

    def install(*entries: SimpleNamespace) -> PluginManager:
        fake = SimpleNamespace(entry_points=lambda group: list(entries))
        monkeypatch.setattr(plugins_module, "metadata", fake)
        return PluginManager()

    return install


def traces(manager: PluginManager) -> tuple:
    """Everything in which a plugin leaves traces."""
    return (
        {plural: list(catalog) for plural, catalog in manager.catalogs},
        dict(manager.catalogs.claims),
        [action.dest for action in manager.parser._actions],
        sorted(manager.parser._option_string_actions),
        [group.title for group in manager.parser._action_groups],
        [a.dest for group in manager.parser._action_groups for a in group._group_actions],
        len(manager.parser._mutually_exclusive_groups),
        [plugin for _, plugin in manager.hooks.list_name_plugin()],
    )


def test_a_class_an_instance_and_a_module_register_alike():
    module = ModuleType("full_module")
    full = Full()
    for name in ("gan_add_options", "gan_register", "gan_step_end"):
        setattr(module, name, getattr(full, name))
    found = []
    for plugin in (Full, Full(), module):
        manager = PluginManager(load_entry_points=False)
        manager.register(plugin, "full", "0.3")
        info = manager.infos["full"]
        assert (info.version, info.skipped, info.given) == ("0.3", None, True)
        assert manager.catalogs.losses.owner("full_loss") == "full"
        assert manager.catalogs.claims == {"LOSS.full_key": "full.size"}
        assert manager.options.resolve({}) == {"full": {"size": 3, "on": False}}
        found.append(info.hooks)
    assert found == [["gan_add_options", "gan_register", "gan_step_end"]] * 3


def test_installed_plugins_are_found_with_their_version(installed):
    manager = installed(entry("full", Full))
    assert manager.infos["full"].version == "1.2"
    assert not manager.infos["full"].given


def test_a_disabled_plugin_is_never_imported(installed, monkeypatch):
    monkeypatch.setenv(DISABLE_VARIABLE, "other, full ")
    manager = installed(entry("full", AssertionError("imported")))
    assert manager.infos["full"].skipped == f"disabled by {DISABLE_VARIABLE}"
    assert "full_loss" not in manager.catalogs.losses
    assert "disabled" in manager.skipped_hint()


def test_the_variable_blocks_the_real_plugin(monkeypatch):
    monkeypatch.setenv(DISABLE_VARIABLE, "dia")
    assert PluginManager().infos["dia"].skipped == f"disabled by {DISABLE_VARIABLE}"
    monkeypatch.delenv(DISABLE_VARIABLE)
    assert PluginManager().infos["dia"].skipped is None


def test_a_plugin_that_cannot_be_imported_is_skipped_with_its_reason(installed, warned):
    manager = installed(entry("bad", ImportError("no module\nnamed x")), entry("full", Full))
    assert manager.infos["bad"].skipped == "ImportError: no module named x"
    assert manager.infos["full"].skipped is None
    assert any("Skipped plugin 'bad'" in text for text in warned())


def test_of_two_plugins_with_one_name_the_first_stays(installed, warned):
    manager = installed(entry("full", Full), entry("full", Full))
    assert manager.infos["full"].skipped is None
    assert any("registered already" in text for text in warned())


def breaking(**hooks: Any) -> type:
    return type("Breaking", (Full,), {name: hookimpl(hook) for name, hook in hooks.items()})


def after_registering(self, catalogs):
    catalogs.losses.register("full_loss", dict)
    catalogs.losses.register("foreign", dict, plugin="somebody else")
    catalogs.claim("LOSS.full_key", "full.size")
    raise RuntimeError("broken half way")


def after_flags(self, parser):
    Full.gan_add_options(self, parser)
    raise RuntimeError("broken half way")


def after_flags_that_exclude_each_other(self, parser):
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--full-one", dest="full.one")
    group.add_argument("--full-two", dest="full.two")
    raise RuntimeError("broken half way")


def unknown_argument(self, run, nonsense):
    pass


def with_default(self, run=None):
    pass


def host_flag(self, parser):
    parser.add_argument("--seed", dest="full.seed", type=int)


def bad_dest(self, parser):
    parser.add_argument("--full-x", type=int)


def foreign_dest(self, parser):
    parser.add_argument("--full-x", dest="dia.k", type=int)


def positional(self, parser):
    parser.add_argument("full.x")


@hookimpl(wrapper=True)
def wrapping(self, run):
    return (yield)


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (breaking(gan_register=after_registering), "broken half way"),
        (breaking(gan_add_options=after_flags), "broken half way"),
        (breaking(gan_add_options=after_flags_that_exclude_each_other), "broken half way"),
        (breaking(gan_setp_end=lambda self, run: None), "'gan_setp_end', which is not a hook"),
        (breaking(gan_step_end=unknown_argument), "nonsense"),
        (breaking(gan_step_end=with_default), "have defaults"),
        (breaking(gan_add_options=host_flag), "--seed, which is the host's own"),
        (breaking(gan_add_options=bad_dest), "of the form 'full.option'"),
        (breaking(gan_add_options=foreign_dest), "of the form 'full.option'"),
        (breaking(gan_add_options=positional), "no flag"),
        (type("Wrapping", (Full,), {"gan_step_end": wrapping}), "wrappers are not supported"),
        (type("Failing", (Full,), {"__init__": lambda self: 1 / 0}), "division by zero"),
    ],
)
def test_a_plugin_that_breaks_the_contract_leaves_no_trace(plugin, says):
    manager = PluginManager(load_entry_points=False)
    before = traces(manager)
    with pytest.raises(PluginError, match=says) as caught:
        manager.register(plugin, "full")
    assert "'full'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert traces(manager) == before
    assert manager.infos == {}
    manager.register(Full, "full")  # its place is free again
    assert manager.options.resolve({}) == {"full": {"size": 3, "on": False}}


def test_a_flag_that_another_plugin_has_is_refused_and_the_first_keeps_it():
    class Thief:
        @hookimpl
        def gan_add_options(self, parser):
            parser.add_argument("--thief", dest="thief.x")
            parser.add_argument("--full-size", dest="thief.size")

    manager = PluginManager(load_entry_points=False)
    manager.register(Full(), "full")
    before = traces(manager)
    with pytest.raises(PluginError, match="--full-size"):
        manager.register(Thief(), "thief")
    assert traces(manager) == before
    assert getattr(manager.parser.parse_args(["--full-size", "7"]), "full.size") == 7


def test_a_plugin_registered_later_is_treated_like_an_earlier_one():
    """The historic hooks reach it as well, whatever was asked of the manager in between."""

    class Other(Full):
        @hookimpl
        def gan_add_options(self, parser):
            parser.add_argument("--other-size", dest="other.size", type=int, default=4)

        @hookimpl
        def gan_register(self, catalogs):
            catalogs.losses.register("other_loss", dict)

    tables = []
    for order in ((("full", Full), ("other", Other)), (("other", Other), ("full", Full))):
        manager = PluginManager(load_entry_points=False)
        for name, plugin in order:
            manager.register(plugin, name)
            _ = manager.options, manager.parser.format_help()
        tables.append(
            (manager.options.resolve({}), list(manager.catalogs.losses), manager.catalogs.claims)
        )
    assert tables[0] == tables[1]


def test_two_plugins_of_one_name_are_refused():
    manager = PluginManager(load_entry_points=False)
    manager.register(Full(), "full")
    with pytest.raises(UserError, match="registered already"):
        manager.register(Full(), "full")


def test_loading_plugins_imports_no_torch():
    code = (
        "import sys; from gan_registry.plugins import PluginManager; PluginManager(); "
        "import gan_registry, diagan_plugin; "
        "bad = {'torch', 'numpy', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
