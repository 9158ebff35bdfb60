"""Thins groups of a dataset to chosen shares, for controlled studies (`--minority GROUP=SHARE`)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of
from gan_registry.datasets.fetching import gives_bytes
from gan_registry.datasets.labels import class_names_of, labels_of
from gan_registry.errors import UserError, unknown_name
from gan_registry.metrics.base import Progress, no_progress


class Thinned(Dataset):
    """Some samples of a dataset, in its order; all else is the dataset's.

    Args:
        dataset: The whole dataset.
        indices: Which of its samples, int64 [M], ascending.
        groups: Group of each sample of the whole dataset; None leaves the dataset's own.
        group_names: Name of each group, if `groups` is given.

    Attributes:
        attributes: What the dataset has per sample under this name, [M, A]; None if nothing.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Ints,
        groups: Ints | None = None,
        group_names: Sequence[str] | None = None,
    ) -> None:
        self.dataset = dataset
        self.indices = indices
        self.name = dataset.name
        self.kind = dataset.kind
        self.sample_shape = dataset.sample_shape
        self.decodes = dataset.decodes and gives_bytes(dataset)
        self.num_classes = dataset.num_classes
        self.value_range = dataset.value_range
        # Classes that serve as groups for want of others are not what `classify` answers with.
        self.can_classify = dataset.can_classify and groups is None  # type: ignore[misc]
        whole = dataset.groups if groups is None else groups
        self.groups = None if whole is None else whole[indices]
        self.group_names = dataset.group_names if group_names is None else tuple(group_names)
        self.class_names = class_names_of(dataset)
        self.labels = labels_of(dataset)[indices]
        attributes = getattr(dataset, "attributes", None)
        self.attributes = None if attributes is None else attributes[indices]
        self.attribute_names: tuple[str, ...] = getattr(dataset, "attribute_names", ())
        if (in_plane := getattr(dataset, "in_plane", None)) is not None:
            self.in_plane = in_plane  # how reports draw it

    def __len__(self) -> int:
        """Returns the number of samples that are left."""
        return len(self.indices)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples, float32 [B, *sample_shape], and labels, int64 [B].

        Raises:
            IndexError: An index lies outside [0, M).
        """
        rows = self.indices[rows_of(indices, len(self))]
        return self.dataset.__getitems__(torch.from_numpy(rows))

    def bytes_at(self, indices: Indices) -> tuple[Tensor, Tensor] | None:
        """Returns images as bytes where the whole dataset does."""
        rows = self.indices[rows_of(indices, len(self))]
        return self.dataset.bytes_at(rows) if gives_bytes(self.dataset) else None

    def prepare(self, drawn: int, progress: Progress = no_progress) -> None:
        """Makes the whole dataset ready."""
        self.dataset.prepare(drawn, progress)

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns the names that the samples have in the whole dataset."""
        return self.dataset.sample_names(self.indices[rows_of(indices, len(self))])

    def fingerprint(self) -> str:
        """Returns a digest of the whole dataset's and of which samples and groups are left."""
        digest = hashlib.sha256(f"thinned {self.dataset.fingerprint()}".encode())
        for array in (self.indices, self.groups):
            if array is not None:
                digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()

    def cache_key(self) -> str:
        """Returns a digest of the whole dataset's key and of which samples and groups are left."""
        return hashlib.sha256(
            f"{self.dataset.cache_key()} {self.fingerprint()}".encode()
        ).hexdigest()

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns the group of each generated sample, as the whole dataset does."""
        if not self.can_classify:
            return super().classify(x)
        return self.dataset.classify(x)

    def evaluate_generated(self, x: Tensor | npt.ArrayLike) -> dict[str, float]:
        """Returns the whole dataset's metrics."""
        return self.dataset.evaluate_generated(x)


