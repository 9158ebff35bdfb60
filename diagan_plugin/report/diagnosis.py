"""The diagnosis of a run: what was found about each training sample, as a file and by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gan_registry.errors import UserError
from gan_registry.files import atomic_write

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FLOATS = ("ldrm", "ldrv", "score", "probability")
_INTEGERS = ("count", "group")
_HISTORY = ("history", "history_steps", "history_indices")
UNKNOWN_GROUP = -1


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
                object.__setattr__(self, name, _array(getattr(self, name), dtype))
        object.__setattr__(self, "history", _array(self.history, np.float32))
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
        tensors = {
            name: np.ascontiguousarray(getattr(self, name))
            for name in (*_FLOATS, *_INTEGERS, *_HISTORY)
        }
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata=dict(self.metadata))

    @classmethod
    def load(cls, path: str | Path) -> Diagnosis:
        """Reads the file.

        Raises:
            UserError: It is missing, broken, or holds something else.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"There is no diagnosis at {path}: train with --diagnose or --sampler dia to "
                "record one."
            )
        remedy = (
            "it is damaged or of another kind; the 'gan-registry train' command of its run, given "
            "again, writes it anew."
        )
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"Cannot read the diagnosis {path} ({error}): {remedy}") from error
        missing = [name for name in (*_FLOATS, *_INTEGERS) if name not in tensors]
        if missing:
            raise UserError(f"The diagnosis {path} lacks {', '.join(missing)}: {remedy}")
        known = {entry.name for entry in fields(cls)}
        try:
            return cls(**{k: v for k, v in tensors.items() if k in known}, metadata=metadata)
        except (ValueError, TypeError) as error:
            raise UserError(f"Cannot use the diagnosis {path} ({error}) {remedy}") from error


@dataclass(frozen=True)
class GroupSummary:
    """A group of the training data under the diagnosis.

    Attributes:
        group: Its number; -1 collects the samples of unknown group.
        name: Its name.
        size: Number of training samples.
        share_data: Its share of the training data.
        share_drawn: Its share among the draws, None if nothing was weighted.
        ldrm: Mean LDRM over its samples that have one; NaN if none has.
        ldrv: Mean LDRV, likewise.
        score: Mean score, likewise.
    """

    group: int
    name: str
    size: int
    share_data: float
    share_drawn: float | None
    ldrm: float
    ldrv: float
    score: float

    def to_result(self) -> dict[str, float | int | None]:
        """Returns the entry of `result.json` (`groups`), where NaN becomes None."""
        values = {
            "share_data": self.share_data,
            "share_drawn": self.share_drawn,
            "ldrm": self.ldrm,
            "ldrv": self.ldrv,
            "score": self.score,
            "count": self.size,
        }
        return {k: v if v is not None and np.isfinite(v) else None for k, v in values.items()}


def group_table(
    group: ArrayLike,
    *,
    ldrm: ArrayLike,
    ldrv: ArrayLike,
    score: ArrayLike,
    names: Sequence[str] = (),
    drawn: ArrayLike | None = None,
) -> list[GroupSummary]:
    """Summarises the diagnosis by group.

    Args:
        group: Group numbers [N]; -1 is unknown.
        ldrm: LDRM [N].
        ldrv: LDRV [N].
        score: Score [N].
        names: Names of the groups 0, 1, …; a group beyond them is called by its number.
        drawn: How often each sample was drawn, or the probability that it is [N].

    Returns:
        A row for each group that is named or occurs, by number; samples of unknown group last.

    Raises:
        ValueError: The lengths differ.
    """
    numbers = np.asarray(group, dtype=np.int64).reshape(-1)
    given = {"ldrm": ldrm, "ldrv": ldrv, "score": score, "drawn": drawn}
    values = {
        key: np.asarray(value, np.float64).reshape(-1)
        for key, value in given.items()
        if value is not None
    }
    for key, value in values.items():
        if value.size != numbers.size:
            raise ValueError(
                f"Argument `{key}` must have {numbers.size} values like `group`, "
                f"but got {value.size}."
            )
    count = max(len(names), int(numbers.max(initial=-1)) + 1)
    slot = np.where(numbers < 0, count, numbers)
    size = np.bincount(slot, minlength=count + 1)
    draws = values.pop("drawn", np.zeros(numbers.size))
    total = draws.sum()
    drawn_share = np.bincount(slot, weights=draws, minlength=count + 1) / max(total, 1e-300)
    means = {key: _means(slot, value, count + 1) for key, value in values.items()}
    rows = []
    for index in range(count + 1):
        unknown = index == count
        if size[index] == 0 and (unknown or index >= len(names)):
            continue
        number = UNKNOWN_GROUP if unknown else index
        rows.append(
            GroupSummary(
                group=number,
                name=group_name(number, names),
                size=int(size[index]),
                share_data=float(size[index] / numbers.size) if numbers.size else 0.0,
                share_drawn=float(drawn_share[index]) if total > 0 else None,
                **{key: float(mean[index]) for key, mean in means.items()},
            )
        )
    return rows


def group_name(group: int, names: Sequence[str]) -> str:
    """Returns a group's name, its number where it has none, "unknown" for -1."""
    if group < 0:
        return "unknown"
    return str(names[group]) if group < len(names) else f"group {group}"


def _means(slot: Integers, values: Floats, count: int) -> Floats:
    finite = np.isfinite(values)
    total = np.bincount(slot[finite], weights=values[finite], minlength=count)
    number = np.bincount(slot[finite], minlength=count)
    means: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return means


def _array(value: Any, dtype: Any) -> NDArray[Any]:
    return np.asarray(value, dtype=dtype)
