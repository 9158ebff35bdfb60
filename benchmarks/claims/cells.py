"""Cells: one number file for each (claim, scale, case, method, seed), written once and kept.

A cell that was measured by other settings than are asked for now is measured again; that of another
version of the package stays, as it says which version it is of.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims.declared import Claim, Method, Settings
from benchmarks.speed.harness import machine
from gan_registry.config.load import read_config
from gan_registry.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "results"
_DIGITS = 6  # significant, of what is kept


@dataclass(frozen=True)
class Cell:
    """What is measured once.

    Attributes:
        claim: The claim's name.
        scale: "small" or "full".
        case: The name of the case.
        method: The name of the method.
        how: The method.
        seed: The run's seed.
        config: The packaged configuration.
        settings: Over it, without those of the method.
        folder: Where the data lie below `--data`, if they lie anywhere.
    """

    claim: str
    scale: str
    case: str
    method: str
    how: Method
    seed: int
    config: str
    settings: Settings
    folder: str = ""

    def path(self, results: Path) -> Path:
        """Returns where the numbers of the cell are kept."""
        parts = [part for part in (self.case, self.method) if part]
        name = "-".join(re.sub(r"[^\w.+=]+", "_", part).strip("_") for part in parts)
        return results / self.claim / self.scale / f"{name}-seed{self.seed}.json"

    @property
    def trunk(self) -> str:
        """A digest of what is trained before the end of phase 1."""
        return self._digest({**self.settings, **self.how.settings}, None)

    @property
    def digest(self) -> str:
        """A digest of all settings, those of the packaged configuration included."""
        return self._digest({**self.settings, **self.how.settings}, self.how.later)

    def _digest(self, settings: Settings, later: Settings | None) -> str:
        content = read_config(self.config)[2] if self.config else {}
        # A setting counts by its value: where it stands makes no difference to a run.
        told = [content, dict(settings), later]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def command(self) -> str:
        """The command that measures this cell alone."""
        words = [self.claim, *(() if self.scale == "small" else ("--scale", self.scale))]
        words += ["--cases", self.case] if self.case else []
        words += ["--add", *self.how.added] if self.how.added else []
        words += ["--methods", *(() if self.how.added else (self.method,))]
        words += ["--first-seed", str(self.seed), "--seeds", "1"]
        words += ["--data", "DATA"] if self.folder else []
        return f"python -m benchmarks.claims {shlex.join(words)}"

    def __str__(self) -> str:
        shown = " ".join(part for part in (self.claim, self.case, self.method) if part)
        return f"{shown} seed {self.seed}"


def cells_of(
    claim: Claim, scale: str, cases: list[str], methods: Mapping[str, Method], seeds: range,
    settings: Settings,
) -> list[Cell]:  # fmt: skip
    """Returns the cells of a claim, those that share a phase 1 after each other."""
    of = claim.scales[scale]
    found = []
    for case in cases:
        of_case = {**of.cases[case], **settings}
        config, folder = of_case.pop("CONFIG", of.config), of_case.pop("FOLDER", "")
        found += [
            Cell(claim.name, scale, case, name, how, seed, config, of_case, folder)
            for seed in seeds
            for name, how in methods.items()
        ]
    return found


def read(path: Path) -> dict[str, Any] | None:
    """Reads a cell's file; None where there is none, or half of one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "values" in content else None


def is_measured(cell: Cell, results: Path) -> bool:
    """Whether the cell's numbers are there, by the present settings and of all kinds asked for."""
    content = read(cell.path(results)) or {}
    kinds = set(content.get("kinds", ()))
    return content.get("settings_digest") == cell.digest and kinds.issuperset(cell.how.kinds)


def write(
    cell: Cell, results: Path, values: Mapping[str, Any], seconds: float, shared_seconds: float
) -> None:
    """Writes a cell's numbers, and what they were measured by.

    Args:
        cell: The cell.
        results: The folder of all results.
        values: The numbers.
        seconds: What it took, without what it shares with others.
        shared_seconds: What training a phase 1 took that it shares.
    """
    today = datetime.datetime.now(datetime.timezone.utc).date()
    content = {
        "claim": cell.claim, "scale": cell.scale, "case": cell.case, "method": cell.method,
        "seed": cell.seed, "config": cell.config, "settings": dict(cell.settings),
        "method_settings": dict(cell.how.settings),
        "later_settings": None if cell.how.later is None else dict(cell.how.later),
        "kinds": list(cell.how.kinds), "settings_digest": cell.digest, "command": cell.command,
        "machine": machine(1), "date": today.isoformat(),
        "seconds": round(seconds, 1), "shared_seconds": round(shared_seconds, 1),
        "values": rounded(values),
    }  # fmt: skip
    with atomic_write(cell.path(results)) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        # Lists of numbers in a line each.
        text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_all(results: Path, claim: str, scale: str) -> Iterator[dict[str, Any]]:
    """Yields the content of each file of a claim, by name."""
    for path in sorted((results / claim / scale).glob("*.json")):
        content = read(path)
        if content is not None:
            yield content


def rounded(value: Any) -> Any:
    """Returns a value with floats of few digits; what is not finite is None, as JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