def parse_minority(texts: Sequence[str]) -> dict[str, float]:
    """Reads `GROUP=SHARE` texts, the share as 0.05 or 5%.

    Returns:
        Share by name of group.

    Raises:
        UserError: A text is not of that form, a share is not between 0 and 1, or a group is named
            twice.
    """
    shares = dict[str, float]()
    for text in texts:
        group, separator, share = text.rpartition("=")  # a group's name may have a = of its own
        group, share = group.strip(), share.strip()
        try:
            value = float(share[:-1]) / 100.0 if share.endswith("%") else float(share)
        except ValueError:
            value = math.nan
        if not separator or not group or math.isnan(value):
            raise UserError(f"--minority takes GROUP=SHARE, e.g. cat=0.05 or cat=5%, not {text!r}.")
        if group in shares:
            raise UserError(f"--minority names the group {group!r} twice.")
        shares[group] = check_share(group, value)
    return shares


def check_share(group: str, share: Any) -> float:
    """Returns a share as a number.

    Raises:
        UserError: It is none between 0 and 1.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < share < 1.0:
        raise UserError(
            f"The share of the minority {group!r} must be between 0 and 1 (or 0% and 100%), "
            f"but got {share!r}."
        )
    return float(share)


def thin(dataset: Dataset, minority: Mapping[str, float], seed: int = 0) -> Thinned:
    """Thins groups to chosen shares of what is left; all others stay whole.

    Where a dataset has no groups, its classes become groups. Group g keeps round(s_g·R / (1 − Σs))
    of its samples, where R samples are in no group that is named, so that it makes up s_g of what
    is left, to within half a sample. Which ones follows from (seed, group) alone: a lower share
    keeps a part of what a higher one keeps.

    Args:
        dataset: The whole dataset.
        minority: Share of the thinned dataset, by name of group.
        seed: Seed of the choice.

    Raises:
        UserError: The dataset has neither groups nor classes; a group is unknown (the message lists
            the known ones); a share is not in (0, 1), or is more than the group has; or nothing
            would be left of a group or of the rest.
    """
    groups, names, own = _groups_of(dataset)
    shares = dict[int, float]()
    for name, share in minority.items():
        if name not in names:
            where = f"--minority of the dataset {dataset.name!r}"
            raise unknown_name("group", name, names, where)
        shares[names.index(name)] = check_share(name, share)
    keep = np.ones(len(groups), np.bool_)
    rest = int((~np.isin(groups, list(shares))).sum())
    left = 1.0 - sum(shares.values())
    if shares and (left <= 0.0 or rest == 0):
        raise UserError(
            f"--minority leaves nothing for the other groups of the dataset {dataset.name!r}; "
            "name fewer groups or lower their shares."
        )
    for group, share in shares.items():
        members = np.flatnonzero(groups == group)
        wanted = round(share * rest / left)
        if not 1 <= wanted <= len(members):
            raise UserError(_cannot(names[group], share, wanted, len(members), rest, left))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, group])))
        keep[members] = False
        keep[members[rng.permutation(len(members))[:wanted]]] = True
    indices = np.flatnonzero(keep)
    return Thinned(dataset, indices) if own else Thinned(dataset, indices, groups, names)


def _groups_of(dataset: Dataset) -> tuple[Ints, tuple[str, ...], bool]:
    """Returns groups [N], their names, and whether they are the dataset's own (or its classes)."""
    if dataset.groups is not None:
        return dataset.groups, dataset.group_names, True
    if dataset.num_classes > 1:
        return labels_of(dataset), class_names_of(dataset), False
    hint = ""
    if getattr(dataset, "attribute_names", ()):
        hint = "; choose an attribute that makes them with DATA.options.attribute"
    raise UserError(
        f"--minority needs groups or classes, but the dataset {dataset.name!r} has none{hint}."
    )


def _cannot(name: str, share: float, wanted: int, have: int, rest: int, left: float) -> str:
    if wanted < 1:
        return (
            f"--minority {name}={share:g} leaves no sample of that group beside {rest} others; "
            "raise the share."
        )
    return (
        f"--minority {name}={share:g} asks for {wanted} samples of that group, but there are "
        f"{have}: groups can only be thinned, here to at most "
        f"{have * (left + share) / (have + rest):.6g}."
    )
