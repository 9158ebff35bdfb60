from __future__ import annotations

from pathlib import Path

import pytest

from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.options import HOST_FLAGS, PresetAction
from gan_registry.plugins import PluginManager


class Many:
    @hookimpl
    def gan_add_options(self, parser):
        add = parser.add_argument
        add("--m-size", dest="m.size", type=int, default=3, help="how many")
        add("--m-rate", dest="m.rate", type=float, default=0.5, help="rate, %(default)s if unset")
        add("--m-mode", dest="m.mode", choices=("on", "off", "auto"), default="auto")
        add("--m-name", dest="m.name", default="100%", help="a name")
        add("--m-path", dest="m.path", type=Path, default=None)
        add("--m-fast", dest="m.fast", action="store_true")
        add("--m-list", dest="m.list", type=int, nargs="+", default=[1])


@pytest.fixture
def manager():
    made = PluginManager(load_entry_points=False)
    made.register(Many(), "m")
    return made


DEFAULTS = {
    "size": 3, "rate": 0.5, "mode": "auto", "name": "100%", "path": None, "fast": False,
    "list": [1],
}  # fmt: skip


def test_defaults_then_config_then_flags(manager):
    table = manager.options
    assert table.resolve({})["m"] == DEFAULTS
    section = {"m": {"size": 7, "rate": "1e-3", "fast": True, "path": "x", "list": [2, "3"]}}
    expected = {**DEFAULTS, "size": 7, "rate": 1e-3, "fast": True, "path": Path("x")}
    expected["list"] = [2, 3]
    assert table.resolve(section)["m"] == expected
    given = vars(manager.parser.parse_args(["--m-size", "9"]))
    assert given == {"m.size": 9}, "flags that were not given must not be in the namespace"
    assert table.resolve(section, given)["m"] == {**expected, "size": 9}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("size", "many", "a whole number"),
        ("size", 2.5, "a whole number"),
        ("size", True, "a whole number"),
        ("size", None, "has no value"),
        ("size", [1], "a whole number"),
        ("rate", "high", "a number"),
        ("mode", "atuo", "Did you mean 'auto'"),
        ("fast", "yes", "true or false"),
        ("list", 3, "a list"),
        ("list", ["x"], "a whole number"),
        ("name", {"a": 1}, "--m-name"),
    ],
)
def test_a_bad_value_names_key_file_and_remedy(manager, name, value, says):
    with pytest.raises(UserError, match=says) as caught:
        manager.options.resolve({"m": {name: value}}, where="x.yaml")
    assert f"PLUGINS.m.{name} in x.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "word"), [(True, "on"), (False, "off")])
def test_what_yaml_reads_as_a_truth_value_can_be_a_choice(manager, value, word):
    assert manager.options.resolve({"m": {"mode": value}})["m"]["mode"] == word


class Staged:
    def __init__(self, fast: dict[str, object]) -> None:
        self.presets = {"plain": {}, "fast": fast}

    @hookimpl
    def gan_add_options(self, parser):
        add = parser.add_argument
        add("--s-preset", dest="s.preset", action=PresetAction, presets=self.presets,
            default="plain", help="what to start from")  # fmt: skip
        add("--s-size", dest="s.size", type=int, default=3)
        add("--s-rate", dest="s.rate", type=float, default=0.5)


def test_defaults_then_presets_then_config_then_flags():
    made = PluginManager(load_entry_points=False)
    made.register(Staged({"size": 9, "rate": 2.0}), "s")
    assert "what to start from (default: plain)" in " ".join(made.parser.format_help().split())
    table, chosen = made.options, {"s.preset": "fast"}
    for section, flags, size, rate in (
        ({}, {}, 3, 0.5),
        ({}, chosen, 9, 2.0),
        ({"s": {"preset": "fast"}}, {}, 9, 2.0),
        ({"s": {"size": 3}}, chosen, 3, 2.0),
        ({"s": {"size": 3, "preset": "fast"}}, {"s.size": 4}, 4, 2.0),
        ({"s": {"preset": "fast"}}, {"s.preset": "plain"}, 3, 0.5),
    ):
        resolved = table.resolve(section, flags)
        assert (resolved["s"]["size"], resolved["s"]["rate"]) == (size, rate)
        assert table.resolve(resolved) == resolved, "what is resolved must stay as it is"
    with pytest.raises(UserError, match="Did you mean 'fast'"):
        table.resolve({"s": {"preset": "fats"}})


def test_a_preset_of_an_unknown_option_is_the_plugin_s_mistake():
    with pytest.raises(PluginError, match=r"preset 'fast' of --s-preset sets 's\.sise'"):
        PluginManager(load_entry_points=False).register(Staged({"sise": 9}), "s")


def test_text_stays_text(manager):
    assert manager.options.resolve({"m": {"name": 5}})["m"]["name"] == "5"


def test_unknown_plugins_and_options_are_errors(manager):
    with pytest.raises(UserError, match=r"Unknown plugin 'n' in PLUGINS of x.yaml"):
        manager.options.resolve({"n": {}}, where="x.yaml")
    with pytest.raises(UserError, match=r"Unknown option 'sise'.*Did you mean 'size'"):
        manager.options.resolve({"m": {"sise": 1}})


def test_the_options_of_a_skipped_plugin_are_ignored(monkeypatch):
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "dia")
    assert "dia" not in PluginManager().options.resolve({"dia": {"anything": 1}})


def test_help_shows_each_default_once(manager):
    text = " ".join(manager.parser.format_help().split())
    assert "how many (default: 3)" in text
    assert "rate, 0.5 if unset" in text
    assert "a name (default: 100%)" in text
    assert "SUPPRESS" not in text
    # Of all that is installed, files among it that nothing is the default of.
    assert "(default: )" not in PluginManager().parser.format_help()


def test_changed_names_plugins_with_another_value_than_the_default(manager):
    table = manager.options
    assert table.changed(table.resolve({})) == set()
    assert table.changed(table.resolve({"m": {"size": 3}})) == set()
    assert table.changed(table.resolve({"m": {"size": 4}})) == {"m"}


def test_the_reserved_flags_are_those_of_the_command():
    from gan_registry.cli.main import build_parser

    parser = build_parser(PluginManager(load_entry_points=False))
    (commands,) = parser._subparsers._group_actions
    train = commands.choices["train"]
    flags = {flag for action in train._actions for flag in action.option_strings}
    assert flags == HOST_FLAGS
