"""The plugin's flags and its part of the report, with no run."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from diagan_plugin.postprocessing.calibration import calibration_curve
from diagan_plugin.postprocessing.calibration_section import add_calibration
from diagan_plugin.postprocessing.options import PostOptions, add_options, parse_settings
from gan_registry.report.document import Report


def test_there_is_a_flag_for_each_option_with_its_default():
    parser = argparse.ArgumentParser()
    add_options(parser)
    want = {f"postprocessing.{field.name}": field.default for field in fields(PostOptions)}
    assert vars(parser.parse_args([])) == want
    assert "in %\n" in parser.format_help().replace(" that", "\n")  # no stray % sign
    flags = parser.parse_args(["--drs-gamma", "exact", "--mh-steps", "3"])
    assert vars(flags)["postprocessing.drs_gamma"] == "exact"
    assert vars(flags)["postprocessing.mh_steps"] == 3


def test_options_are_documented():
    parser = argparse.ArgumentParser()
    add_options(parser)
    flags = {action.dest: action.option_strings[0] for action in parser._actions}
    page = Path(__file__).parents[3] / "docs" / "post-processing.md"
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--[\w-]+)` \| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE)
    shown = {"": "none", None: "none", 1e-4: "0.0001"}
    assert [(flag, name, default.strip()) for flag, name, default in rows] == [
        (
            flags[f"postprocessing.{field.name}"],
            field.name,
            shown.get(field.default, str(field.default)),
        )
        for field in fields(PostOptions)
    ]


def test_settings():
    assert parse_settings("split=test, seed = 2,") == {"split": "test", "seed": "2"}
    assert parse_settings("") == {}
    for bad in ("split", "=1", "split="):
        with pytest.raises(ValueError, match="KEY=VALUE"):
            parse_settings(bad)


def test_importing_the_plugin_imports_no_torch():
    code = (
        "import sys; import diagan_plugin.postprocessing.plugin; "
        "sys.exit(bool({'torch', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def found(z: float, unseen: bool, method: str = "platt") -> dict:
    curve = calibration_curve([1.0, 2.0, 0.5], [-1.0, 0.0, 0.7], bins=3).to_result()
    return {
        "method": method, "num_real": 6, "num_generated": 6, "unseen": unseen,
        "z_before": -3.21, "z_after": z, "before": curve, "after": curve,
    }  # fmt: skip


def test_report_section():
    report = Report("r")
    add_calibration(report, {})
    add_calibration(report, None)
    assert not report.sections
    add_calibration(report, {"mh": found(1.0, True), "mh_fresh": found(-2.5, False, "none")})
    (section,) = report.sections
    *charts, table, note = section.blocks
    assert table.highlight == {1}  # only beyond ±2
    assert "−3.21" in report.html()
    assert "after (platt)" in charts[0].image
    assert "not calibrated" in charts[1].image
    assert "its own training samples" in note.text
    report = Report("r")
    add_calibration(report, {"mh": found(1.0, True)})
    assert len(report.sections[0].blocks) == 2
