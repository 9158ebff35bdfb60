"""The tutorial, docs/rare-class.ipynb: it runs, and what it says is what came out.

`python tests/test_tutorial.py` runs it and writes what came out into it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import sys
import tempfile
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
    _, init, plain, _, _, files, dia, exact, _, moved, _, report = said(notebook)
    assert "wrote   digits.yaml" in init
    assert re.search(r"verdict  The generator (never|hardly ever) makes “green”", plain)
    assert "--sampler dia" in plain.split("next ")[1]
    shares = r"^green +[\d.]+\s% +(?:[\d.]+\s% +)?"  # in the data, and generated
    (row,) = re.findall(shares + r"(\S+) +\S+ +(\S+)$", plain, re.MULTILINE)
    assert all(float(number) > 0.5 for number in row), "LDRM and score: D finds it missed"
    found, green = re.findall(r"(\d+) of (\d+)", files)[-1]
    assert int(found) >= 0.9 * int(green)
    assert files.count("green/") == 5, "those of highest score"
    assert re.search("verdict  “green” .* Dia overcorrects", dia)
    assert "next  " in dia
    assert "drs_exact" in exact
    rows = re.findall(r"^([a-z ]+?) +(\S+) +(\S+) +(\S+)$", moved, re.MULTILINE)
    before, after, corrected = (
        {name: float(numbers[i]) for name, *numbers in rows[1:]} for i in range(3)
    )
    assert before["share of green"] < 0.005
    assert before["recall of green"] == 0
    assert 0.02 < corrected["share of green"] < 0.15 < after["share of green"]
    assert corrected["recall of green"] > 0.5
    assert corrected["fid"] < before["fid"] / 4
    assert corrected["recall"] < before["recall"]
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
    known = set(re.findall(NUMBER, "".join(said(notebook) + ["".join(c["source"]) for c in code])))
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
    assert commands == 7


def executed(work: Path) -> dict[str, Any]:
    """Runs the tutorial in a folder; returns it with what came out, printed text in one piece.

    The kernel and its shells find this Python's programs and packages.
    """
    import nbclient
    import nbformat

    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    os.environ["PATH"] = os.pathsep.join(programs)
    # Without this folder, whose own gan_registry/ would hide an editable installation.
    here = Path(__file__).resolve().parent
    found = (path for path in sys.path if path and here not in (p := Path(path), *p.parents))
    os.environ["PYTHONPATH"] = os.pathsep.join(found)
    os.environ["GAN_REGISTRY_CACHE"] = str(work / "cache")
    where = {"metadata": {"path": str(work)}}
    notebook = nbformat.read(NOTEBOOK, 4)
    nbclient.NotebookClient(notebook, timeout=3000, resources=where).execute()
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
            streams = {o["name"]: "" for o in cell["outputs"] if o["output_type"] == "stream"}
            for output in cell["outputs"]:
                if output["output_type"] == "stream":
                    streams[output["name"]] += output["text"]
            cell["outputs"] = [
                nbformat.v4.new_output("stream", name=name, text=text)
                for name, text in sorted(streams.items())
                if text.strip()
            ] + [output for output in cell["outputs"] if output["output_type"] != "stream"]
    notebook["metadata"]["language_info"] = {"name": "python"}
    return dict(notebook)


@pytest.mark.slow
def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in ("PATH", "PYTHONPATH", "GAN_REGISTRY_CACHE"):  # as they were, afterwards
        monkeypatch.setenv(name, os.environ.get(name, ""))
    check_claims(executed(tmp_path))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = executed(Path(folder))
    NOTEBOOK.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
