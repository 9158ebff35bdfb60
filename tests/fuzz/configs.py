"""Configurations: packaged ones and those with StudioGAN's keys, changed within the schema or not.

A case is `(content, flags)`: what the file holds, and what the command line adds. New keys of the
schema and new options of plugins are drawn from without a change here.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from hypothesis import strategies as st

from gan_registry.cli.main import main
from gan_registry.config.load import packaged_configs, read_config
from gan_registry.config.schema import Config
from gan_registry.config.studiogan import UNSUPPORTED_KEYS
from gan_registry.plugins import PluginManager
from tests.fuzz.harness import Target, command, is_temporary, scratch
from tests.fuzz.values import PLAIN, TEXT, seldom

Case = tuple[dict[str, Any], list[str]]

SMALL: dict[str, Any] = {
    "DATA": {"name": "gmm25", "options": {"num_samples": 64}},
    "MODEL": {"backbone": "mlp", "z_dim": 2, "hidden_dim": 4, "num_layers": 1, "g_bn": False},
    "LOSS": {"adv_loss": "logistic"},
    "OPTIMIZATION": {"batch_size": 8, "d_updates_per_step": 1, "total_steps": 2},
    "RUN": {"print_freq": 1, "save_freq": 0, "num_eval": 50, "device": "cpu"},
}
"""The smallest training."""

# What decides how long a case takes is not drawn freely.
BOUNDS = {"total_steps": 2, "batch_size": 16, "num_workers": 0, "num_eval": 50, "cpu_threads": 1}
MOST = 6
_CATALOGS = {
    "DATA.name": "datasets", "MODEL.backbone": "backbones", "LOSS.adv_loss": "losses",
    "LOSS.objective": "objectives", "RUN.sampler": "samplers", "RUN.samples": "postprocessors",
    "RUN.eval_features": "features",
}  # fmt: skip


@functools.cache
def manager() -> PluginManager:
    """All installed plugins, whose catalogs name what a config may choose."""
    return PluginManager()


@functools.cache
def keys() -> dict[str, dict[str, Any]]:
    """`SECTION.key` → its JSON schema."""
    schema = Config.model_json_schema()
    found = {}
    for section, entry in schema["properties"].items():
        if section == "PLUGINS":
            continue
        name = entry.get("$ref", "") or entry["allOf"][0]["$ref"]
        for key, each in schema["$defs"][name.rsplit("/", 1)[-1]]["properties"].items():
            field = Config.model_fields[section].annotation.model_fields[key]
            found[f"{section}.{key}"] = {**each, **_bounds(field.metadata)}
    return found


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    """Returns the bounds of a field, which the JSON schema lacks where a validator comes first."""
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    return {
        word: getattr(item, name)
        for item in metadata
        for name, word in words.items()
        if hasattr(item, name)
    }


def valid(key: str) -> st.SearchStrategy[Any]:
    """Draws a value that the schema takes, of a size that trains at once."""
    if catalog := _CATALOGS.get(key):
        known = sorted(getattr(manager().catalogs, catalog))
        return st.sampled_from(known)
    name = key.partition(".")[2]
    if name in ("path", "module"):
        return st.none()
    if name in ("eval_metrics", "stop_on", "minority", "options"):
        return st.just({} if name in ("minority", "options") else [])
    return _of_schema(keys()[key], BOUNDS.get(name, MOST))


def _of_schema(schema: dict[str, Any], most: int) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of(*(_of_schema(each, most) for each in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    low = schema.get("minimum", schema.get("exclusiveMinimum", -most))
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, most)))
    if kind == "integer":
        return st.integers(low, max(low, min(high, most)))
    if kind == "number":
        return st.floats(
            low, high, exclude_min="exclusiveMinimum" in schema,
            exclude_max="exclusiveMaximum" in schema, allow_subnormal=False,
        )  # fmt: skip
    if kind == "array":
        return st.lists(_of_schema(schema["items"], most), max_size=2)
    if kind == "object":
        return st.just({})
    return {"boolean": st.booleans(), "null": st.none()}.get(str(kind), TEXT)


@st.composite
def contents(draw: Any, small: bool = False) -> Case:
    """A configuration and what `--set` and plugins' flags change; `small` ones train at once."""
    base = SMALL if small else draw(seldom(0.3, _packaged(), st.just(SMALL)))
    content = {section: dict(values) for section, values in base.items()}
    free = [key for key in keys() if not small or key not in ("DATA.name", "MODEL.backbone")]
    for key in draw(st.lists(st.sampled_from(free), max_size=2, unique=True)):
        section, _, name = key.partition(".")
        # Catalogs and switches of whole methods often exclude each other: now and then.
        content.setdefault(section, {})[name] = draw(valid(key))
    plugins = manager()
    acting = [option for option in plugins.options if option.plugin not in plugins.observers]
    for option in draw(st.lists(st.sampled_from(acting), max_size=1)):  # loggers may send
        value = draw(st.sampled_from(_values_of(option)))
        if value is not None:
            section = content.setdefault("PLUGINS", {}).setdefault(option.plugin, {})
            content["PLUGINS"][option.plugin] = {**section, option.name: value}
    for bad in draw(seldom(0.25, st.just([]), st.lists(mistakes(), min_size=1, max_size=2))):
        bad(content)
    flags = draw(seldom(0.15, st.just([]), st.lists(settings(), max_size=2)))
    return content, [f"--set={flag}" for flag in flags]


