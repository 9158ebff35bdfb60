"""The seams: found in the miniature and in a real checkout, refused by name where one differs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studiogan_hosts import MINIATURE, ROOT

from diagan_plugin.cli import main
from diagan_plugin.hosts.studiogan.seams import SEAMS, verify
from gan_registry.errors import UserError


def test_miniature_has_every_seam() -> None:
    assert verify(MINIATURE) == MINIATURE / "src"


@pytest.mark.skipif(not ROOT, reason="set STUDIOGAN_ROOT to a checkout of PyTorch-StudioGAN")
def test_checkout_has_every_seam() -> None:
    assert ROOT is not None
    assert verify(Path(ROOT)) == Path(ROOT).resolve() / "src"


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_a_seam_that_is_gone_is_refused_by_its_name(seam, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(MINIATURE, copy)
    path = copy / "src" / f"{seam.module.replace('.', '/')}.py"
    name = seam.attribute.split(".")[-1]
    text = path.read_text()
    if seam.parameters is None:
        changed = re.sub(rf"^.*import.*\b{name}\b.*$", "", text, flags=re.MULTILINE)
    else:
        changed = text.replace(f"def {name}(", f"def {name}_(")
    assert changed != text
    path.write_text(changed)
    with pytest.raises(UserError, match=re.escape(f"differs at the seam {seam.name}:")):
        verify(copy)


@pytest.mark.parametrize(
    "seam", [seam for seam in SEAMS if seam.parameters], ids=lambda seam: seam.name
)
def test_a_seam_with_another_signature_is_refused_by_its_name(seam, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(MINIATURE, copy)
    path = copy / "src" / f"{seam.module.replace('.', '/')}.py"
    name = seam.attribute.split(".")[-1]
    path.write_text(path.read_text().replace(f"def {name}(", f"def {name}(extra, "))
    with pytest.raises(UserError, match=rf"seam {re.escape(seam.name)}: it takes \(extra, "):
        verify(copy)


@pytest.mark.parametrize("seam", [s for s in SEAMS if s.callers], ids=lambda seam: seam.name)
def test_a_seam_that_is_reached_in_another_way_is_refused(seam, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(MINIATURE, copy)
    file, _, expression = seam.callers[0].partition(": ")
    path = copy / "src" / file
    changed = re.sub(rf"(?<![\w.]){re.escape(expression)}(?=[(,])", "elsewhere", path.read_text())
    path.write_text(changed.replace("def elsewhere(", f"def {expression}("))
    with pytest.raises(UserError, match=re.escape(f"{file} does not use {expression}")):
        verify(copy)


def test_a_changed_checkout_is_refused_before_anything_is_imported(tmp_path: Path, capsys) -> None:
    copy = tmp_path / "checkout"
    shutil.copytree(MINIATURE, copy)
    path = copy / "src" / "worker.py"
    text = path.read_text().replace("def save", "def s")
    path.write_text(f"raise SystemExit('imported')\n{text}")
    assert main(["studiogan", "--studiogan", str(copy), "--", "-t"]) == 2
    assert "seam worker.WORKER.save" in capsys.readouterr().err
    assert "worker" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "-t"], "--studiogan CHECKOUT is missing"),
        (["--studiogan", "nowhere", "--", "-t"], "there is no such folder"),
        (["--studiogan", ".", "--", "-t"], "is no checkout of PyTorch-StudioGAN"),
        (["--studiogan", str(MINIATURE)], "after --"),
        (["--studiogan", str(MINIATURE), "--dia-kk", "1", "--", "-t"], "--dia-kk"),
        (["--studiogan", str(MINIATURE), "--sampler", "di", "--", "-t"], "Did you mean 'dia'"),
        (["--studiogan", str(MINIATURE), "--samples", "drss", "--", "-t"], "Did you mean 'drs'"),
        (["--studiogan", str(MINIATURE), "--", "-t", "-cfg", "no.yaml"], "-cfg no.yaml"),
        (["--studiogan", str(MINIATURE), "--", "-t", "-ckpt", "none"], "-ckpt none"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.delenv("STUDIOGAN_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["studiogan", *arguments])
    except SystemExit as end:  # argparse's own way
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_command_line_starts_without_torch() -> None:
    code = (
        "import sys; from diagan_plugin.cli import build_parser; build_parser().format_help(); "
        "import diagan_plugin.hosts.studiogan.seams; assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "GAN_REGISTRY_DISABLE": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
