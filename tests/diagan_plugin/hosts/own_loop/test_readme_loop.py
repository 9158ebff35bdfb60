"""The README's loop does what is said of it: its 5 % become about a fifth of the draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

README = Path(__file__).resolve().parents[4] / "README.md"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_minority_is_emphasised(seed, tmp_path, monkeypatch):
    section = README.read_text(encoding="utf-8").split("## In a training loop of your own")[1]
    code = section.split("```python")[1].split("```")[0]
    assert re.findall(r"# (\d)$", code, re.MULTILINE) == ["1", "2", "3", "4"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        exec(code, names)
    dia = names["dia"]
    assert dia.warnings == []
    drawn = dia.sampler.draw(480 * 64, 600 * 64)
    assert 0.15 < np.mean(drawn >= 1900) < 0.3
