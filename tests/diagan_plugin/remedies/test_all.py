"""What every remedy must do: train, resume exactly, be off when off, and take part or refuse."""

from __future__ import annotations

import configparser
import functools
import importlib
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from settings import COMBINES, DIA, SETTINGS
from small_runs import assert_equal_runs, fit, manager, points_config, state_of

from diagan_plugin import remedies
from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.training.plan import describe_plan
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run

ROOT = Path(__file__).parents[3]
STEPS = 8

each_remedy = pytest.mark.parametrize("name", SETTINGS)


def set_up(
    name: str,
    *,
    on: bool = True,
    loaded: bool = True,
    dia: bool = False,
    beside: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[Config, PluginManager]:
    """A run's parts, with a remedy: on, loaded but off, or not loaded; with Dia or without."""
    setting = SETTINGS[name]
    plugins: dict[str, Any] = dict(beside or {})
    options: dict[str, Any] = {}
    config: dict[str, Any] = {"OPTIMIZATION__total_steps": STEPS}
    config |= {key: value for key, value in setting.config.items() if key.startswith("DATA")}
    if loaded:
        plugins[name] = setting.make()
    if on:
        options[name] = setting.options
        config |= setting.config
    if dia or setting.needs_dia:
        plugins["dia"] = DiaPlugin()
        options["dia"] = DIA
    if dia:
        config["RUN__sampler"] = "dia"
    full = points_config(**{**config, **changes})
    full.PLUGINS = options
    return full, manager(**plugins)


def train(name: str, *, folder: Path | None = None, **settings: Any) -> Run:
    """The run of what `set_up` returns."""
    config, plugins = set_up(name, **settings)
    return fit(config, folder, plugins)


@functools.cache
def plain(name: str) -> Run:
    """The run of a remedy's configuration without it."""
    return train(name, on=False, loaded=False)


@functools.cache
def remedied(name: str) -> Run:
    return train(name)


def differ(one: Run, other: Run) -> bool:
    a, b = state_of(one), state_of(other)
    return any(not torch.equal(a[key], b[key]) for key in a.keys() & b.keys())


@each_remedy
def test_it_trains_and_changes_the_result(name: str) -> None:
    run = remedied(name)
    assert run.step == STEPS
    assert all(value.isfinite().all() for value in state_of(run).values())
    assert differ(run, plain(name))


@each_remedy
def test_a_dry_run_describes_it(name: str, tmp_path: Path) -> None:
    config, plugins = set_up(name)
    options = plugins.options.resolve(config.PLUGINS, {}, "the test's config", {})
    said = describe_plan(config, plugins, options, name, tmp_path / "run")
    assert f"{name}: " in said
    assert "estimate, training" in said
    assert not any(tmp_path.iterdir())


@each_remedy
def test_off_it_changes_not_a_bit(name: str) -> None:
    assert_equal_runs(train(name, on=False), plain(name))


@each_remedy
def test_options_that_do_nothing_are_named(
    name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config, plugins = set_up(name, on=False)
    idle = SETTINGS[name].idle
    config.PLUGINS[name] = {option: value for option, (value, _) in idle.items()}
    assert_equal_runs(fit(config, tmp_path / "run", plugins), plain(name))
    said = [text for text in caplog.messages if "has no effect without" in text]
    assert sorted(text.split()[0] for text in said) == sorted(flag for _, flag in idle.values())
    caplog.clear()
    open_run(tmp_path / "run", plugins)
    train(name)
    assert "has no effect" not in caplog.text


@each_remedy
def test_it_resumes_exactly(name: str, tmp_path: Path) -> None:
    saving = {"RUN__save_freq": 2, "RUN__keep_checkpoints": 20}
    whole = train(name, folder=tmp_path / "whole", **saving)
    assert_equal_runs(whole, remedied(name))
    for stop in (2, 6):  # in phase 1 and in phase 2
        killed = tmp_path / f"killed-{stop}"
        shutil.copytree(tmp_path / "whole", killed)
        for path in (killed / "checkpoints").iterdir():
            if int(path.stem.removeprefix("step-")) > stop:
                path.unlink()
        resumed = train(name, folder=killed, **saving)
        assert resumed.first_step == stop
        assert_equal_runs(resumed, whole)


class Poison:
    """Makes D's output NaN from the third step on."""

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        if run.step == 2:
            for parameter in run.discriminator.parameters():
                parameter.data.fill_(float("nan"))  # which is not counted as a change of weights


@each_remedy
def test_nan_logits_end_in_a_clear_line(name: str) -> None:
    with pytest.raises(UserError, match="diverged") as caught:
        train(name, beside={"poison": Poison()}, RUN__print_freq=STEPS)
    assert len(str(caught.value).splitlines()) == 1


@each_remedy
def test_it_combines_with_dia_or_says_so(name: str, caplog: pytest.LogCaptureFixture) -> None:
    words = SETTINGS[name].with_dia
    if words != COMBINES:
        refusal = ""
        try:
            train(name, dia=True)
        except UserError as error:
            refusal = str(error)
        assert words in refusal + caplog.text
        return
    both = train(name, dia=True)
    assert "dia.auxiliary" in both.additions
    assert differ(both, remedied(name))
    assert differ(both, train(name, on=False, loaded=False, dia=True))


def entry_points() -> dict[str, str]:
    """The entry points in setup.cfg that name a module of the package."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options.entry_points"]["gan_registry"].strip().splitlines()
    pairs = [tuple(part.strip() for part in line.split("=", 1)) for line in lines]
    return {name: value for name, value in pairs if value.startswith(f"{remedies.__name__}.")}


def test_every_entry_point_is_in_the_table_and_back() -> None:
    assert entry_points() == {name: setting.plugin for name, setting in SETTINGS.items()}


def test_every_plugin_class_of_the_package_is_in_the_table() -> None:
    found = set()
    for info in pkgutil.walk_packages(remedies.__path__, f"{remedies.__name__}."):
        module = importlib.import_module(info.name)
        found |= {
            f"{info.name}:{name}"
            for name, value in vars(module).items()
            if name.endswith("Plugin") and getattr(value, "__module__", "") == info.name
        }
    assert found == {setting.plugin for setting in SETTINGS.values()}


def test_options_go_by_the_plugins_names() -> None:
    # Flags of another plugin's would be refused.
    plugins = manager(**{name: setting.make() for name, setting in SETTINGS.items()})
    assert plugins.options.plugins() == set(SETTINGS)
    assert all(option.action.help for option in plugins.options)


def test_loading_the_plugins_costs_no_torch() -> None:
    modules = sorted({setting.plugin.partition(":")[0] for setting in SETTINGS.values()})
    heavy = "{'torch', 'numpy', 'scipy'} & set(sys.modules)"
    code = f"import sys, {', '.join(modules)}; sys.exit(', '.join({heavy}) or 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
