"""Files of a run folder: damaged, and sealed anew with values that no run would write."""

from __future__ import annotations

import atexit
import copy
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import strategies as st

import diagan_plugin.cli
import gan_registry.cli.main
from diagan_plugin.report.diagnosis import _TYPES, Diagnosis
from gan_registry import integrity
from gan_registry.config.stored import read_stored, write_stored
from gan_registry.evaluation.results import read_result
from gan_registry.state_files import write_state
from gan_registry.training.checkpoint import FORMAT, checkpoint_path, read_checkpoint
from tests.fuzz.configs import SMALL
from tests.fuzz.harness import Target, command, scratch
from tests.fuzz.values import PLAIN, seldom

STEP = 4
CHECKPOINT = f"checkpoints/step-{STEP:08d}.safetensors"
KEPT = "kept/phase1.safetensors"
FORMS = {
    CHECKPOINT: integrity.TENSORS,
    KEPT: integrity.TENSORS,
    "diagnosis.safetensors": integrity.TENSORS,
    "result.json": integrity.JSON,
    "config.yaml": integrity.YAML,
    "samples/final.npz": integrity.ZIP,
}
"""Each file that is read again, and where its checksum stands."""

_CONFIG: dict[str, Any] = {
    **SMALL,
    "OPTIMIZATION": {**SMALL["OPTIMIZATION"], "total_steps": STEP},
    "RUN": {**SMALL["RUN"], "sampler": "dia", "keep_checkpoints": 1},
    "MODEL": {**SMALL["MODEL"], "apply_g_ema": True},
    "PLUGINS": {"dia": {"phase1": 0.5, "record_every": 1, "window": 2}},
}


@functools.cache
def trained() -> Path:
    """A finished run, made once."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with scratch():
        Path("run.yaml").write_text(yaml.safe_dump(_CONFIG))
        line = ["train", "--config", "run.yaml", "--out", str(folder / "run"), "--quiet"]
        assert command(gan_registry.cli.main.main, line)[0] == 0
    return folder / "run"


# ------------------------------------------------------------------ bytes

Edit = tuple[str, float, int]
EDITS = st.tuples(
    st.sampled_from(["flip", "cut", "drop", "twice", "zeros", "swap"]),
    st.floats(0, 1),
    st.integers(0, 500),
)


def edited(content: bytes, edit: Edit) -> bytes:
    """Changes bytes: what, where (as a share of the length), and how many or which."""
    what, share, size = edit
    place = min(int(share * len(content)), max(len(content) - 1, 0))
    head, piece, tail = content[:place], content[place : place + size], content[place + size :]
    if what == "flip":
        return head + bytes([content[place] ^ 1 << size % 8]) + content[place + 1 :]
    changed = {
        "cut": b"",
        "drop": tail,
        "twice": 2 * piece + tail,
        "zeros": bytes(len(piece)) + tail,
    }
    return head + changed.get(what, piece[::-1] + tail)


@st.composite
def damage(draw: Any) -> tuple[str, list[Edit], bool]:
    """A file, what is done to its bytes, and whether it is sealed anew afterwards."""
    name = draw(st.sampled_from(sorted(FORMS)))
    return name, draw(st.lists(EDITS, min_size=1, max_size=3)), draw(st.booleans())


def read_damaged(case: tuple[str, list[Edit], bool]) -> bool:
    """Reads a damaged file; one that is not sealed anew must be refused."""
    name, edits, sealed = case
    with _copy() as run:
        path = run / name
        content = whole = path.read_bytes()
        for edit in edits:
            content = edited(content, edit) if content else content
        path.write_bytes(content)
        if sealed and len(content) > 200:
            integrity.seal(path, FORMS[name])
        same = path.read_bytes() == whole
        taken = _use(run, name)
        # Reports do without samples that are damaged, and evaluations without kept generators.
        spared = name == KEPT or name.endswith(".npz")
        assert sealed or same or not taken or spared, "damage was not seen"
        return taken


# ------------------------------------------------------------------ values

_TENSORS = st.one_of(
    st.sampled_from([torch.zeros(0), torch.full((3,), torch.nan), torch.tensor(2**40),
                     torch.tensor(True), torch.ones(2, 2, dtype=torch.float64) * 1e300,
                     torch.tensor([-5]), torch.zeros(200, dtype=torch.int64)]),
)  # fmt: skip
_KEPT = st.one_of(PLAIN, _TENSORS, st.just({}), st.just([]))
_ARRAYS = st.sampled_from(
    [lambda a: a[:-1], lambda a: a * np.nan, lambda a: a - 10**9, lambda a: a.astype(np.float32),
     lambda a: a.astype(np.int64), lambda a: a[None], lambda a: a * 0, lambda a: a[::-1],
     lambda a: a + 2**40, lambda a: np.zeros((0,), a.dtype), lambda a: a * np.inf]
)  # fmt: skip


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in a tree of mappings and lists, itself left out."""
    entries = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in entries:
        yield (*path, key)
        yield from _leaves(value, (*path, key))


def _put(tree: Any, path: tuple[Any, ...], value: Any, remove: bool) -> Any:
    changed = copy.deepcopy(tree)
    part = changed
    for key in path[:-1]:
        part = part[key]
    if remove:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return changed


