"""Occurrence: which share of the generated samples shows an attribute, as a classifier sees it.

Lee et al. (2021), section 5.3 and table 6: for each minor attribute of CelebA a binary classifier
is trained on the real data (to at least 95 % accuracy), and the occurrence is the share of
generated samples in which it finds the attribute; it is to be compared with the attribute's share
of the real data. Two classifiers can be had here, and with them two metrics:

* `GroupOccurrence` takes the dataset's own rule (`Dataset.classify`: the colour of the ink, the
  nearest mode), which needs no training but exists only where groups follow a rule;
* `ClassifierOccurrence` takes the probabilities of the chosen feature extractor: a sample's class
  is the most probable one, and each class stands for the group that most real samples of that
  class belong to. That serves any extractor with classes, whatever it was trained on; so its
  accuracy on the real samples is reported beside. Below the paper's 95 %, an occurrence tells
  little.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, Directions, Metric, MetricContext, Needs
from gan_registry.metrics.fitting import check_count, check_finite, count_bad


def group_counts(groups: Tensor, num_groups: int) -> Tensor:
    """Counts the samples of each group.

    Args:
        groups: int64 [n]; -1 belongs to none.
        num_groups: G.

    Returns:
        int64 [G + 1] on the CPU; the last is the number of samples in no group.

    Raises:
        ValueError: A group lies outside [-1, G).
    """
    numbers = groups.detach().cpu().to(torch.int64)
    if len(numbers) and (int(numbers.min()) < -1 or int(numbers.max()) >= num_groups):
        raise ValueError(
            f"Argument `groups` must be in [-1, {num_groups}), but got values from "
            f"{int(numbers.min())} to {int(numbers.max())}."
        )
    numbers = torch.where(numbers < 0, num_groups, numbers)
    return torch.bincount(numbers, minlength=num_groups + 1)


def majority_groups(confusion: Tensor) -> Tensor:
    """Tells which group a class stands for: the one that most of its real samples belong to.

    Args:
        confusion: Counts [C, G] of real samples by most probable class and true group.

    Returns:
        int64 [C]; -1 for a class that no real sample was put into. Of equally frequent groups, the
        first.
    """
    best = confusion.argmax(dim=1)
    return torch.where(confusion.sum(dim=1) > 0, best, -1)


class _Occurrence(Metric):
    """Counts real and generated samples by group."""

    name: ClassVar[str]

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        if not context.group_names:
            raise UserError(
                f"The metric {self.name} needs data with groups, but this dataset has none."
            )
        self._num_groups = len(context.group_names)
        self._real = torch.zeros(self._num_groups + 1, dtype=torch.int64)

    def update_real(self, batch: Batch) -> None:
        """Counts some real samples."""
        assert batch.groups is not None
        self._real += group_counts(batch.groups, self._num_groups)

    def _shares(self, fake: Tensor) -> dict[str, Any]:
        """Returns the results from counts of generated samples, [G + 1]."""
        total, real = int(fake.sum()), int(self._real.sum())
        check_count(self.name, "generated", total, 1)
        groups: dict[str, dict[str, float]] = {}
        for number, name in enumerate(self.context.group_names):
            groups[name] = {"occurrence": int(fake[number]) / total}
            if real:
                groups[name]["occurrence_real"] = int(self._real[number]) / real
        return {"occurrence_other": int(fake[-1]) / total, "groups": groups}


class GroupOccurrence(_Occurrence):
    """Occurrence by the dataset's own rule.

    Results for each group: `occurrence`, the share of generated samples in it, and
    `occurrence_real`, that of real samples. Overall: `occurrence_other`, the share of generated
    samples in no group.
    """

    name: ClassVar[str] = "occurrence"
    needs: ClassVar[frozenset[Needs]] = frozenset({"groups"})
    directions: ClassVar[Directions] = {
        "occurrence": "none",
        "occurrence_real": "none",
        "occurrence_other": "down",
    }

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.reset_fake()

    def update_fake(self, batch: Batch) -> None:
        """Counts some generated samples."""
        if batch.groups is None:
            raise UserError(
                f"The metric {self.name} needs a dataset that can tell the group of a generated "
                "sample; with a classifier: occurrence_classifier."
            )
        self._fake += group_counts(batch.groups, self._num_groups)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._fake = torch.zeros(self._num_groups + 1, dtype=torch.int64)

    def compute(self) -> dict[str, Any]:
        """Returns the shares.

        Raises:
            UserError: There is no generated sample.
        """
        return self._shares(self._fake)


class ClassifierOccurrence(_Occurrence):
    """Occurrence by the classes of the feature extractor, as table 6 of Lee et al. (2021).

    Results as :class:`GroupOccurrence`, and for each group `classifier_accuracy`: the share of its
    real samples that are put into it, from those seen; and `occurrence_real_seen`: the share of all
    real samples of known group that are put into it, rightly or not, which is what `occurrence` of
    a perfect generator would be. Of generated samples only the probabilities are read.
    """

    name: ClassVar[str] = "occurrence_classifier"
    needs: ClassVar[frozenset[Needs]] = frozenset({"probabilities", "groups"})
    directions: ClassVar[Directions] = {
        **GroupOccurrence.directions,
        "classifier_accuracy": "up",
        "occurrence_real_seen": "none",
    }

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._bad_real = 0
        self._confusion: Tensor | None = None
        self._bad_fake = 0
        self._fake: Tensor | None = None

    def update_real(self, batch: Batch) -> None:
        """Counts some real samples by class and group."""
        super().update_real(batch)
        assert batch.groups is not None
        classes, bad = self._classes(batch)
        self._bad_real += bad
        if self._confusion is None:
            assert batch.probabilities is not None
            shape = (batch.probabilities.shape[1], self._num_groups)
            self._confusion = torch.zeros(shape, dtype=torch.int64)
        groups = batch.groups.cpu()
        known = groups >= 0
        cells = classes[known] * self._num_groups + groups[known]
        self._confusion += torch.bincount(cells, minlength=self._confusion.numel()).view_as(
            self._confusion
        )

    def update_fake(self, batch: Batch) -> None:
        """Counts some generated samples by class."""
        assert batch.probabilities is not None
        classes, bad = self._classes(batch)
        self._bad_fake += bad
        counts = torch.bincount(classes, minlength=batch.probabilities.shape[1])
        self._fake = counts if self._fake is None else self._fake + counts

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._bad_fake = 0
        self._fake = None

    def compute(self) -> dict[str, Any]:
        """Returns the shares and the classifier's accuracy.

        Raises:
            UserError: There is no generated sample, no real sample of any group, or NaN or infinity
                among the probabilities.
        """
        confusion = self._confusion
        known = 0 if confusion is None else int(confusion.sum())
        check_count(self.name, "real", known, 1)
        total = 0 if self._fake is None else int(self._fake.sum())
        check_count(self.name, "generated", total, 1)
        check_finite(self.name, "real", self._bad_real, int(self._real.sum()))
        check_finite(self.name, "generated", self._bad_fake, total)
        assert confusion is not None
        assert self._fake is not None
        stands_for = majority_groups(confusion)
        slots = torch.where(stands_for < 0, self._num_groups, stands_for)
        fake = torch.zeros(self._num_groups + 1, dtype=torch.int64)
        result = self._shares(fake.index_add_(0, slots, self._fake))
        for number, name in enumerate(self.context.group_names):
            seen = int(confusion[stands_for == number].sum())
            result["groups"][name]["occurrence_real_seen"] = seen / known
            members = int(confusion[:, number].sum())
            if members:
                right = int(confusion[stands_for == number, number].sum())
                result["groups"][name]["classifier_accuracy"] = right / members
        return result

    def _classes(self, batch: Batch) -> tuple[Tensor, int]:
        """Returns the most probable class of each sample, and how many are not finite."""
        assert batch.probabilities is not None
        return batch.probabilities.argmax(dim=1).cpu(), count_bad(batch.probabilities)
