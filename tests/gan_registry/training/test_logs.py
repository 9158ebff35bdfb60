from __future__ import annotations

from pathlib import Path

import pytest

from gan_registry.training.logs import JsonLines, read_metrics

WHOLE = '{"step": 1, "loss/generator": 0.5}'


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[1]", "5", "null", '{"step": "x"}', '{"step": null}', '{"step": [1]}',
        '{"step": true}', '{"other": 1}', "[" * 100_000, '{"step": ' + "9" * 5000 + "}",
        "\x1b[31m", "\ufeff" + WHOLE,
    ],
)  # fmt: skip
def test_what_is_no_line_of_a_log_is_left_out(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{WHOLE}\n{line}\n" + WHOLE.replace("1", "2"), encoding="utf-8")
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1, 2]
    JsonLines(tmp_path, 1)  # a run that goes on drops later lines
    assert path.read_text() == f"{WHOLE}\n"


def test_bytes_that_are_no_text_cost_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(f"{WHOLE}\n".encode() + b"\xff\xfe\x00\n" + WHOLE.encode())
    assert len(read_metrics(tmp_path)) == 2


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_only_the_end_of_a_line_ends_it(tmp_path: Path, separator: str) -> None:
    # As other programs, and versions that did not escape these, have written it.
    line = f'{{"step": 1, "a{separator}b": 2}}\n'
    (tmp_path / "metrics.jsonl").write_text(line, encoding="utf-8")
    assert read_metrics(tmp_path) == [{"step": 1, f"a{separator}b": 2}]
