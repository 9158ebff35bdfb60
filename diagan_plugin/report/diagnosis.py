"""The diagnosis of a run: what was found about each training sample, as a file and by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.arguments import as_array
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
_TYPES = {
    **dict.fromkeys(_FLOATS, "F64"),
    **dict.fromkeys((*_INTEGERS, *_HISTORY[1:]), "I64"),
    "history": "F32",
}
"""safetensors' name of each tensor's type, the largest first."""

_DTYPES = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4")}
UNKNOWN_GROUP = -1
MOST_GROUPS = 1_000_000
"""A group of a higher number is taken for damage: tables have a row for each number below."""


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnosis.safetensors` holds.

    Attributes:
        ldrm: Mean log-density ratio of each training sample over the window (paper eq. 2),
            float64 [N]; NaN where there is no record.
        ldrv: Its unbiased variance (paper eq. 3), float64 [N]; NaN below two records.
        score: Discrepancy score (paper eq. 7), float64 [N].
        probability: Probability of being drawn under the score, float64 [N], sums to 1.
        count: Number of records in the window, int64 [N].
        group: Number of the known group, int64 [N]; -1 where unknown.
        history: Log-density ratios of a fixed subset of S samples at R steps, float32 [R, S].
        history_steps: Those steps, increasing, int64 [R].
        history_indices: Dataset indices of the subset, int64 [S].
        metadata: Text about the recording: `fingerprint` of the dataset, `k`, `phase`, `window`,
            `first_step`, `last_step`, `records`, and `phase_boundary`, the first step of phase 2.

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

    def __post_init__(self) -> None:
        for names, dtype in ((_FLOATS, np.float64), (_INTEGERS + _HISTORY[1:], np.int64)):
            for name in names:
                object.__setattr__(self, name, _array(name, getattr(self, name), dtype))
        object.__setattr__(self, "history", _array("history", self.history, np.float32))
        text = {str(key): str(value) for key, value in self.metadata.items()}
        object.__setattr__(self, "metadata", text)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(_FLOATS + _INTEGERS, (self.ldrm.size,))
        records, subset = self.history_steps.size, self.history_indices.size
        expected |= {"history_steps": (records,), "history_indices": (subset,)}
        if self.history.size or records:
            expected["history"] = (records, subset)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"Argument `{name}` must have shape {shape}, "
                    f"but got {getattr(self, name).shape}."
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
            write_tensors(temporary, [self._entry(name) for name in _TYPES], self.metadata)

    def _entry(self, name: str) -> Entry:
        array = np.ascontiguousarray(getattr(self, name))
        return name, _TYPES[name], array.shape, array.reshape(-1).view(np.uint8)

    @classmethod
    def load(cls, path: str | Path) -> Diagnosis:
        """Reads the file.

        Raises:
            UserError: It is missing, broken, or holds something else.
        """
        if not isinstance(path, (str, Path)):
            raise TypeError(f"Argument `path` must be a path, but got a {type(path).__name__}.")
        remedy = (
            "it is damaged or of another kind; the 'gan-registry train' command of its run, given "
            "again, writes it anew."
        )
        try:
            tensors, metadata = read_tensors(path, "numpy")
        except FileNotFoundError:
            raise UserError(
                f"There is no diagnosis at {path}: train with --diagnose or --sampler dia to "
                "record one."
            ) from None
        except DamagedError as error:
            raise UserError(f"Cannot read the diagnosis {path}, which {error}: {remedy}") from error
        missing = [name for name in (*_FLOATS, *_INTEGERS) if name not in tensors]
        if missing:
            raise UserError(f"The diagnosis {path} lacks {', '.join(missing)}: {remedy}")
        try:
            _check_types(tensors)
            known = {name: tensors[name] for name in _TYPES if name in tensors}
            diagnosis = cls(**known, metadata=metadata)
            diagnosis._check_values()
        except (ValueError, TypeError) as error:
            raise UserError(f"Cannot use the diagnosis {path} ({error}) {remedy}") from error
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
            "`probability` is negative or partly NaN": is_known
            and not (self.probability >= 0).all(),
            f"`probability` sums to {total:g}, not 1": is_known and not abs(total - 1) < 1e-6,
            "`history_steps` does not increase": (np.diff(self.history_steps) <= 0).any()
            or (self.history_steps < 0).any(),
        }
        for what, holds in wrong.items():
            if holds:
                raise ValueError(f"{what}.")


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
