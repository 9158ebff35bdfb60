from __future__ import annotations

import importlib

import pytest

from gan_registry.catalogs import KINDS, Catalog, Catalogs
from gan_registry.errors import PluginError, UserError


def test_every_built_in_can_be_imported_and_called():
    catalogs = Catalogs()
    total = 0
    for _, catalog in catalogs:
        for name in catalog:
            assert callable(catalog[name])
            assert catalog.owner(name) == "gan_registry"
            total += 1
    assert total >= 10
    assert [plural for plural, _ in catalogs] == list(KINDS)


def test_an_unknown_name_is_an_error_that_suggests():
    with pytest.raises(UserError, match=r"Unknown backbone 'dcgn'\. Did you mean 'dcgan'"):
        Catalogs().backbones["dcgn"]


def test_nothing_wins_by_being_registered_last():
    catalog = Catalog("loss")
    catalog.register("mine", dict, plugin="one")
    with pytest.raises(PluginError, match=r"'two' registers the loss 'mine', which 'one'"):
        catalog.register("mine", list, plugin="two")
    assert catalog["mine"] is dict


@pytest.mark.parametrize("factory", [3, "no path", "a:b:c", None])
def test_a_factory_is_checked_when_registered(factory):
    with pytest.raises(PluginError, match=r"neither callable nor"):
        Catalog("loss").register("mine", factory, plugin="one")


@pytest.mark.parametrize("name", ["", " x", "a\nb", 3])
def test_a_name_is_checked_when_registered(name):
    with pytest.raises(PluginError, match="no name"):
        Catalog("loss").register(name, dict, plugin="one")


def test_a_path_is_imported_on_first_use_only(monkeypatch):
    catalog = Catalog("loss")
    catalog.register("counter", "collections:Counter", plugin="one")
    calls = []
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda n: calls.append(n) or real(n))
    assert "counter" in catalog
    assert calls == []
    first, second = catalog["counter"], catalog["counter"]
    assert first is second
    assert calls == ["collections"]


@pytest.mark.parametrize("code", ["1 / 0", "no python at all", "raise SystemExit(3)", "assert 0"])
def test_a_module_that_fails_when_it_is_imported_names_its_plugin(tmp_path, monkeypatch, code):
    (tmp_path / "failing_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog("loss")
    catalog.register("broken", "failing_module:x", plugin="one")
    with pytest.raises(PluginError, match=r"'broken' of 'one' cannot be imported .*: \w+: ?") as e:
        catalog["broken"]
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("path", ["no_such_module:x", "collections:no_such_name"])
def test_a_path_that_leads_nowhere_names_its_plugin(path):
    catalog = Catalog("loss")
    catalog.register("broken", path, plugin="one")
    with pytest.raises(PluginError, match=r"'broken' of 'one' cannot be imported"):
        catalog["broken"]


def test_a_path_to_something_that_is_no_factory():
    catalog = Catalog("loss")
    catalog.register("broken", "math:pi", plugin="one")
    with pytest.raises(PluginError, match="no factory"):
        catalog["broken"]


def test_a_host_key_has_one_claimant():
    catalogs = Catalogs()
    catalogs.claim("LOSS.apply_topk", "one.enabled")
    catalogs.claim("LOSS.apply_topk", "one.enabled")
    with pytest.raises(PluginError, match=r"claimed by both 'one.enabled' and 'two.k'"):
        catalogs.claim("LOSS.apply_topk", "two.k")


@pytest.mark.parametrize("key", ["RUN.seed", "nowhere.x", "LOSS", "PLUGINS.x"])
def test_a_claim_cannot_take_what_is_the_hosts(key):
    with pytest.raises(PluginError, match="claims the config key"):
        Catalogs().claim(key, "one.x")


def test_restoring_a_snapshot_forgets_components_and_claims():
    catalogs = Catalogs()
    before = catalogs.snapshot()
    catalogs.losses.register("mine", dict, plugin="one")
    catalogs.claim("LOSS.apply_topk", "one.k")
    catalogs.restore(before)
    assert "mine" not in catalogs.losses
    assert "logistic" in catalogs.losses
    assert catalogs.claims == {}
