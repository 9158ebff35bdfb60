"""What can be found about groups and single samples, and from which size on it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.01
"""Chance of any false finding that is put up with, over all groups together."""

MIN_EFFECT = 0.2
"""Smallest difference in mean score that counts, in standard deviations (Cohen's "small")."""

MIN_SHORTFALL = 0.2
"""Smallest relative gap between generated and true share that counts: below 80 % of it."""

NEARLY_MISSING = 0.05
"""A group made at no more than this part of its share is called nearly missing."""

MUCH_UNRECOGNISED = 0.1
"""From this share on, generated samples that belong to no group are worth a sentence."""

MOSTLY_UNRECOGNISED = 0.5
"""From this share on, what belongs to no group comes before what is said of the groups."""

MIN_RELIABILITY = 0.5
"""Without groups: how much of the spread between samples must be more than recording noise."""

OUTLIER_SD = 3.0
MIN_OUTLIER_SHARE = 0.005
"""Without groups: samples this many robust standard deviations above the median stand out, if at
least this share of all does (of a normal distribution 0.13 % would)."""

DRAWN_CHANGE = 0.05
"""Smallest relative gap between a group's shares among the draws and of the data that counts."""

MIN_RECOGNISED = 0.8
"""A classifier that knows less than this part of a group's real samples can't count the group."""

ShareState = Literal["missing", "nearly missing", "too rare", "fitting", "too often"]
SHORT: tuple[ShareState, ...] = ("missing", "nearly missing", "too rare")


@dataclass(frozen=True)
class GroupFinding:
    """What is known about one group.

    Attributes:
        group: Its number.
        name: Its name.
        size: Its training samples with a score.
        share_data: Its share of the training samples, those of no known group among them.
        mean_score: Mean score of its samples.
        rest_score: Mean score of all others.
        effect: Their difference in pooled standard deviations.
        p_value: Chance that shuffled groups would put any group so far above its rest.
        stands_out: The score is above the rest beyond chance and by at least `MIN_EFFECT`.
        generated: Kind of samples ("" plain, else a post-processor) → share of all generated
            samples.
        states: Kind of samples → how its share among the generated samples that belong to any
            group compares with the data.
        share_drawn: Share among the draws of phase 2, None if nothing was weighted.
        interval: 95 % confidence interval of the plain share, None if it is not known.
        before: Its plain share when phase 1 ended, None if it was not measured.
        state_before: How that compared with the data.
        change: Whether the plain share clearly rose since (1) or fell (-1); else 0, as if unknown.
        recognised: Part of its real samples that the classifier behind the shares knows; 1 where
            the data's own rule tells the groups apart.
    """

    group: int
    name: str
    size: int
    share_data: float
    mean_score: float
    rest_score: float
    effect: float
    p_value: float
    stands_out: bool
    generated: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, ShareState] = field(default_factory=dict)
    share_drawn: float | None = None
    interval: tuple[float, float] | None = None
    before: float | None = None
    state_before: ShareState | None = None
    change: int = 0
    recognised: float = 1.0

    @property
    def state(self) -> ShareState | None:
        """How its share in what the generator makes, uncorrected, compares; None if not known."""
        return self.states.get("")

    @property
    def is_short(self) -> bool:
        """Whether the generator, uncorrected, makes too few."""
        return self.state in SHORT

    @property
    def was_short(self) -> bool:
        """Whether the generator made too few when phase 1 ended."""
        return self.state_before in SHORT

    @property
    def is_flagged(self) -> bool:
        """Whether it was found under-represented, by either kind of evidence."""
        return self.is_short or self.stands_out

    @property
    def was_favoured(self) -> bool:
        """Whether the weights made it clearly more frequent among the draws."""
        drawn = self.share_drawn
        return drawn is not None and drawn >= (1.0 + DRAWN_CHANGE) * self.share_data

    @property
    def was_displaced(self) -> bool:
        """Whether the weights favoured others at its expense: its score is not above the rest."""
        drawn = self.share_drawn
        less = drawn is not None and drawn <= (1.0 - DRAWN_CHANGE) * self.share_data
        return less and not self.stands_out


@dataclass(frozen=True)
class GroupDiagnosis:
    """The findings for all groups, highest score first.

    Attributes:
        findings: One for each group that has samples with a score.
        permutations: Number of shuffles behind the p-values.
        recognised: Kind of samples → share of the generated samples that belong to any group.
        by_classifier: Whether a classifier counted, and not the data's own rule.
    """

    findings: tuple[GroupFinding, ...]
    permutations: int
    recognised: Mapping[str, float] = field(default_factory=dict)
    by_classifier: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether shares among the generator's own samples are known."""
        return "" in self.recognised

    @property
    def uncounted(self) -> tuple[GroupFinding, ...]:
        """Groups that the classifier which counted the others knows too badly."""
        return tuple(f for f in self.findings if self.is_measured and f.state is None)

    @property
    def standing_out(self) -> tuple[GroupFinding, ...]:
        """Groups whose score is clearly above the rest, highest effect first."""
        return tuple(finding for finding in self.findings if finding.stands_out)

    @property
    def short(self) -> tuple[GroupFinding, ...]:
        """Groups of which the generator makes too few, those that fare worst first."""
        short = [finding for finding in self.findings if finding.is_short]
        return tuple(sorted(short, key=lambda f: (f.generated[""] / f.share_data, f.group)))

    @property
    def overdone(self) -> tuple[GroupFinding, ...]:
        """Groups with a score above the rest of which the generator makes too many."""
        return tuple(finding for finding in self.standing_out if finding.state == "too often")

    @property
    def unrecognised(self) -> float:
        """Share of the plain generated samples that belong to no group; 0 if it is not known."""
        return 1.0 - self.recognised.get("", 1.0)

    @property
    def negligible(self) -> GroupFinding | None:
        """The largest difference in score that is beyond chance, if none is large enough."""
        significant = [finding for finding in self.findings if finding.p_value <= ALPHA]
        return max(significant, key=lambda finding: finding.effect, default=None)

    def shuffles_beyond(self, findings: Sequence[GroupFinding]) -> int:
        """Returns how many shuffles gave such a difference as the least sure of these groups."""
        worst = max(finding.p_value for finding in findings)
        return max(round(worst * (self.permutations + 1)) - 1, 0)


@dataclass(frozen=True)
class SampleDiagnosis:
    """The finding where no groups are known.

    Attributes:
        indices: Samples that stand out, highest score first; empty if none does beyond noise.
        num_samples: Number of samples with a score.
        reliability: Share of the variance between samples' LDRM that is not recording noise.
    """

    indices: NDArray[np.int64]
    num_samples: int
    reliability: float


def are_undone(findings: Sequence[GroupFinding]) -> bool:
    """Whether some correction brings all of these groups back to their share."""
    kinds = [kind for kind in findings[0].states if kind]
    return any(all(f.states[kind] == "fitting" for f in findings) for kind in kinds)
