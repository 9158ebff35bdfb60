from __future__ import annotations

from types import MappingProxyType

import pytest

from gan_registry.errors import PluginError
from gan_registry.evaluation.contributions import add_values, merge_contributions


def test_nested_mappings_merge_in_order_and_leave_the_arguments_alone():
    own = {"steps": 3, "groups": {"minor": {"share_data": 0.1}}}
    first = MappingProxyType({"groups": {"minor": {"difficulty": 2.0}}, "weights": {"ess": 5}})
    second = {"groups": {"minor": {"age": 1}, "other": {"age": 2}}, "weights": {}}
    merged = merge_contributions([("p", first), ("q", second)], own)
    assert list(merged) == ["steps", "groups", "weights"]
    assert list(merged["groups"]["minor"].items()) == [
        ("share_data", 0.1), ("difficulty", 2.0), ("age", 1),
    ]  # fmt: skip
    assert merged["groups"]["other"] == {"age": 2}
    assert own == {"steps": 3, "groups": {"minor": {"share_data": 0.1}}}
    assert first["groups"] == {"minor": {"difficulty": 2.0}}
    assert second["weights"] == {}
    merged["weights"]["ess"] = 6
    assert first["weights"] == {"ess": 5}


@pytest.mark.parametrize("value", [2.0, {"mean": 2.0}])
def test_an_entry_of_two_plugins_names_both(value):
    pairs = [
        ("p", {"groups": {"minor": {"difficulty": 1.0}}}),
        ("q", {"groups": {"minor": {"difficulty": value}}}),
    ]
    with pytest.raises(PluginError) as caught:
        merge_contributions(pairs, {"groups": {"minor": {}}})
    assert str(caught.value) == (
        "Plugin 'q': gan_result returned 'groups.minor.difficulty', which the result holds already "
        "from the plugin 'p'."
    )


@pytest.mark.parametrize("entries", [{"steps": 4}, {"steps": {"more": 4}}, {"groups": 1}])
def test_an_entry_of_the_host_is_nobody_elses(entries):
    (name,) = entries
    with pytest.raises(PluginError, match=rf"^Plugin 'p': .*'{name}', which .* holds already\.$"):
        merge_contributions([("p", entries)], {"steps": 3, "groups": {}})


def test_values_are_added_once():
    found = {"other": 0.5}
    add_values(found, {"fid": 1.0}, "A metric")
    assert found == {"other": 0.5, "fid": 1.0}
    with pytest.raises(PluginError, match=r"^A metric returned 'fid', which"):
        add_values(found, {"fid": 2.0}, "A metric")
