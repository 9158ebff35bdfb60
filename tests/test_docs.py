"""The documentation is true: it runs, its links resolve, its tables are those of the code.

Fenced blocks of README.md and docs/*.md:

- `python` is executed, the blocks of a page in order and in one namespace, in a temporary folder.
- `bash` is executed line by line. A `gan-registry` or `diagan` command must be accepted as written
  (it is parsed by the command's own parser); then it runs in this process, in the same temporary
  folder for all pages, with `SHORT` appended to `train` (of a flag given twice the last one counts)
  and fewer samples where the dataset is large.
  `pip install` and `pytest` are compared with setup.cfg and .ci/run.
- `yaml` must be valid configurations (options of plugins that the page defines are not checked).
- `text`, `toml`, `mermaid` and `bibtex` are read only.

`python tests/test_docs.py` writes the generated part of docs/configs.md anew.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import configparser
import html
import importlib.util
import inspect
import itertools
import math
import os
import re
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml

if __name__ == "__main__":  # as a script; its own folder has others of the packages' names
    sys.path[0] = str(Path(__file__).parent / "helpers")

from processes import run_module

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))  # tests/test_tutorial.py runs them
ROOT_PAGES = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "CODE_OF_CONDUCT")]
MAIN_JOB = "gan-registry train --config colored_digits --sampler dia --dia-rule feedback"
MAIN_OUT = "--out runs/digits"
DIA_JOB = "gan-registry train --config colored_digits --sampler dia"  # what pages look at
SHORT = "--steps 24 --num-eval 200 --quiet"
SHORT_DIA = "--dia-record-every 4"
SMALL = {"gmm25": "--set DATA.options.num_samples=1000"}  # of 25,000, each evaluation takes seconds
RUN = "runs/colored_digits-dia-seed0"


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            found.append(Block(lines[start][3:], "\n".join(lines[start + 1 : number]), start + 2))
            start = None
    assert start is None, f"{page.name}:{start} opens a block that is not closed"
    return found


def commands(block: Block) -> list[str]:
    """The commands of a bash block: comments and empty lines left out, `a && b` taken apart."""
    lines = [line.strip() for line in block.text.splitlines()]
    return [
        part.strip()
        for line in lines
        if line and not line.startswith("#")
        for part in line.split("&&")
    ]


# ------------------------------------------------------------------ blocks run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all pages' commands run, with the run that they look at."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_command(DIA_JOB, patch)
    return folder


def run_command(command: str, patch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        patch.setenv(name, value)
    program, *arguments = words
    if program == "diagan":
        from diagan_plugin import cli

        assert cli.build_parser().parse_args(arguments).handler
        if arguments[0] == "calibrate" and "--num" in arguments:
            arguments += ["--num", "500"]  # its samples are compared with all corners of a hull
        assert cli.main(arguments) == 0, command
        return
    if program == "torchrun":  # a command of torch's, which knows where to find our module
        short = shlex.split(f"{SHORT} {SHORT_DIA} --out runs/several-processes")
        command_line = ["--standalone", *arguments, *short]
        done = run_module("torch.distributed.run", *command_line, cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        return
    assert program == "gan-registry", f"this test does not know how to run {command!r}"
    from gan_registry.cli.main import build_parser, main
    from gan_registry.plugins import PluginManager

    assert build_parser(PluginManager()).parse_args(arguments).handler
    if arguments[0] == "train":
        arguments += shlex.split(SHORT)
        if "--config" in arguments:
            arguments += shlex.split(SMALL.get(arguments[arguments.index("--config") + 1], ""))
        if os.environ.get("GAN_REGISTRY_DISABLE") != "dia":
            arguments += shlex.split(SHORT_DIA)
    if arguments[0] == "evaluate":
        arguments += ["--num", "200"]
    assert main(arguments) == 0, command


@each_page
def test_blocks_run(page: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    module = types.ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            flags = __future__.annotations.compiler_flag  # as at the head of every module
            padded = "\n" * (block.line - 1) + block.text
            exec(compile(padded, where, "exec", flags, dont_inherit=True), module.__dict__)
        elif block.language == "bash":
            for command in commands(block):
                if not command.startswith(("pip ", "pytest")):
                    with pytest.MonkeyPatch.context() as patch:
                        run_command(command, patch)
        elif block.language == "yaml":
            check_config(block.text, where)
        else:
            assert block.language in {"text", "toml", "mermaid", "bibtex"}, where
    if page.name == "hooks.md":
        check_hook_examples(module)


def check_config(text: str, where: str) -> None:
    from gan_registry.config.load import validate_config
    from gan_registry.plugins import PluginManager

    config = validate_config(yaml.safe_load(text), where)
    plugins = PluginManager()
    assert config.DATA.name in plugins.catalogs.datasets
    assert config.MODEL.backbone in plugins.catalogs.backbones
    assert config.LOSS.adv_loss in plugins.catalogs.losses
    known = {name: v for name, v in config.PLUGINS.items() if name in plugins.options.plugins()}
    plugins.options.resolve(known, where=where)


def test_readme_commands_are_those_of_ci_and_setup() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    readme = PAGES[0].read_text(encoding="utf-8")
    assert f"pip install . && {MAIN_JOB} {MAIN_OUT}\n" in readme
    assert "pip install '.[test]' && pytest\n" in readme
    assert re.search(r"pip install (--quiet )?'\.\[test\]' && pytest; \}", ci)
    assert MAIN_JOB in re.sub(r"\s*\\\n\s*", " ", ci)
    for page in PAGES:
        for extra in re.findall(r"pip install '[\w.-]*\[(\w+)\]'", page.read_text("utf-8")):
            assert extra in extras, f"{page.name}: there is no extra {extra!r}"
        for block in blocks(page):
            if block.language == "bash":
                for command in commands(block):
                    if command.startswith(("pip", "pytest")):
                        assert command in {"pip install .", "pip install '.[test]'", "pytest"}


def test_readme_shows_every_subcommand() -> None:
    from gan_registry.cli.main import build_parser
    from gan_registry.plugins import PluginManager

    parser = build_parser(PluginManager(load_entry_points=False))
    (subparsers,) = [action for action in parser._actions if action.nargs == "A..."]
    assert subparsers.choices
    shown = {c.split()[1] for b in blocks(PAGES[0]) for c in commands(b) if c.startswith("gan-")}
    assert shown == set(subparsers.choices)


# ------------------------------------------------------------------ hooks


def hooks() -> dict[str, Any]:
    from gan_registry import hookspecs

    return {name: spec for name, spec in vars(hookspecs).items() if name.startswith("gan_")}


def documented_signatures() -> dict[str, ast.FunctionDef]:
    """Hook → its signature in docs/hooks.md: a `python` block with `...` for a body."""
    found = {}
    for block in blocks(ROOT / "docs" / "hooks.md"):
        if block.language != "python":
            continue
        for node in ast.parse(block.text).body:
            if isinstance(node, ast.FunctionDef) and ast.unparse(node.body[0]) == "...":
                found[node.name] = node
    return found


def written(annotation: str) -> str:
    return ast.unparse(ast.parse(annotation, mode="eval"))


@pytest.mark.parametrize("name", sorted(hooks()))
def test_hook_is_documented_with_its_exact_signature(name: str) -> None:
    signature = inspect.signature(hooks()[name])
    node = documented_signatures()[name]
    assert node.returns is not None
    assert ast.unparse(node.returns) == written(signature.return_annotation)
    documented = [(a.arg, ast.unparse(a.annotation)) for a in node.args.args if a.annotation]
    assert documented == [(p.name, written(p.annotation)) for p in signature.parameters.values()]


def test_hooks_page_tells_all_that_a_run_is_asked_for() -> None:
    from gan_registry.live_run import LiveRun

    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    table = text[text.index("**The run.**") : text.index("## Start-up")]
    told = set(re.findall(r"`(\w+)[`(]", table))
    public = {name for name in (*vars(LiveRun), *LiveRun.__annotations__) if name[0] != "_"}
    assert public - {"lacks", "take_log", "new_step"} <= told  # those are for whoever trains


def test_hooks_page_names_no_hook_that_does_not_exist() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    known = set(hooks())
    assert set(documented_signatures()) == known
    assert set(re.findall(r"^### (\w+)$", text, re.MULTILINE)) == known
    assert set(re.findall(r"\| \[`(gan_\w+)`\]", text)) == known
    for page in PAGES:
        mentioned = set(re.findall(r"\bgan_(?!registry\b)[a-z_]*[a-z]\b", page.read_text("utf-8")))
        assert mentioned - {"gan_topk"} <= known, page.name


def test_hooks_page_tells_historic_hooks() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    for name, spec in hooks().items():
        kind = re.search(rf"\| \[`{name}`\]\(#{name}\) \| (\w+) \|", text)
        assert kind is not None, name
        assert (kind.group(1) == "historic") == bool(spec.gan_registry_spec["historic"]), name
        section = text.split(f"### {name}\n")[1].split("\n### ")[0]
        assert f"*{kind.group(1).capitalize()}" in section, name


def check_hook_examples(page: types.ModuleType) -> None:
    """Trains with the plugin that the examples of docs/hooks.md make up, and evaluates it."""
    from gan_registry.config.load import load_config
    from gan_registry.evaluation.evaluate import evaluate
    from gan_registry.evaluation.results import read_result
    from gan_registry.plugins import PluginManager
    from gan_registry.report.write import write_report
    from gan_registry.training.plan import describe_plan
    from gan_registry.training.trainer import open_run, train

    assert {name for name in vars(page) if name.startswith("gan_")} - {"gan_registry"} == set(
        hooks()
    )
    plugins = PluginManager(load_entry_points=False)
    plugins.register(page, "demo")
    settings = ["OPTIMIZATION.total_steps=4", "LOSS.adv_loss=demo_logistic", "RUN.num_eval=50"]
    config = load_config("gaussian", settings)
    config.PLUGINS = {"demo": {"std": 0.2}}
    options = plugins.options.resolve(config.PLUGINS)
    folder = Path("hooks-page")
    assert "demo: noise" in describe_plan(config, plugins, options, "gaussian", folder)
    evaluate(train(config, folder, plugins, quiet=True))
    result = read_result(folder)
    assert result["metrics"]["mean_gap"] > 0
    seen = vars(page)["seen"]
    assert seen["lines"] == 1
    assert seen["files"] == [("samples", f"step-{n:08d}.png") for n in range(1, 5)] + [
        ("result", "result.json")
    ]
    assert result["demo"]["samples_seen"] == 4 * config.OPTIMIZATION.batch_size
    assert (folder / "demo.txt").read_text() == "256 samples seen\n"
    vars(page)["seen"].clear()
    run = open_run(folder, plugins)
    assert "256 samples." in write_report(run).read_text(encoding="utf-8")


# ------------------------------------------------------------------ tables


def test_dia_options_are_documented() -> None:
    from diagan_plugin.dia.options import NAME, DiaOptions
    from gan_registry.plugins import PluginManager

    flags = {o.name: o.flag for o in PluginManager().options if o.plugin == NAME}
    text = (ROOT / "docs" / "dia.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--[\w-]+)` \| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE)
    assert [(flag, name) for flag, name, _ in rows] == [
        (flags[field.name], field.name) for field in fields(DiaOptions)
    ]
    for _, name, shown in rows:
        default = getattr(DiaOptions(), name)
        written_default = "false" if default is False else default
        assert shown == ("once" if name == "refresh" else str(written_default)), name


def test_what_the_preset_of_the_published_code_sets_is_documented() -> None:
    from diagan_plugin.dia.options import PAPER_CODE, PRESETS

    page = (ROOT / "docs" / "dia.md").read_text(encoding="utf-8")
    section = page.partition("### As the published code\n")[2].partition("\n##")[0]
    for name, value in PRESETS[PAPER_CODE].items():
        assert f"| `--dia-{name.replace('_', '-')} {value}` |" in section, name


def test_options_of_every_plugin_are_documented() -> None:
    from gan_registry.plugins import PluginManager

    told = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for flag, *row in re.findall(
            r"^\| `(--[\w-]+)` \| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE
        ):
            told[flag] = row
    options = {option.flag: option for option in PluginManager().options}
    assert set(options) - set(told) == {"--wandb", "--mlflow"}
    for flag, (name, shown) in told.items():
        if options[flag].plugin == "dia":  # compared with its class above
            continue
        default = options[flag].action.declared_default
        assert name == options[flag].name, flag
        if isinstance(default, float):
            assert float(shown) == default, flag
        elif default not in (None, "", "none"):
            assert shown == ("false" if default is False else str(default)), flag


def test_verdicts_on_single_samples_are_documented() -> None:
    from diagan_plugin.report.diagnosis import LIKELY

    for page, row in (("run-folder.md", "`likely`"), ("samples.md", "`verdict`")):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        (line,) = re.findall(rf"^\| {row} \|.*$", text, re.MULTILINE)
        assert all(word in line for word in LIKELY), page


def test_run_folder_page_describes_a_run(workspace: Path) -> None:
    import json

    from safetensors import safe_open

    text = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    run = workspace / RUN
    for path in run.rglob("*"):
        if path.is_file() and path.parent.name != "tensorboard":
            name = re.sub(r"\d{8}", "NNNNNNNN", path.relative_to(run).as_posix())
            assert f"| `{name}` |" in text, name
    results, tensors = text.split("## result.json")[1].split("## diagnosis.safetensors")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    keys = {*result, *result["metrics"], *result["metrics_drs"], *result["weights"]}
    keys.discard("metrics_drs")
    assert "`metrics_NAME`" in results
    keys |= {key for group in result["groups"].values() for key in group}
    for key in keys:
        assert f"`{key.replace('_drs', '_NAME')}`" in results, key
    with safe_open(run / "diagnosis.safetensors", "numpy") as file:
        for name in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(name)
            row = re.search(rf"^\| `{name}` \| (\w+) \[(.*?)\]", tensors, re.MULTILINE)
            assert row is not None, name
            assert row.group(1) == str(tensor.dtype)
            assert row.group(2).count(",") + 1 == tensor.ndim
        for name in file.metadata():
            assert f"`{name}`" in tensors, name
    metrics = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    for name in metrics:
        if not name.startswith(("weights/", "loss/auxiliary")):
            assert f"`{name}`" in text, name


def test_architecture_page_names_what_exists_and_every_folder() -> None:
    tree = next(b for b in blocks(ROOT / "docs" / "architecture.md") if b.language == "text").text
    package, room, named = ROOT, ROOT, set()
    for line in tree.splitlines():
        if entry := re.match(r"(\w[\w/]*/)  ", line):
            package = room = ROOT / entry.group(1)
            continue
        if entry := re.match(r"  (\w+)/", line):
            room = package / entry.group(1)
        for name in re.findall(r"(?:^|(?<=[ (]))\w+(?:/|\.py)(?=$|[\s,);])", line):
            place = next((p for p in (package / name, room / name) if p.exists()), None)
            assert place is not None, f"{name} of {package}"
            named.add(place)
    for package in (ROOT / "registry" / "gan_registry", ROOT / "diagan_plugin"):
        folders = {path.parent for path in package.glob("*/__init__.py")}
        modules = {p for p in package.glob("*.py") if not p.stem.startswith(("__", "dispatch_"))}
        assert folders | modules <= named, (folders | modules) - named


# ------------------------------------------------------------------ flags and keys

OTHERS = {
    "faq.md": "--nproc_per_node",
    "mimicry.md": "--no-deps",
    "nvlabs.md": "--aug --mirror --resume",
    "logging.md": "--backend-store-uri --logdir",
    "reliability.md": "--minutes --only",
}
"""Flags of other programs that a page names in its text."""


def own_words(page: Path) -> str:
    """What a page calls ours in inline code: not what stands under "theirs" in a table."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    theirs, lines = False, []
    for line in text.splitlines():
        theirs = line.startswith("|") and (theirs or line.startswith("| theirs"))
        lines.append(line.split("|", 2)[2] if theirs else line)
    return " ".join(re.findall(r"`([^`]+)`", "\n".join(lines)))


