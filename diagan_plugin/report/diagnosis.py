"""The diagnosis of a run: what was found about each training sample, as a file and by group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.arguments import as_array
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.names import pack_names, row_name, unpack_names
from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.integrity import DamagedError, Entry, read_tensors, write_tensors

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FLOATS = ("ldrm", "ldrv", "score", "probability")
_INTEGERS = ("count", "group")
_HISTORY = ("history", "history_steps", "history_indices")
_OPTIONAL = ("label", "cluster", "likely")
_TYPES = {
    **dict.fromkeys(_FLOATS, "F64"),
    **dict.fromkeys((*_INTEGERS, *_HISTORY[1:], "label", "cluster"), "I64"),
    "history": "F32",
    "likely": "I8",
    "names": "U8",
}
"""safetensors' name of each tensor's type, the largest first."""

_DTYPES = {
    "F64": np.dtype("<f8"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}  # fmt: skip
LIKELY = ("", "rare", "broken", "mislabelled")
"""What a sample may be; `likely` holds the place of the word here."""

UNKNOWN_GROUP = -1
MOST_GROUPS = 1_000_000
"""A group of a higher number is taken for damage: tables have a row for each number below."""


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnosis.safetensors` holds.

    Attributes:
        ldrm: Mean log-density ratio of each training sample over the window (paper eq. 2),
            float64 [N]; NaN where there is no record.
        ldrv: Its unbiased variance (paper eq. 2), float64 [N]; NaN below two records.
        score: Discrepancy score (paper eq. 7), float64 [N].
        probability: Probability of being drawn under the score, float64 [N], sums to 1.
        count: Number of records in the window, int64 [N].
        group: Number of the known group, int64 [N]; -1 where unknown.
        label: Its class, int64 [N]; -1 where unknown. Empty where there are no classes.
        names: What each sample is called, e.g. its file's path in the data's folder, N of them;
            empty where they are just the rows of the data in order (see :meth:`name`).
        cluster: Number of its cluster among the under-represented samples, int64 [N]; -1 for none.
            Empty where nothing was clustered.
        likely: Whether it is likely rare, broken or mislabelled, as the place in :data:`LIKELY`,
            int8 [N]. Empty where that was not looked into.
        history: Log-density ratios of a fixed subset of S samples at R steps, float32 [R, S].
        history_steps: Those steps, increasing, int64 [R].
        history_indices: Dataset indices of the subset, int64 [S].
        metadata: Text about the recording: `fingerprint` of the dataset, `k`, `phase`, `window`,
            `first_step`, `last_step`, `records`, and `phase_boundary`, the first step of phase 2;
            `group_names` and `label_names`, JSON lists.

    Raises:
        ValueError: The shapes do not fit together.
    """

    ldrm: Floats
    ldrv: Floats
    score: Floats
    probability: Floats
    count: Integers
    group: Integers
    history: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    history_steps: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    history_indices: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    metadata: Mapping[str, str] = field(default_factory=dict)
    label: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    names: tuple[str, ...] = ()
    cluster: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    likely: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))

    def __post_init__(self) -> None:
        for name, kind in _TYPES.items():
            if name != "names":
                object.__setattr__(self, name, _array(name, getattr(self, name), _DTYPES[kind]))
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        text = {str(key): str(value) for key, value in self.metadata.items()}
        object.__setattr__(self, "metadata", text)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(_FLOATS + _INTEGERS, (self.ldrm.size,))
        records, subset = self.history_steps.size, self.history_indices.size
        expected |= {"history_steps": (records,), "history_indices": (subset,)}
        if self.history.size or records:
            expected["history"] = (records, subset)
        expected |= {name: (self.ldrm.size,) for name in _OPTIONAL if getattr(self, name).size}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"Argument `{name}` must have shape {shape}, "
                    f"but got {getattr(self, name).shape}."
                )
        if self.names and len(self.names) != self.num_samples:
            raise ValueError(
                f"Argument `names` must hold {self.num_samples} names, but got {len(self.names)}."
            )
        if subset and not (
            0 <= self.history_indices.min() <= self.history_indices.max() < self.num_samples
        ):
            raise ValueError(
                f"Argument `history_indices` must lie in [0, {self.num_samples}), but got "
                f"{self.history_indices.min()} to {self.history_indices.max()}."
            )

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        return int(self.ldrm.size)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Name of each group, by number; empty if unknown."""
        return self._list("group_names")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each class, by number; empty if unknown."""
        return self._list("label_names")

    def name(self, index: int) -> str:
        """Returns what a person would look a sample up by: its file's path, or "row 17"."""
        return self.names[index] if self.names else row_name(range(self.num_samples)[index])

    def verdict(self, index: int) -> str:
        """Returns the word of :data:`LIKELY` for a sample, "" where nothing is known."""
        return LIKELY[self.likely[index]] if self.likely.size else ""

    @property
    def phase_boundary(self) -> int | None:
        """The first step of phase 2, if there was one and it was noted."""
        return self._integer("phase_boundary")

    @property
    def first_step(self) -> int | None:
        """The step of the first record in the window."""
        return self._integer("first_step")

    @property
    def last_step(self) -> int | None:
        """The step of the last record in the window."""
        return self._integer("last_step")

    def check_dataset(self, dataset: Dataset) -> None:
        """Refuses another dataset than the one that was diagnosed.

        Raises:
            UserError: The number of samples or the fingerprint differs.
        """
        if len(dataset) != self.num_samples:
            raise UserError(
                f"The diagnosis is of {self.num_samples:,} training samples, but the dataset has "
                f"{len(dataset):,}: use the data that the run was trained on."
            )
        recorded = self.metadata.get("fingerprint")
        if recorded and recorded != dataset.fingerprint():
            raise UserError(
                "The dataset has changed since the diagnosis was recorded (its fingerprint "
                "differs): use the data that the run was trained on."
            )

    def __repr__(self) -> str:
        """Says in a line what it is of; the arrays are shown by :meth:`to_frame`."""
        parts = [f"{self.num_samples:,} samples"]
        if count := len(np.unique(self.group[self.group >= 0])):
            parts.append(f"{count} groups")
        if self.last_step is not None:
            parts.append(f"recorded to step {self.last_step:,}")
        if np.isfinite(self.score).any():
            parts.append(f"score {np.nanmin(self.score):.3g} to {np.nanmax(self.score):.3g}")
        return f"Diagnosis({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Shows the samples of the highest score in a notebook."""
        from diagan_plugin.report.sample_table import html_table

        return html_table(self)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame, a row a sample; its columns are those of `diagan export`.

        Raises:
            UserError: pandas is not installed.
        """
        from diagan_plugin.report.sample_table import data_frame

        return data_frame(self)

    def _list(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(map(str, json.loads(self.metadata[name])))
        except (KeyError, ValueError, TypeError, RecursionError):
            return ()

    def _integer(self, name: str) -> int | None:
        try:
            return int(float(self.metadata[name]))
        except (KeyError, ValueError, OverflowError):
            return None

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            UserError: The disk is full, read-only or not writable.
        """
        with atomic_write(path) as temporary:
            written = [n for n in _TYPES if n not in (*_OPTIONAL, "names") or len(getattr(self, n))]
            write_tensors(temporary, [self._entry(name) for name in written], self.metadata)

    def _entry(self, name: str) -> Entry:
        content = pack_names(self.names) if name == "names" else getattr(self, name)
        array = np.ascontiguousarray(content)
        return name, _TYPES[name], array.shape, array.reshape(-1).view(np.uint8)

    @classmethod
    def load(cls, path: str | Path) -> Diagnosis:
        """Reads the file.

        Raises:
            UserError: It is missing, broken, or holds something else.
        """
        if not isinstance(path, (str, Path)):
            raise TypeError(f"Argument `path` must be a path, but got a {type(path).__name__}.")
        remedy = "the 'gan-registry train' command of its run, given again, writes it anew."
        try:
            tensors, metadata = read_tensors(path, "numpy")
        except FileNotFoundError:
            raise UserError(
                f"There is no diagnosis at {path}: train with --diagnose or --sampler dia to "
                "record one."
            ) from None
        except DamagedError as error:
            raise UserError(f"Cannot read the diagnosis {path}: it {error}; {remedy}") from error
        missing = [name for name in (*_FLOATS, *_INTEGERS) if name not in tensors]
        if missing:
            raise UserError(f"The diagnosis {path} lacks {', '.join(missing)}; {remedy}")
        try:
            _check_types(tensors)
            known: dict[str, Any] = {name: tensors[name] for name in _TYPES if name in tensors}
            if "names" in known:
                known["names"] = unpack_names(known["names"], known["ldrm"].size)
            diagnosis = cls(**known, metadata=metadata)
            diagnosis._check_values()
        except (ValueError, TypeError) as error:
            reason = str(error).removesuffix(".")
            raise UserError(f"Cannot use the diagnosis {path}: {reason}; {remedy}") from error
        return diagnosis

    def _check_values(self) -> None:
        """Refuses numbers that no run writes, before anything is counted or drawn by them.

        Raises:
            ValueError: It says which.
        """
        for name in ("ldrm", "ldrv", "score"):
            if np.isinf(getattr(self, name)).any():
                raise ValueError(f"`{name}` holds infinity.")
        total = float(self.probability.sum())
        is_known = not np.isnan(self.probability).all()
        wrong = {
            "`ldrv` is negative": (self.ldrv < 0).any(),
            "`count` is negative": (self.count < 0).any(),
            "`group` is below -1": (self.group < UNKNOWN_GROUP).any(),
            f"`group` is beyond {MOST_GROUPS:,}": (self.group >= MOST_GROUPS).any(),
            "`label` or `cluster` is below -1": min(
                self.label.min(initial=-1), self.cluster.min(initial=-1)
            )
            < -1,
            "`likely` is none of 0 to 3": (self.likely < 0).any()
            or (self.likely >= len(LIKELY)).any(),
            "`probability` is negative or partly NaN": is_known
            and not (self.probability >= 0).all(),
            f"`probability` sums to {total:g}, not 1": is_known and not abs(total - 1) < 1e-6,
            "`history_steps` does not increase": (np.diff(self.history_steps) <= 0).any()
            or (self.history_steps < 0).any(),
        }
        for what, holds in wrong.items():
            if holds:
                raise ValueError(f"{what}.")


def load_diagnosis(path: str | Path) -> Diagnosis:
    """Reads the diagnosis of a run.

    Args:
        path: The run folder, or the file `diagnosis.safetensors` in it.

    Raises:
        UserError: There is none, or it is damaged.

    Example:
        >>> diagnosis = load_diagnosis("runs/mine")  # doctest: +SKIP
        >>> [diagnosis.name(i) for i in diagnosis.score.argsort()[::-1][:10]]  # doctest: +SKIP
    """
    file = Path(path)
    return Diagnosis.load(file / DIAGNOSIS_FILE if file.is_dir() else file)


def _check_types(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Refuses tensors of other types than are written, which a conversion would change."""
    for name, kind in _TYPES.items():
        if name in tensors and tensors[name].dtype != _DTYPES[kind]:
            raise ValueError(f"`{name}` is {tensors[name].dtype}, not {_DTYPES[kind]}.")


def _array(name: str, value: Any, dtype: Any) -> NDArray[Any]:
    try:
        return np.asarray(as_array(name, value), dtype=dtype)
    except OverflowError:
        raise ValueError(f"Argument `{name}` must hold whole numbers, but does not.") from None
