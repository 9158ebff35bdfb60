"""Who may import whom. The tables here are the documentation; docs/architecture.md has the tree.

All imports count: also those within functions, and those for types alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import diagan_plugin
import gan_registry

PACKAGES = {"diagan_plugin": diagan_plugin, "gan_registry": gan_registry}

LAYERS = (
    ("__main__",),
    ("hosts", "remedies", "blackbox", "cli"),
    ("postprocessing",),
    ("dia",),
    ("auxiliary", "rarity"),
    ("recording", "scoring", "sampling", "report"),
    ("flags", "arguments", "unused"),
)
"""Parts of `diagan_plugin` from the top down; each imports only what lies below, and itself."""

PURE = ("recording", "scoring", "sampling", "auxiliary")
"""Folders of the method that work without any run, plugin or option."""

PURE_MAY_IMPORT = (
    "diagan_plugin.recording", "diagan_plugin.scoring", "diagan_plugin.sampling",
    "diagan_plugin.auxiliary", "diagan_plugin.flags", "diagan_plugin.arguments",
    "gan_registry.seeding", "gan_registry.errors", "gan_registry.files", "gan_registry.records",
    "gan_registry.samplers", "gan_registry.datasets",
)  # fmt: skip

KIT_MAY_IMPORT = ("diagan_plugin.hosts.kit", "gan_registry")
"""What every adapter shares names no method."""

ADAPTERS = ("lightning", "mimicry", "lucidrains", "studiogan", "nvlabs", "own_loop")
"""Each a folder, or a module and those whose names begin with its own."""


def _modules() -> dict[str, Path]:
    found = {}
    for package, module in PACKAGES.items():
        assert module.__file__ is not None
        folder = Path(module.__file__).parent
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def imports_of(name: str) -> Iterator[str]:
    """The modules of the two packages that a module imports, each as its full name."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively"
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (each if each in MODULES else str(node.module) for each in wanted)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


# A package's own file lists public names for types, and is itself imported with each of its parts.
IMPORTS = {
    name: sorted({other for other in imports_of(name) if other in MODULES and other != name})
    for name, path in MODULES.items()
    if path.name != "__init__.py"
}


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def adapter_of(name: str) -> str | None:
    if not within(name, "diagan_plugin.hosts"):
        return None
    stem = name.split(".")[2] if name.count(".") >= 2 else ""
    return next((each for each in ADAPTERS if stem == each or stem.startswith(f"{each}_")), None)


def test_the_reader_of_imports_sees_what_there_is() -> None:
    assert len(MODULES) > 200
    assert "gan_registry.live_run" in IMPORTS["gan_registry.dispatch"]
    # For types alone, and within a function.
    assert "gan_registry.live_run" in IMPORTS["gan_registry.hookspecs"]
    assert "diagan_plugin.dia.driver" in IMPORTS["diagan_plugin.dia.plugin"]


def test_the_host_imports_nothing_of_the_plugin() -> None:
    wrong = {
        name: bad
        for name in IMPORTS
        if within(name, "gan_registry")
        and (bad := [other for other in imports_of(name) if within(other, "diagan_plugin")])
    }
    assert not wrong


def test_every_part_of_the_plugin_has_its_layer() -> None:
    known = {part for layer in LAYERS for part in layer}
    assert {part_of(name) for name in IMPORTS if within(name, "diagan_plugin")} == known


def test_each_layer_imports_only_what_lies_below() -> None:
    depth = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if within(name, "diagan_plugin")
        and within(other, "diagan_plugin")
        and part_of(other)
        and part_of(name) != part_of(other)
        and depth[part_of(other)] <= depth[part_of(name)]
        and part_of(name) != "cli"  # the command, which names its subcommands
    ]
    assert not wrong


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_know_no_run(folder: str) -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if within(name, f"diagan_plugin.{folder}") and not within(other, *PURE_MAY_IMPORT)
    ]
    assert not wrong


def test_the_adapters_share_a_kit_that_names_no_method_and_know_nothing_of_each_other() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if (within(name, "diagan_plugin.hosts.kit") and not within(other, *KIT_MAY_IMPORT))
        or (adapter_of(name) and adapter_of(other) not in (None, adapter_of(name)))
    ]
    assert not wrong


def test_there_is_no_circle_of_files() -> None:
    def reached_from(name: str) -> set[str]:
        seen: set[str] = set()
        todo = [name]
        while todo:
            for other in IMPORTS.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    assert not [name for name in IMPORTS if name in reached_from(name)]