def known_flags(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(known_flags, action.choices.values()))
    return found


def test_pages_name_flags_and_keys_that_exist() -> None:
    from diagan_plugin import cli
    from gan_registry.cli.main import build_parser
    from gan_registry.config.schema import Config
    from gan_registry.plugins import PluginManager

    flags = known_flags(build_parser(PluginManager())) | known_flags(cli.build_parser())
    keys = {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    sections = "|".join({key.partition(".")[0] for key in keys})
    for page in PAGES:
        words, others = own_words(page), OTHERS.get(page.name, "").split()
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*\w", words))
        assert named - {"--dia"} <= flags | {*others}, (page.name, named - flags)
        if "studiogan" not in page.name:  # that speaks of StudioGAN's keys, too
            named = set(re.findall(rf"\b(?:{sections})\.\w+", words))
            unknown = named - keys - {"LOSS.apply_topk", "AUG.apply_diffaug"}
            assert not unknown, (page.name, unknown)


def test_pages_say_where_the_flags_of_plugins_are_listed() -> None:
    for page in PAGES:
        for command in re.findall(r"`([^`]* --help[^`]*)` lists", page.read_text("utf-8")):
            assert command.endswith(" --help-all"), (page.name, command)


def test_security_page_names_every_command_that_trusts() -> None:
    from diagan_plugin import cli
    from gan_registry.cli.main import build_parser
    from gan_registry.plugins import PluginManager

    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    sentence = text[text.index("`--trust` is a flag of") :].partition(";")[0]
    for parser in (build_parser(PluginManager()), cli.build_parser()):
        (subparsers,) = [action for action in parser._actions if action.nargs == "A..."]
        assert isinstance(subparsers, argparse._SubParsersAction)
        for name, command in subparsers.choices.items():
            if "--trust" in known_flags(command):
                part = sentence.partition(f"`{parser.prog}`")[2].partition(", and of")[0]
                assert f"`{name}`" in part, (parser.prog, name)


@each_page
def test_files_of_ours_that_a_page_names_exist(page: Path) -> None:
    roots = [ROOT, ROOT / "diagan_plugin", ROOT / "registry" / "gan_registry", ROOT / "registry"]
    marks = " ".join(re.findall(r"<!--.*?-->", page.read_text(encoding="utf-8")))
    for name in re.findall(r"(?<![\w/…])(?:\w+/)+\w+\.py\b", f"{own_words(page)} {marks}"):
        assert any((root / name).is_file() for root in roots), name


# ------------------------------------------------------------------ report.md


def test_report_page_has_every_part_of_a_report_in_order(workspace: Path) -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    told = re.findall(r"^## (.*)$", text, re.MULTILINE)[1:]
    page = (workspace / RUN / "report.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'<section id="([\w-]+)">\s*<h2>(.*?)</h2>', page))
    shown = [html.unescape(title) for title in sections.values()]
    assert [title for title in told if title in shown] == shown
    packages = [ROOT / "diagan_plugin", ROOT / "registry" / "gan_registry"]
    code = "".join(p.read_text("utf-8") for package in packages for p in package.rglob("*.py"))
    for title in set(told) - set(shown):  # those that only some runs have
        assert f'"{title}"' in code, title
    for anchor in re.findall(r"images/report-([\w-]+)\.png", text):
        title = sections.get(anchor)
        assert title is None or f"## {html.unescape(title)}\n\n![" in text, anchor


def test_report_page_words_verdicts_as_they_are() -> None:
    code = "".join(p.read_text("utf-8") for p in (ROOT / "diagan_plugin" / "report").glob("*.py"))
    code = re.sub(r'"\s*f?"', "", code).replace("{was}", "was").replace("{each}", "it")
    code = code.replace("{_none(found)}", "No group")
    rows = rows_of("report.md", "it begins with")
    assert len(rows) > 8
    for phrase in (row[0] for row in rows):
        for part in re.split(r"…|;|\(.*?\)|never", phrase):
            assert part.strip() in code, phrase


def test_every_component_is_named_on_some_page() -> None:
    from gan_registry.catalogs import Catalog
    from gan_registry.plugins import PluginManager

    words = " ".join(own_words(page) for page in PAGES)
    catalogs = [c for c in vars(PluginManager().catalogs).values() if isinstance(c, Catalog)]
    assert len(catalogs) == 8
    for catalog in catalogs:
        for name in catalog:
            assert re.search(rf"\b{name.removesuffix('_published')}\b", words), (catalog.kind, name)


def test_every_picture_is_shown_and_made_by_what_the_page_says() -> None:
    shown = set(re.findall(r"images/([\w-]+\.png)", "".join(p.read_text("utf-8") for p in PAGES)))
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} == shown
    assert (ROOT / "docs" / "pictures.py").is_file()


# ------------------------------------------------------------------ configs.md

BEGIN, END = "<!-- begin generated: python tests/test_docs.py -->", "<!-- end generated -->"


def kind_of(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Annotated:
        base, *more = get_args(annotation)
        return kind_of(base, [*more, *metadata])
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(
            "null" if part is type(None) else kind_of(part, metadata)
            for part in get_args(annotation)
        )
    if get_origin(annotation) is list:
        return f"list of {kind_of(get_args(annotation)[0], [])}"
    if get_origin(annotation) is dict:
        return "mapping"
    name = {int: "whole number", float: "number", bool: "true, false", str: "text"}[annotation]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {bound:g}"
        for item in flat(metadata)
        for key, sign in signs.items()
        # All whole numbers are below 2^63, which no reader of the page has to know.
        if (bound := getattr(item, key, None)) is not None and bound != 2**63
    ]
    return ", ".join([name, *bounds])


def flat(metadata: list[Any]) -> Iterator[Any]:
    for item in metadata:
        inner = getattr(item, "metadata", None)  # a Field inside an Annotated
        yield from flat(inner) if inner else [item]


def config_tables() -> str:
    """The sections and keys as Markdown, from the schema."""
    from gan_registry.config.schema import Config
    from gan_registry.config.settings import FREE_KEYS

    parts = []
    for section, field in Config.model_fields.items():
        model: Any = field.annotation
        if not hasattr(model, "model_fields"):
            continue
        lead = inspect.cleandoc(model.__doc__).splitlines()[0]
        parts += [f"### {section}", "", lead, ""]
        parts += ["| key | value | default | |", "| --- | --- | --- | --- |"]
        for key, entry in model.model_fields.items():
            default = entry.get_default(call_default_factory=True)
            shown = yaml.safe_dump(default, default_flow_style=True).splitlines()[0]
            note = entry.description or ""
            if f"{section}.{key}" in FREE_KEYS:
                note = f"{note}; may change on resuming".removeprefix("; ")
            value = kind_of(entry.annotation, list(entry.metadata))
            parts.append(f"| `{key}` | {value} | `{shown}` | {note} |")
        parts.append("")
    return "\n".join(parts)


def with_tables(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{config_tables()}\n{END}{after}"


def test_configs_page_is_current() -> None:
    text = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    assert text == with_tables(text), "run: python tests/test_docs.py"


def test_configs_page_lists_every_dataset_option() -> None:
    from gan_registry.datasets import BUILTIN
    from gan_registry.datasets.options import Options

    text = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*)$", text.split("`DATA.options`")[-1], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert set(BUILTIN) <= named

    modules = {path.partition(":")[0] for path in BUILTIN.values()}
    for module in sorted(modules):
        importlib.import_module(module)

    def below(model: type[Options]) -> Iterator[type[Options]]:
        for child in model.__subclasses__():
            yield child
            yield from below(child)

    models = list(below(Options))
    assert len(models) > 10
    told = text.split("`DATA.options`", 1)[1]
    for model in models:
        for option in set(model.model_fields) & set(vars(model).get("__annotations__", {})):
            assert f"`{option}`" in told, f"{model.__name__}.{option}"


# ------------------------------------------------------------------ losses.md, backbones.md


def rows_of(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column has that title."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, _, table = text.partition(f"| {first} |")
    lines = itertools.takewhile(lambda line: line.startswith("|"), table.splitlines()[2:])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_losses_page_states_every_term() -> None:
    import torch

    from gan_registry.catalogs import Catalogs
    from gan_registry.losses import BUILTIN

    losses = Catalogs().losses
    v = torch.linspace(-3.0, 3.0, 13)
    functions = {name: getattr(torch, name) for name in ("clip", "exp", "logit", "relu")}
    functions |= {"softplus": torch.nn.functional.softplus, "log": math.log, "v": v}
    methods = ("real_terms", "fake_terms", "generator_terms", "log_density_ratio")
    listed = set()
    for names, *cells, is_ratio in rows_of("losses.md", "`adv_loss`"):
        for name in re.findall(r"`(\w+)`", names):
            listed.add(name)
            loss = losses[name](lambda out: out)
            told = "up to a constant" if loss.is_ratio_up_to_constant else "no"
            assert is_ratio == ("yes" if loss.is_density_ratio else told), name
            for method, cell in zip(methods, cells, strict=True):
                if cell == "see below":
                    continue
                expected = eval(cell.strip("`"), {"__builtins__": {}}, functions)
                assert torch.allclose(getattr(loss, method)(v), expected, atol=1e-6), (name, cell)
    assert listed == set(BUILTIN)


def test_backbones_page_lists_every_backbone_and_size() -> None:
    from small_backbones import backbone

    from gan_registry.backbones import BUILTIN
    from gan_registry.errors import UserError

    listed = {row[0].strip("`"): row[1] for row in rows_of("backbones.md", "`MODEL.backbone`")}
    assert set(listed) == set(BUILTIN)
    for name, path in BUILTIN.items():
        if "stylegan2" in path:  # what they need is not always installed
            module = importlib.import_module(path.partition(":")[0])
            sizes = ", ".join(map(str, module.SUPPORTED_SIZES))
        else:
            with pytest.raises(UserError) as refused:
                backbone(name, 7)
            sizes = str(refused.value)
        told = "points of shape" if listed[name] == "points" else f"{listed[name]} px"
        assert re.search(rf"(?<!\d, ){re.escape(told)}", f"{sizes} px"), name


@pytest.mark.parametrize("row", rows_of("backbones.md", "`MODEL`"), ids=lambda row: row[0])
def test_backbones_page_states_numbers_of_parameters(row: list[str]) -> None:
    from small_backbones import counts

    model, size, classes, *numbers = row
    keys = {"z_dim": 128, "g_conv_dim": 64, "d_conv_dim": 64, **yaml.safe_load(model.strip("`"))}
    name = keys.pop("backbone")
    expected = tuple(int(number.replace(",", "")) for number in numbers)
    assert counts(name, int(size), classes=int(classes), **keys) == expected


# ------------------------------------------------------------------ pages


def test_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    targets = re.findall(r"\]\(([^)\s#]+)", index.read_text(encoding="utf-8"))
    linked = {(index.parent / target).resolve() for target in targets if "://" not in target}
    missing = {page_id(page) for page in {*PAGES, *NOTEBOOKS} - linked - {index}}
    assert not missing, f"docs/README.md does not link {sorted(missing)}"
    assert "(docs/README.md)" in PAGES[0].read_text(encoding="utf-8")


def site() -> types.ModuleType:
    """docs/site.py, which makes a site of the pages."""
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_site_has_every_page_once() -> None:
    def listed(nav: Any) -> Iterator[str]:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from [entry] if isinstance(entry, str) else listed(entry)

    pages = [*listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])]
    places = site().PLACES
    expected = {places.get(page_id(page), page_id(page).removeprefix("docs/")) for page in PAGES}
    expected |= {f"{notebook.stem}.md" for notebook in NOTEBOOKS}
    reference = {f"api/{name}.md" for name in ("diagan_plugin", "gan_registry", "for_plugins")}
    assert sorted(pages) == sorted(expected | {*places.values()} | reference)


