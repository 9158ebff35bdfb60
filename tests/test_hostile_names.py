"""Names that steer a terminal, end a line or are no text at all: shown escaped, wherever they are.

One dataset has a class of each name, and lies, as its run does, in a folder of such a name.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from gan_registry.cli.main import main, run_command
from gan_registry.datasets.labels import shown_names
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.results import read_result, write_result
from gan_registry.formatting import align, json_text, one_line, printable, printable_lines
from gan_registry.report.document import Report, Text
from gan_registry.training.logs import JsonLines, Terminal, read_metrics
from gan_registry.training.tensorboard import TensorBoard

# Name of a folder → how it is shown.
NAMES: dict[bytes, str] = {
    b"caf\xe9": r"caf\xe9",
    b"\xff\xfe": r"\xff\xfe",
    "a\u2028b".encode(): r"a\u2028b",
    "a\u2029b".encode(): r"a\u2029b",
    "a\x85b".encode(): r"a\u0085b",
    b"\x1b[31mred\x1b]0;title\x07": r"\x1b[31mred\x1b]0;title\x07",
    b"two\nlines": r"two\nlines",
    b"back\rwards\b": r"back\rwards\x08",
    b"ta\tb": r"ta\tb",
    "\u202egnp.exe".encode(): r"\u202egnp.exe",
    "\u200fright\u2067".encode(): r"\u200fright\u2067",
    "\ufeffmark".encode(): r"\ufeffmark",
    "zero\u200bwidth".encode(): r"zero\u200bwidth",
    "\x9b31m".encode(): r"\u009b31m",
    b"\x7fdel": r"\x7fdel",
    # What a person may well have, and sees as it is.
    "Zürich, 東京 é".encode(): "Zürich, 東京 é",
    "\U0001f408\u200d\u2b1b".encode(): "\U0001f408\u200d\u2b1b",
    b"<script>alert(1)<": "<script>alert(1)<",
    b"{{ 7 * 7 }}%s": "{{ 7 * 7 }}%s",
}  # fmt: skip

STEERING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""What may stand in no output but for the end of a line."""

FOLDER = os.fsdecode(b"caf\xe9 \x1b[31m \xe2\x80\xa8")


@dataclass
class Made:
    """A run on the data, and what was printed meanwhile."""

    data: Path
    folder: Path
    out: str
    err: str


def as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / FOLDER
    try:
        for number, name in enumerate(NAMES):
            (folder / as_text(name)).mkdir(parents=True)
            for i in range(4):
                pixels = np.full((8, 8, 3), 10 * number + i, np.uint8)
                Image.fromarray(pixels).save(folder / as_text(name) / as_text(name + b"%d.png" % i))
    except OSError as error:
        pytest.skip(f"the file system does not take such names: {error}")
    return folder


