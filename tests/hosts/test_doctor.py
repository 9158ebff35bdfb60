"""`diagan doctor`: what it says of hosts, also where one is missing or has changed."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from types import ModuleType

import pytest
from studiogan_hosts import MINIATURE

from diagan_plugin.cli import main
from diagan_plugin.hosts import doctor
from diagan_plugin.hosts.kit.seams import Seam, differing, require
from diagan_plugin.hosts.kit.stand_ins import standing_in
from gan_registry import PluginManager
from gan_registry.errors import UserError


@pytest.fixture
def hosts(monkeypatch):
    """Two hosts beside gan-registry: one absent, one whose import goes wrong."""

    def absent(host, plugins):
        raise UserError("Absent is not there: pip install absent.")

    def broken(host, plugins):
        host.version = "9.9"
        raise RuntimeError("no  such\nattribute")

    def partial(host, plugins):
        host.version = "1.0"
        host.plugins = {"mode_seeking": ["gan_generator_penalty"]}

    found = {
        "gan-registry": doctor.HOSTS["gan-registry"], "absent": absent, "broken": broken,
        "partial": partial,
    }  # fmt: skip
    monkeypatch.setattr(doctor, "HOSTS", found)


def test_it_tells_each_host_apart(hosts, capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {host["name"]: host for host in found["hosts"]}
    assert {name: host["status"] for name, host in by_name.items()} == {
        "gan-registry": "ready", "absent": "not installed", "broken": "will not work",
        "partial": "ready",
    }  # fmt: skip
    assert by_name["broken"]["notes"] == ["RuntimeError: no such attribute"]
    assert by_name["broken"]["version"] == "9.9"
    plugins = {plugin["name"]: plugin for plugin in found["plugins"]}
    assert plugins["dia"]["loaded"]
    assert "gan_step_end" in plugins["dia"]["hooks"]
    assert found["versions"]["torch"]


def test_it_says_the_same_in_words(hosts, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "pip install absent" in text
    assert "the plugin mode_seeking will not work there: it needs gan_generator_penalty" in text


def test_it_says_why_a_plugin_was_skipped(hosts, capsys, monkeypatch):
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "gold")
    assert main(["doctor", "--host", "gan-registry"]) == 0
    assert "skipped: disabled by GAN_REGISTRY_DISABLE" in capsys.readouterr().out


@pytest.mark.parametrize(("host", "code"), [("gan-registry", 0), ("absent", 1), ("broken", 1)])
def test_the_exit_code_says_whether_one_host_is_ready(hosts, host, code):
    assert main(["doctor", "--host", host, "--json"]) == code


def test_an_unknown_host_is_refused_with_the_nearest(hosts, capsys):
    assert main(["doctor", "--host", "absend"]) == 2
    assert "'absent'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["own-loop", "accelerate", "lightning", "mimicry"])
def test_looking_at_a_host_leaves_no_trace_and_never_raises(name):
    before = {module for module in sys.modules if module.startswith("torch_mimicry")}
    looked = doctor._look(name, doctor.HOSTS[name], PluginManager())
    assert looked.status in {doctor.READY, doctor.ABSENT, doctor.REFUSED}
    assert looked.status == doctor.READY or looked.notes
    assert {module for module in sys.modules if module.startswith("torch_mimicry")} == before


def test_a_checkout_of_studiogan_is_ready(monkeypatch):
    command = doctor.import_module("diagan_plugin.hosts.studiogan.command")
    monkeypatch.setenv(command.ROOT_VARIABLE, str(MINIATURE))
    looked = doctor._look("studiogan", doctor.HOSTS["studiogan"], PluginManager())
    assert (looked.status, looked.notes) == (doctor.READY, [])
    assert looked.version == str(MINIATURE)
    refusals = doctor.import_module("diagan_plugin.hosts.studiogan.refusals")
    assert looked.plugins == refusals.CAPABILITIES.missing(PluginManager())


def test_what_is_no_checkout_of_studiogan_will_not_work(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path))
    looked = doctor._look("studiogan", doctor.HOSTS["studiogan"], PluginManager())
    assert looked.status == doctor.REFUSED


def test_extras_are_those_of_the_distribution():
    extras = {extra["extra"]: extra for extra in doctor._extras()}
    assert extras["vision"]["package"] == "torchvision"
    provided = importlib.metadata.metadata("diagan-plugin").get_all("Provides-Extra")
    assert set(extras) == set(doctor.PURPOSES) == set(provided) - {"all", "hosts", "test"}


def test_what_is_missing_is_named_with_what_it_is_for(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "version_of", lambda name: "" if name == "lmdb" else "9.9")
    assert main(["doctor", "--host", "own-loop"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " lmdb " in line]
    assert line.split("missing")[1] == " for images in an LMDB: pip install 'lmdb>=1.4'"


class Host:
    """Seams as they should be, for the tests below."""

    size = 3

    def train(self, batch, *, device=None):
        return self.loss(batch)

    def loss(self, batch):
        return batch


SEAMS = (Seam("size"), Seam("train", "batch device", "loss"), Seam("loss", "batch"))


class TestSeams:
    def test_a_host_as_expected_is_accepted(self):
        assert differing(Host(), SEAMS) is None
        require("host", "1.0", Host(), SEAMS)

    def test_an_attribute_that_is_gone_is_named(self):
        host = Host()
        host.loss = None
        assert differing(host, SEAMS) == ("loss", "it does not exist")

    def test_a_parameter_that_is_gone_is_named(self):
        host = Host()
        host.loss = lambda data: data
        with pytest.raises(UserError, match=r"seam loss: it takes no batch.*version 1\.0"):
            require("host", "1.0", host, SEAMS)

    def test_a_function_that_takes_another_way_is_named(self):
        host = Host()
        host.train = lambda batch, device=None: batch
        assert differing(host, SEAMS) == ("train", "its code does not use loss")


def test_a_stand_in_lasts_as_long_as_its_block():
    with standing_in("no_such_package.thing", "json"):
        import no_such_package

        assert isinstance(no_such_package.thing, ModuleType)
        assert json.dumps({}) == "{}"  # an installed module stays
    assert "no_such_package" not in sys.modules