def test_links_lead_to_where_the_site_has_a_page() -> None:
    def led(place: str, text: str) -> str:
        page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri=place))
        return str(site().on_page_markdown(text, page))

    assert led("pages.md", "[a](../README.md#b) [c](dia.md#d)") == "[a](index.md#b) [c](dia.md#d)"
    assert led("index.md", "![r](docs/images/report.png)") == "![r](images/report.png)"
    assert led("hosts/doctor.md", "[r](../../README.md)") == "[r](../index.md)"
    assert led("hooks.md", "[live_run.py](../registry/gan_registry/live_run.py)") == "live_run.py"
    assert led("dia.md", "[x](https://a.b/c) [y](#z)") == "[x](https://a.b/c) [y](#z)"
    assert led("index.md", "[r](benchmarks/RESULTS.md#a)") == "[r](results.md#a)"
    assert led("results.md", "![x](pictures/coloured_digits-small.png)").endswith(
        "(pictures/coloured_digits-small.png)"
    )
    assert led("results.md", "[r](results)") == "r"
    assert led("index.md", "[t](docs/rare-class.ipynb#a)") == "[t](rare-class.md#a)"
    assert led("rare-class.md", "![x](rare-class-1.png)") == "![x](rare-class-1.png)"
    code = "```text\n[a](../README.md)\n```"
    assert led("dia.md", code) == code


