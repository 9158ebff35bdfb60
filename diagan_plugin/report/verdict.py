"""Which groups, or which samples, are under-represented: only what exceeds chance and matters.

Two kinds of evidence are weighed. The *score* says what the discriminator found hard to see in the
generator's output while it was recorded; the *generated shares* say what the generator makes now.
A finding needs both significance (a test at `ALPHA`, corrected for the number of groups) and size:
with many samples a difference of no importance is significant too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.findings import (
    ALPHA,
    MIN_EFFECT,
    MIN_OUTLIER_SHARE,
    MIN_RECOGNISED,
    MIN_RELIABILITY,
    MIN_SHORTFALL,
    NEARLY_MISSING,
    OUTLIER_SD,
    GroupDiagnosis,
    GroupFinding,
    SampleDiagnosis,
    ShareState,
)
from diagan_plugin.report.groups import group_name
from diagan_plugin.report.permutation import max_permutation_p
from diagan_plugin.report.shares import (
    ACCURACY,
    CLASSIFIED,
    DRAWN,
    SEEN,
    generated_keys,
    group_share,
    kept_before,
    kind_of,
)

Floats = NDArray[np.float64]


def diagnose_result(
    diagnosis: Diagnosis,
    result: Mapping[str, Any],
    names: Sequence[str],
    seed: int,
    *,
    permutations: int = 2000,
) -> GroupDiagnosis | None:
    """Finds them from a diagnosis and `result.json` (`num_generated`, and the shares in `groups`).

    The shares when phase 1 ended are read from `kept`. See :func:`diagnose_groups`.
    """

    def shares(key: str, part: Mapping[str, Any] = result) -> list[float]:
        found = [group_share(part, name, key) for name in names]
        return [float("nan") if share is None else float(share) for share in found]

    keys = {kind_of(key): key for key in generated_keys(result, names)}
    return diagnose_groups(
        diagnosis.score,
        diagnosis.group,
        names=names,
        generated={kind: shares(key) for kind, key in keys.items()},
        num_generated=int(result.get("num_generated") or 10_000),
        drawn=shares(DRAWN),
        before=shares(keys[""], kept_before(result)) if "" in keys else None,
        seen=shares(SEEN) if keys.get("") == CLASSIFIED else None,
        accuracy=shares(ACCURACY) if keys.get("") == CLASSIFIED else None,
        seed=seed,
        permutations=permutations,
    )


def diagnose_groups(
    score: ArrayLike,
    groups: ArrayLike,
    *,
    names: Sequence[str] = (),
    generated: Mapping[str, ArrayLike] | None = None,
    num_generated: int = 10_000,
    drawn: ArrayLike | None = None,
    before: ArrayLike | None = None,
    seen: ArrayLike | None = None,
    accuracy: ArrayLike | None = None,
    seed: int = 0,
    permutations: int = 2000,
    alpha: float = ALPHA,
    min_effect: float = MIN_EFFECT,
) -> GroupDiagnosis | None:
    """Finds the groups that are under-represented beyond chance, and by an amount that matters.

    Args:
        score: Score [N] of each training sample; non-finite ones are left out.
        groups: Its group [N]; -1 (unknown) is left out.
        names: Names of groups 0, 1, ….
        generated: Kind of samples ("" plain, else a post-processor) → share of each group 0, 1, …
            among `num_generated` generated samples; what is left to 1 belongs to no group. NaN or
            a missing entry is a share that is not known.
        num_generated: Number of generated samples behind the shares.
        drawn: Share of each group among the draws of phase 2.
        before: Its plain share when phase 1 ended, among as many samples.
        seen: Where a classifier counted: the share of the real samples that it puts into each
            group, with which the generated share is compared.
        accuracy: And the part of the group's real samples that it knows. Below `MIN_RECOGNISED`
            a share is not judged.
        seed: Of the permutations.
        permutations: Number of them; the smallest p-value is 1 / (permutations + 1).
        alpha: Significance level, over all groups together.
        min_effect: Least difference in mean score, in pooled standard deviations.

    Returns:
        The findings, or None if fewer than two groups have scores: then there is nothing to
        compare.

    Raises:
        ValueError: The lengths differ.
    """
    values = np.asarray(score, np.float64).reshape(-1)
    numbers = np.asarray(groups, np.int64).reshape(-1)
    if values.size != numbers.size:
        raise ValueError(
            f"Argument `groups` must have {values.size} values like `score`, "
            f"but got {numbers.size}."
        )
    known_size, given = np.bincount(numbers[numbers >= 0]), numbers.size
    kept = np.isfinite(values) & (numbers >= 0)
    values, numbers = values[kept], numbers[kept]
    present, slot = np.unique(numbers, return_inverse=True)
    if present.size < 2:
        return None
    size = np.bincount(slot).astype(np.float64)
    mean, rest, effect = _effects(values, slot, size)
    p_values = max_permutation_p(values, slot, seed, permutations)
    share_data = known_size[present] / given
    # Generated samples of no group are left out of a comparison, hence those of the data are, too.
    of_known = known_size[present] / known_size.sum()
    reference, recognised_real = of_known, np.ones(present.size)
    if seen is not None:
        of_real = _pick(seen, present)
        # Where a classifier does not say it, the data themselves.
        reference = np.where(np.isfinite(of_real), of_real, of_known)
    if accuracy is not None:
        recognised_real = np.nan_to_num(_pick(accuracy, present), nan=0.0)
    picked = {kind: _pick(given, present) for kind, given in (generated or {}).items()}
    shares = {kind: share for kind, share in picked.items() if np.isfinite(share).all()}
    recognised = {kind: float(share.sum()) for kind, share in shares.items()}
    earlier = _pick(() if before is None else before, present)
    was_measured = bool(np.isfinite(earlier).all())

    def state_of(i: int, share: Floats) -> ShareState:
        return share_state(
            reference[i],
            round(float(share[i]) * num_generated),
            round(float(share.sum()) * num_generated) or num_generated,
            alpha=alpha / present.size,
        )

    drawn_share = _pick(() if drawn is None else drawn, present)
    findings = []
    for i, group in enumerate(present.tolist()):
        judged = recognised_real[i] >= MIN_RECOGNISED
        findings.append(
            GroupFinding(
                group=group,
                name=group_name(group, names),
                size=int(size[i]),
                share_data=float(share_data[i]),
                mean_score=float(mean[i]),
                rest_score=float(rest[i]),
                effect=float(effect[i]),
                p_value=float(p_values[i]),
                stands_out=bool(p_values[i] <= alpha and effect[i] >= min_effect),
                generated={kind: float(share[i]) for kind, share in shares.items()},
                states={k: state_of(i, share) for k, share in shares.items() if judged},
                share_drawn=float(drawn_share[i]) if np.isfinite(drawn_share[i]) else None,
                interval=(
                    share_interval(float(shares[""][i]), num_generated) if "" in shares else None
                ),
                before=float(earlier[i]) if was_measured else None,
                state_before=state_of(i, earlier) if was_measured and judged else None,
                change=(
                    share_change(
                        float(earlier[i]),
                        float(shares[""][i]),
                        num_generated,
                        alpha=alpha / present.size,
                    )
                    if was_measured and "" in shares
                    else 0
                ),
                recognised=float(recognised_real[i]),
            )
        )
    findings.sort(key=lambda finding: (-finding.effect, finding.group))
    return GroupDiagnosis(tuple(findings), permutations, recognised, seen is not None)


def share_interval(share: float, total: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share of `total` samples."""
    p, z = round(share * total) / total, stats.norm.ppf(0.975)
    scale = 1 + z**2 / total
    middle = (p + z**2 / (2 * total)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    low, high = 0.0 if p == 0 else middle - half, 1.0 if p == 1 else middle + half
    return float(low), float(high)


def share_change(before: float, after: float, total: int, *, alpha: float = ALPHA) -> int:
    """Says whether a share of `total` samples rose (1) or fell (-1) beyond chance, else 0.

    Given how many of both sets of samples belong to the group, half of these are of the second set
    but for chance: an exact binomial test at the level `alpha`, two-sided.
    """
    first, second = round(before * total), round(after * total)
    if first == second or stats.binomtest(second, first + second, 0.5).pvalue > alpha:
        return 0
    return 1 if second > first else -1


def share_state(share_data: float, count: int, total: int, *, alpha: float = ALPHA) -> ShareState:
    """Compares how often a group was generated with its share of the data.

    `count` of the `total` generated samples of any group belong to it; `alpha` is the level of the
    two one-sided binomial tests.

    Returns:
        "fitting" unless the difference is both beyond chance and larger than `MIN_SHORTFALL`.
    """
    ratio = count / (total * share_data)
    if ratio <= 1.0 - MIN_SHORTFALL and stats.binom.cdf(count, total, share_data) <= alpha:
        if count == 0:
            return "missing"
        return "nearly missing" if ratio <= NEARLY_MISSING else "too rare"
    too_often = ratio >= 1.0 / (1.0 - MIN_SHORTFALL)
    if too_often and stats.binom.sf(count - 1, total, share_data) <= alpha:
        return "too often"
    return "fitting"


def diagnose_samples(
    score: ArrayLike, ldrm: ArrayLike, ldrv: ArrayLike, count: ArrayLike, *, alpha: float = ALPHA
) -> SampleDiagnosis:
    """Finds single samples that stand out, where no groups are known; all arguments are [N].

    The spread of LDRM between samples has to be more than the noise of the records makes (noise
    alone gives a variance of LDRV / count), and more samples have to lie far above the median score
    than a normal distribution has in its tail, by a test at the level `alpha`.
    """
    s, m, v, c = (np.asarray(a, np.float64).reshape(-1) for a in (score, ldrm, ldrv, count))
    usable = np.isfinite(s) & np.isfinite(m) & np.isfinite(v) & (c >= 2)
    none = np.zeros(0, dtype=np.int64)
    total = int(usable.sum())
    spread = float(np.var(m[usable], ddof=1)) if total >= 2 else 0.0
    if spread <= 0.0:
        return SampleDiagnosis(none, total, 0.0)
    noise = float(np.mean(v[usable] / c[usable]))
    reliability = max(0.0, 1.0 - noise / spread)
    centre = np.median(s[usable])
    deviation = stats.median_abs_deviation(s[usable], scale="normal")
    outliers = np.flatnonzero(usable & (s > centre + OUTLIER_SD * deviation))
    tail = stats.binom.sf(outliers.size - 1, total, stats.norm.sf(OUTLIER_SD))
    if (
        reliability < MIN_RELIABILITY
        or deviation <= 0.0
        or outliers.size < max(2.0, MIN_OUTLIER_SHARE * total)
        or tail > alpha
    ):
        return SampleDiagnosis(none, total, reliability)
    return SampleDiagnosis(outliers[np.argsort(-s[outliers], kind="stable")], total, reliability)


def _effects(values: Floats, slot: NDArray[np.int64], size: Floats) -> tuple[Floats, ...]:
    """Returns mean, mean of the rest and standardised difference of each group."""
    total = values.size
    centred = values - values.mean()
    sums = np.bincount(slot, weights=centred)
    mean, rest = sums / size, -sums / (total - size)
    difference = mean - rest
    # The two-sample decomposition: within = total − between, for each group against its rest.
    within = np.square(centred).sum() - size * (total - size) / total * np.square(difference)
    deviation = np.sqrt(np.maximum(within, 0.0) / max(total - 2, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.where(difference == 0.0, 0.0, difference / deviation)
    return mean + values.mean(), rest + values.mean(), effect


def _pick(shares: ArrayLike, groups: NDArray[np.int64]) -> Floats:
    """Returns the shares of some groups, NaN where none is given."""
    given = np.asarray(shares, np.float64).reshape(-1)
    padded = np.full(max(given.size, int(groups.max()) + 1), np.nan)
    padded[: given.size] = given
    picked: Floats = padded[groups]
    return picked
