"""The wheel: what is in it, that it works away from the checkout, and that versions agree."""

from __future__ import annotations

import configparser
import email.message
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from processes import run_module

import diagan_plugin
import gan_registry

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "gan_registry": ROOT / "registry" / "gan_registry",
    "diagan_plugin": ROOT / "diagan_plugin",
}
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "registry", "diagan_plugin")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree: nothing stale, nothing left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(
        [*command, str(tree)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> email.message.Message:
    (path,) = unpacked.glob("*.dist-info/METADATA")
    return Parser().parsestr(path.read_text(encoding="utf-8"))


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def requirement_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def package_dirs() -> dict[str, Path]:
    """Every folder with Python files below the two packages, by its dotted name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in {path.parent for path in folder.rglob("*.py")}:
            found[".".join([package, *path.relative_to(folder).parts])] = path
    return found


def test_every_package_is_listed(setup_cfg: configparser.ConfigParser) -> None:
    listed = lines(setup_cfg["options"]["packages"])
    assert sorted(listed) == sorted(package_dirs())
    for name, folder in package_dirs().items():
        assert (folder / "__init__.py").is_file(), f"{name} has no __init__.py"


def test_wheel_contains_every_file_of_both_packages(unpacked: Path) -> None:
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".pyo"}
    }
    kinds = {Path(name).suffix for name in expected} | {Path(name).name for name in expected}
    assert {".py", ".yaml", ".html", ".css", "py.typed"} <= kinds
    contained = {
        path.relative_to(unpacked).as_posix()
        for path in unpacked.rglob("*")
        if path.is_file() and ".dist-info" not in path.parts[len(unpacked.parts)]
    }
    assert contained == expected


def test_wheel_carries_the_licence_and_entry_points(
    unpacked: Path, setup_cfg: configparser.ConfigParser
) -> None:
    (info,) = unpacked.glob("*.dist-info")
    texts = [path.read_text(encoding="utf-8") for path in info.rglob("LICENSE")]
    assert texts == [(ROOT / "LICENSE").read_text(encoding="utf-8")]
    entry_points = configparser.ConfigParser()
    entry_points.read(info / "entry_points.txt")
    assert dict(entry_points["console_scripts"]) == {
        "gan-registry": "gan_registry.cli.main:main",
        "diagan": "diagan_plugin.cli:main",
    }
    written = lines(setup_cfg["options.entry_points"]["gan_registry"])
    declared = dict(re.split(r"\s*=\s*", line) for line in written)
    assert dict(entry_points["gan_registry"]) == declared
    assert declared["dia"] == "diagan_plugin.dia.plugin:DiaPlugin"
    for path in declared.values():
        module, _, name = path.partition(":")
        assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_requirements_are_those_declared(
    setup_cfg: configparser.ConfigParser, metadata: email.message.Message
) -> None:
    declared = {(requirement_name(r), "") for r in lines(setup_cfg["options"]["install_requires"])}
    for extra, text in setup_cfg["options.extras_require"].items():
        declared |= {(requirement_name(requirement), extra) for requirement in lines(text)}
    found = set()
    for requirement in metadata.get_all("Requires-Dist") or []:
        extra_match = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
        found.add((requirement_name(requirement), extra_match.group(1) if extra_match else ""))
    assert found == declared
    assert metadata["Requires-Python"] == setup_cfg["options"]["python_requires"]


def test_test_extra_pulls_no_heavy_host(setup_cfg: configparser.ConfigParser) -> None:
    names = {requirement_name(r) for r in lines(setup_cfg["options.extras_require"]["test"])}
    names |= {requirement_name(r) for r in lines(setup_cfg["options"]["install_requires"])}
    assert {"pytest", "build", "ruff", "mypy"} <= names
    assert not {name for name in names if "lightning" in name or "kornia" in name}


def run_python(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with nothing but `site` before the installed packages, away from the checkout."""
    environment = {k: v for k, v in os.environ.items() if k != "GAN_REGISTRY_DISABLE"}
    environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment,
    )  # fmt: skip


def test_wheel_works_away_from_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    where = (
        "import gan_registry, diagan_plugin; print(gan_registry.__file__, diagan_plugin.__file__)"
    )
    done = run_python(unpacked, tmp_path, "-c", where)
    for path in done.stdout.split():
        assert Path(path).is_relative_to(unpacked), done.stderr
    done = run_python(unpacked, tmp_path, "-m", "gan_registry", "list")
    assert done.returncode == 0, done.stderr
    for name in ("colored_digits", "gmm25", "dcgan", "logistic", "uniform", "dia  (from dia)"):
        assert f"  {name}\n" in done.stdout


def test_wheel_trains_and_reports(unpacked: Path, tmp_path: Path) -> None:
    """Configs and templates are read from the wheel, not from the checkout."""
    arguments = (
        "--config gaussian --diagnose --steps 6 --dia-record-every 2 --num-eval 50 --out run"
    )
    done = run_module("gan_registry", "train", *arguments.split(), cwd=tmp_path, site=unpacked)
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["config"] == "gaussian"


def test_tests_see_the_installed_package() -> None:
    """Not a copy that happens to lie in the working directory."""
    distribution = importlib.metadata.distribution("diagan-plugin")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    for package in (gan_registry, diagan_plugin):
        name = package.__name__
        installed = FOLDERS[name] if editable else Path(str(distribution.locate_file(name)))
        if "PYTHONPATH" in os.environ:  # asked for explicitly
            continue
        assert package.__file__ is not None
        assert Path(package.__file__).parent.resolve() == installed.resolve()


def test_versions_agree(
    setup_cfg: configparser.ConfigParser, metadata: email.message.Message
) -> None:
    version = setup_cfg["metadata"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert gan_registry.__version__ == diagan_plugin.__version__ == version
    assert metadata["Version"] == version
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changes, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version


def test_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == "MIT"
    (paper,) = citation["references"]
    assert paper["title"].startswith("Self-Diagnosing GAN")
    assert [a["family-names"] for a in paper["authors"]] == ["Lee", "Kim", "Hong", "Chung"]
    assert paper["year"] == 2021