def test_reference_has_the_public_names() -> None:
    import diagan_plugin
    import gan_registry

    for package, folder in ((diagan_plugin, ROOT), (gan_registry, ROOT / "registry")):
        names = site()._public_names(folder / package.__name__ / "__init__.py")
        assert {name.rpartition(".")[2] for name in names} == set(package.__all__)


def text_of(page: Path) -> str:
    """A page as Markdown."""
    if page.suffix == ".ipynb":
        return str(site().as_markdown(page)[0])
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS, *ROOT_PAGES], ids=page_id)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for target in re.findall(r"(?:^|[^!])\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = page if not name else page.parent / name
        assert path.exists(), f"{page.name} refers to {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name} refers to {target}"


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=page_id)
def test_page_names_no_machine(page: Path) -> None:
    text = text_of(page)
    assert not re.search(r"(?<![\w.])/(home|work|tmp|root|Users|opt|mnt|data)/", text)
    assert not re.search(r"\bTODO\b|\bTBD\b|\bFIXME\b", text)
    if page in NOTEBOOKS:  # what was printed is as wide as it is
        text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert (
        max(len(line) for line in text.splitlines() if not line.startswith(("|", "!", " "))) <= 130
    )


if __name__ == "__main__":
    target = ROOT / "docs" / "configs.md"
    target.write_text(with_tables(target.read_text(encoding="utf-8")), encoding="utf-8")