def _packaged() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(packaged_configs()).map(lambda name: read_config(name)[2])


def _values_of(option: Any) -> list[Any]:
    if option.action.nargs == 0:
        return [True, False]
    if option.action.choices:
        return list(option.action.choices)
    return [option.default, 1, 2, 0.5, "auto"]


@st.composite
def mistakes(draw: Any) -> Any:
    """Something that makes a configuration worse: a function of its content."""
    section = draw(st.sampled_from([*Config.model_fields, "model", ""]))
    known = [key.partition(".")[2] for key in keys() if key.startswith(f"{section}.")]
    foreign = sorted(UNSUPPORTED_KEYS.get(section, ()))
    key = draw(seldom(0.2, st.sampled_from([*known, *foreign, "name"]), TEXT))
    value = draw(seldom(0.2, PLAIN, st.just("N/A")))
    whole = draw(st.integers(0, 9)) == 0

    def change(content: dict[str, Any]) -> None:
        if whole or not isinstance(content.get(section, {}), dict):
            content[section] = value
        else:
            content[section] = {**content.get(section, {}), key: value}

    return change


@st.composite
def settings(draw: Any) -> str:
    """What stands after `--set`."""
    key = draw(seldom(0.2, st.sampled_from(sorted(keys())), TEXT))
    value = draw(valid(key)) if key in keys() and draw(st.booleans()) else draw(TEXT)
    return f"{key}={value}"


def write(content: dict[str, Any]) -> None:
    """Writes a configuration; what YAML cannot hold is written as text."""
    Path("case.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def resolve(case: Case) -> bool:
    """Takes a configuration all the way to where its training would begin."""
    content, flags = case
    with scratch() as folder, mock.patch("gan_registry.cli.train._train_and_measure"):
        write(content)
        code, _ = command(main, ["train", "--config", "case.yaml", "--quiet", *flags])
        assert [path.name for path in folder.rglob("*")] == ["case.yaml"]
    return code == 0


def plan(case: Case) -> bool:
    """Describes what would be done: networks are built, updates are tried."""
    content, flags = case
    with scratch() as folder, mock.patch("gan_registry.training.cost._TIMED_UPDATES", 1):
        write(content)
        code, _ = command(main, ["train", "--config", "case.yaml", "--dry-run", *flags])
        assert [path.name for path in folder.rglob("*")] == ["case.yaml"]
    return code == 0


def train(case: Case) -> bool:
    """Trains for two steps, evaluates and reports."""
    content, flags = case
    with scratch() as folder:
        write(content)
        train = ["train", "--config", "case.yaml", "--out", "run", "--quiet", *flags]
        code, _ = command(main, train)
        assert not [path.name for path in folder.rglob("*") if is_temporary(path)]
        assert code or (folder / "run" / "report.html").is_file()
    return code == 0


TARGETS = (
    Target(
        "configs",
        contents(),
        resolve,
        60,
        least=0.5,
        pinned=(({"DATA": {"name": []}}, []), ({"DATA": {"name": {"a": 1}}}, [])),
    ),
    Target("plans", contents(small=True), plan, 8),
    Target("trainings", contents(small=True), train, 2),
)
