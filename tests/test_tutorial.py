"""The tutorial, docs/rare-class.ipynb: it runs, and what it says is what came out."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"\d+(?:[.,]\d+)*"
NOTEBOOK = ROOT / "docs" / "rare-class.ipynb"


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return found


def said(notebook: dict[str, Any]) -> list[str]:
    """What each cell of code has printed, in order."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        "".join("".join(output.get("text", "")) for output in cell["outputs"]) for cell in cells
    ]


def check_claims(notebook: dict[str, Any]) -> None:
    """What the text says of the outputs."""
    _, init, plain, _, _, files, dia, _, moved, report = said(notebook)
    assert "wrote   digits.yaml" in init
    assert re.search(r"verdict  The generator (never|hardly ever) makes “green”", plain)
    assert "--sampler dia" in plain.split("next ")[1]
    (row,) = re.findall(r"^green +[\d.]+\s% +(\S+) +\S+ +(\S+)$", plain, re.MULTILINE)
    assert all(float(number) > 0.5 for number in row), "LDRM and score: D finds it missed"
    found, green = re.findall(r"(\d+) of (\d+)", files)[-1]
    assert int(found) >= 0.9 * int(green)
    assert files.count("green/") == 5, "those of highest score"
    assert "verdict" in dia
    changes = re.findall(r"^(\w+) +([\d.e+]+)%? -> ([\d.e+]+)", moved, re.MULTILINE)
    before = {name: float(number) for name, number, _ in changes}
    after = {name: float(number) for name, _, number in changes}
    assert before["green"] < 0.5
    assert 1.5 < after["green"] < 25
    assert after["fid"] < before["fid"] / 2
    assert after["recall"] < before["recall"]
    assert report.strip()


def test_outputs_are_those_that_the_text_speaks_of() -> None:
    notebook = read()
    check_claims(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not any(output["output_type"] == "error" for output in cell["outputs"])
            shown = any("image/png" in output.get("data", {}) for output in cell["outputs"])
            assert shown == ("alt" in cell["metadata"])


def test_text_has_no_number_of_its_own() -> None:
    """Numbers in the text stand in a cell of code or in what it printed."""
    notebook = read()
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    known = set(
        re.findall(NUMBER, "".join(said(notebook) + ["".join(c["source"]) for c in code]))
    )
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"`[^`]*`|\]\([^)]*\)|\w*GAN\w*", "", "".join(cell["source"]))
            numbers = re.findall(NUMBER, text)
            assert set(numbers) <= known | {"0"}, set(numbers) - known


def test_commands_are_accepted() -> None:
    from diagan_plugin import cli
    from gan_registry.cli.main import build_parser
    from gan_registry.plugins import PluginManager

    commands = 0
    for cell in read()["cells"]:
        text = "".join(cell["source"])
        if not text.startswith("%%bash"):
            if cell["cell_type"] == "code":
                ast.parse(text)
            continue
        for line in text.replace("\\\n", " ").splitlines()[1:]:
            program, *arguments = shlex.split(line)
            parser = cli.build_parser() if program == "diagan" else build_parser(PluginManager())
            assert parser.parse_args(arguments).handler
            commands += 1
    assert commands == 5


@pytest.mark.slow
def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # The kernel and its shells find this Python's programs, and what the tests import.
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(NOTEBOOK, 4)
    where = {"metadata": {"path": str(work)}}
    nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources=where
    ).execute()
    check_claims(notebook)