def settings(folder: Path, data: Path) -> list[str]:
    config = folder / "small.yaml"
    content: dict[str, Any] = {
        "DATA": {"name": "image_folder", "img_size": 8},
        "MODEL": {"backbone": "dcgan", "z_dim": 4, "g_conv_dim": 4, "d_conv_dim": 4},
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {"batch_size": 16, "d_updates_per_step": 1, "total_steps": 4},
        "RUN": {"num_eval": 64, "device": "cpu", "print_freq": 1, "eval_metrics": ["fid"],
                "eval_features": "raw"},
    }  # fmt: skip
    config.write_text(yaml.safe_dump(content))
    return ["train", "--config", str(config), "--data", str(data), "--out", str(folder / FOLDER),
            "--diagnose", "--dia-record-every", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    # A process of its own, with the real standard streams: theirs is the encoding.
    done = subprocess.run(
        [sys.executable, "-m", "gan_registry", *settings(folder, data)], capture_output=True,
        check=False,
    )  # fmt: skip
    out, err = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    assert done.returncode == 0, err[-300:]
    return Made(data, folder / FOLDER, out, err)


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 10


def test_a_run_on_such_data_ends_well(made: Made) -> None:
    assert "Traceback" not in made.err
    for text in (made.out, made.err):
        assert not STEERING.findall(text)
    assert printable(made.folder) in made.out
    groups = read_result(made.folder)["groups"]
    assert sorted(groups) == sorted(NAMES.values())
    assert all(entry["count"] == 4 for entry in groups.values())


@pytest.mark.parametrize("file", ["result.json", "metrics.jsonl", "config.yaml", "report.html"])
def test_no_file_of_the_run_has_what_steers(made: Made, file: str) -> None:
    text = (made.folder / file).read_text(encoding="utf-8")
    assert not STEERING.findall(text)


def test_the_report_shows_them_escaped(made: Made) -> None:
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert r"caf\xe9" in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert "<script>alert" not in page
    assert "{{ 7 * 7 }}%s" in page


def test_the_run_goes_on_and_is_evaluated_anew(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    again = settings(made.folder.parent, made.data)
    assert main([*again, "--steps", "5"]) == 0
    assert [line["step"] for line in read_metrics(made.folder)] == [1, 2, 3, 4, 5]
    assert main(["evaluate", "--run", str(made.folder), "--quiet"]) == 0
    assert main(["compare", str(made.folder), str(made.folder)]) == 0
    printed = capsys.readouterr()
    assert not STEERING.findall(printed.out + printed.err)
    assert main([*again, "--minority", r"caf\xe9=0.01", "--dry-run"]) == 0  # by the name shown


def test_a_damaged_image_of_such_a_name(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        folder = tmp_path / as_text(name)
        folder.mkdir()
        (folder / as_text(name + b".png")).write_bytes(b"no image")
    assert main([*settings(tmp_path, tmp_path), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert not STEERING.findall(err)
    assert "DATA.options.skip_corrupt" in err


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_an_error_a_warning_and_a_log(
    name: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    text = as_text(name)

    def command(error: Exception) -> Any:
        def run() -> int:
            warnings.warn(f"beware of {text}", stacklevel=1)
            logging.getLogger("hostile").warning("logged %s", text)
            raise error

        return run

    for error in (UserError(text), PluginError(text), OSError(13, "refused", text)):
        assert run_command(command(error), "program") in (1, 2)
        err = capsys.readouterr().err
        assert not STEERING.findall(err)
        assert err.count("error: ") == 1
        assert err.startswith("warning: beware of ")
        # Only the end of a line is more than a sign: an error is one line all the same.
        shown = NAMES[name].replace(r"\n", " ").replace(r"\r", " ").replace(r"\t", " ")
        assert shown in err or shown.replace(" ", "") in err.replace(" ", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_logs_and_tables(name: bytes, tmp_path: Path) -> None:
    text, shown = as_text(name), NAMES[name]
    assert printable(text) == shown
    log = JsonLines(tmp_path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, text: 0.5, "said": text})
    content = log.path.read_text(encoding="utf-8")
    assert not STEERING.findall(content)
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line[text] == 0.5 and line["said"] == text for line in lines)
    assert len(JsonLines(tmp_path, 2).path.read_text().splitlines()) == 2  # none lost on resuming

    assert align([["name"], [text]])[2] == shown.rstrip()
    board = TensorBoard(tmp_path, 0)
    board.write(1, {text: 0.5})
    board.close()
    write_result(tmp_path, {"metrics": {text: 1.0}})
    assert read_result(tmp_path)["metrics"] == {text: 1.0}
    assert not STEERING.findall((tmp_path / "result.json").read_text(encoding="utf-8"))
    report = Report(title=text, subtitle=text)
    report.add_section(text, Text(text), order=1, anchor="a")
    report.write(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not STEERING.findall(page)
    assert "<script>" not in page


def test_what_is_said_while_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(0, 10)
    for name in NAMES:
        terminal.say(f"stopped: {as_text(name)}")
        terminal.show(10, {f"loss/{as_text(name)}": 0.5}, 1.0)
    assert not STEERING.findall(capsys.readouterr().err)


def test_two_names_that_look_alike_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DIR has two names that are both shown as"):
        shown_names([r"caf\xe9", "caf\udce9"], "DIR")
    assert shown_names(["a", "a"], "DIR") == ("a", "a")


def test_output_is_escaped_only_where_it_must_be() -> None:
    assert printable("é–−∞ \N{NO-BREAK SPACE}γ₁ 🐈") == "é–−∞ \N{NO-BREAK SPACE}γ₁ 🐈"
    assert printable_lines("a\x1b\nb\r") == "a\\x1b\nb\\r"
    assert one_line(" a\n  b\tc\u2028d ") == "a b c\\u2028d"
    text = json_text({"a\udce9": "\u2028\n\x1bé"}, indent=1)
    assert text == '{\n "a\\udce9": "\\u2028\\n\\u001bé"\n}'
    assert json.loads(text) == {"a\udce9": "\u2028\n\x1bé"}


def test_standard_output_of_any_encoding(made: Made) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gan_registry", "compare", str(made.folder)], capture_output=True,
        check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