@functools.cache
def _tree(name: str) -> Any:
    run = trained()
    readers: dict[str, Callable[[], Any]] = {
        CHECKPOINT: lambda: read_checkpoint(run, STEP),
        "result.json": lambda: read_result(run),
        "config.yaml": lambda: read_stored(run),
    }
    return readers[name]()


@st.composite
def hostile(draw: Any) -> tuple[str, tuple[Any, ...], Any, bool]:
    """A file, a place in what it holds, another value for it, and whether to leave it out."""
    name = draw(st.sampled_from([CHECKPOINT, CHECKPOINT, "result.json", "config.yaml"]))
    place = draw(st.sampled_from(list(_leaves(_tree(name)))))
    value = draw(_KEPT if name == CHECKPOINT else PLAIN)
    return name, place, value, draw(st.integers(0, 4)) == 0


def read_hostile(case: tuple[str, tuple[Any, ...], Any, bool]) -> bool:
    """Uses a run of which a file holds such a value under a right checksum."""
    name, place, value, remove = case
    with _copy() as run:
        changed = _put(_tree(name), place, value, remove)
        try:
            if name == CHECKPOINT:
                write_state(checkpoint_path(run, STEP), changed, FORMAT)
            elif name == "config.yaml":
                write_stored(run, changed)
            else:
                integrity.write_json(run / name, changed)
        except (TypeError, ValueError, yaml.YAMLError):
            return False  # no file can hold it
        return _use(run, name)


_NAMES = sorted(set(_TYPES) - {"names"})  # which are text outside a file


@st.composite
def hostile_arrays(draw: Any) -> tuple[str, Any, tuple[str, str] | None]:
    """An array of a diagnosis, what is made of it, and an entry of the metadata."""
    text = seldom(0.3, st.sampled_from(["", "nan", "1e400", "-1", "x" * 99, "9" * 400]), st.text())
    keys = ["k", "window", "phase", "records", "first_step", "last_step", "phase_boundary",
            "logits", "is_density_ratio", "fingerprint", "record", "new"]  # fmt: skip
    entry = st.tuples(st.sampled_from(keys), text)
    return draw(st.sampled_from(_NAMES)), draw(_ARRAYS), draw(st.none() | entry)


def read_arrays(case: tuple[str, Any, tuple[str, str] | None]) -> bool:
    """Reports a run of which the diagnosis holds such an array."""
    name, change, entry = case
    with _copy() as run:
        path = run / "diagnosis.safetensors"
        diagnosis = Diagnosis.load(path)
        arrays = {each: getattr(diagnosis, each) for each in _NAMES}
        with np.errstate(all="ignore"):
            arrays[name] = change(arrays[name])
        metadata = {**diagnosis.metadata, **dict([entry] if entry else [])}
        kinds = {"float64": "F64", "int64": "I64", "float32": "F32", "int8": "I8"}
        entries = [
            (each, kinds[str(a.dtype)], a.shape, np.ascontiguousarray(a).reshape(-1).view(np.uint8))
            for each, a in arrays.items()
        ]
        try:
            integrity.write_tensors(path, sorted(entries, key=lambda e: e[1] == "F32"), metadata)
        except UnicodeEncodeError:
            return False  # no file can hold it
        return _use(run, "diagnosis.safetensors")


# ------------------------------------------------------------------ using them


def _copy() -> Any:
    return _Copy()


class _Copy:
    """A copy of the run in a scratch folder; nothing half-written may be left in it."""

    def __enter__(self) -> Path:
        source = trained()
        self._scratch = scratch()
        folder = self._scratch.__enter__()
        shutil.copytree(source, folder / "run")
        return Path("run")

    def __exit__(self, *error: Any) -> None:
        self._scratch.__exit__(*error)


_MAIN = gan_registry.cli.main.main
_EVALUATE = ["evaluate", "--run", "run", "--metrics", "none", "--num", "20", "--quiet"]
_USES: dict[str, list[tuple[Callable[[list[str]], int], list[str]]]] = {
    CHECKPOINT: [(_MAIN, _EVALUATE)],
    KEPT: [(_MAIN, _EVALUATE)],
    "diagnosis.safetensors": [(diagan_plugin.cli.main, ["report", "--run", "run"])],
    "result.json": [
        (_MAIN, ["compare", "run", "run"]), (diagan_plugin.cli.main, ["report", "--run", "run"]),
    ],
    "config.yaml": [(_MAIN, _EVALUATE), (_MAIN, ["compare", "run", "run", "--json"])],
    "samples/final.npz": [(diagan_plugin.cli.main, ["report", "--run", "run"])],
}  # fmt: skip


def _use(run: Path, name: str) -> bool:
    """Runs the commands that read a file; returns whether they all took it."""
    return [command(main, line)[0] for main, line in _USES[name]] == [0] * len(_USES[name])


TARGETS = (
    Target("bytes", damage(), read_damaged, 6),
    Target(
        "values",
        hostile(),
        read_hostile,
        4,
        pinned=(
            (CHECKPOINT, ("health",), {}, False),
            ("result.json", ("health", 0), {"name": [], "step": 2}, False),
            ("result.json", ("groups", "mode 9", "share_generated"), [], False),
            ("result.json", ("kept", "phase1"), {"step": 2}, False),
        ),
    ),
    Target("diagnoses", hostile_arrays(), read_arrays, 2),
)
