"""Rare or broken: a verdict on each sample, and the sentence that gives the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from diagan_plugin.rarity.looking import Seen
from diagan_plugin.rarity.neighbours import LabelDoubt, doubt_labels
from diagan_plugin.report.diagnosis import LIKELY
from gan_registry.formatting import format_cell, percent

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

NOTHING, RARE, BROKEN, MISLABELLED = map(LIKELY.index, ("", "rare", "broken", "mislabelled"))

TAIL = 0.1
"""Share of the samples, those of the highest scores, that counts as under-represented."""

MIN_PERSISTENCE = 0.8
"""Share of the records in which a rare sample is above the middle of the data."""

_RARE_SD = 2.0
"""A rare sample's score, in robust standard deviations above the middle, is at least this."""

_NOISE_SD, _NOISE_PART = 3.0, 0.5
"""Noise: coherence so many robust deviations below the middle of the data, in Fisher's z, and at
most this part of it."""

_FAR_SD, _FAR_TIMES = 5.0, 1.5
"""Isolated: distance to the neighbours so many deviations above the middle of the data, as a
logarithm, and at least so many times that. The deviation is that of a normal distribution with the
same upper tenth: distances are skewed, most of all in few dimensions."""

_BEYOND = 1000
"""So many times as far as is usual is no number any more."""

_MOST_BROKEN = 0.05
"""What holds for a larger share than this is how the data are, no defect."""

_OWN, _OTHER, _AGREEMENT = 0.15, 0.7, 0.8
"""Mislabelled: its own label's probability is at most, the other's at least, this much, where the
features know at least this share of all labels."""


@dataclass(frozen=True)
class Judged:
    """The verdicts on M samples that were looked at, with what they rest on; each array is [M].

    Attributes:
        likely: Number of the verdict in `LIKELY`, int8.
        oddness: By how many robust standard deviations a sample is less coherent, or further from
            its neighbours, than the middle of the data: what orders broken ones. Infinite of images
            of one colour.
        coherence: Correlation of neighbouring pixels, at the size at which it is odder; NaN where
            there is none.
        usual: That of the middle of the data at that size.
        far: Distance to the neighbours, in that of the middle of the data.
        place: Share of the samples with a lower score; NaN without a score.
        persistence: Share of the records in which it is above the middle of the data.
        noisy: Whether it was found broken for its coherence.
        flat: Whether it is an image of one colour.
        labels: What speaks against its label; None where there is none to doubt.
    """

    likely: Bytes
    oddness: Floats
    coherence: Floats
    usual: Floats
    far: Floats
    place: Floats
    persistence: Floats
    noisy: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    labels: LabelDoubt | None

    @property
    def judged_labels(self) -> bool:
        """Whether the features know the labels well enough to doubt one."""
        return self.labels is not None and self.labels.agreement >= _AGREEMENT


def judge(
    seen: Seen,
    points: Floats,
    neighbours: tuple[Floats, Integers],
    score: Floats,
    persistence: Floats,
    threshold: float,
    labels: Integers | None = None,
) -> Judged:
    """Judges M samples.

    Args:
        seen: What was measured of them.
        points: Their features in few dimensions, [M, D].
        neighbours: What :func:`~diagan_plugin.rarity.neighbours.nearest` returns of the points.
        score: Their scores, NaN where there is none, [M].
        persistence: See :func:`persistence_of`, [M].
        threshold: The score from which on a sample belongs to the under-represented `TAIL`.
        labels: Their labels, [M]; None where all are alike.
    """
    usual = np.array([_median(column) for column in seen.coherence.T])
    fisher = np.arctanh(np.clip(seen.coherence, -0.999, 0.999))
    less = np.stack([-_deviations(column) for column in fisher.T], 1)
    unlike = (less >= _NOISE_SD) & (seen.coherence <= _NOISE_PART * usual)
    scale = np.nan_to_num(less, nan=-np.inf).argmax(1)
    far = neighbours[0].mean(1)
    far = far / max(float(np.median(far)), 1e-12)
    further = np.log(np.maximum(far, 1e-12))
    further /= max(float(np.quantile(further, 0.9)) / norm.ppf(0.9), 1e-12)
    noisy = _few(np.asarray(unlike.any(1)))
    isolated = _few((further >= _FAR_SD) & (far >= _FAR_TIMES))
    flat = _few(seen.flat)
    broken = noisy | isolated | flat
    likely = np.full(len(score), NOTHING, np.int8)
    high = (score >= threshold) & (_deviations(score) >= _RARE_SD)
    likely[high & (persistence >= MIN_PERSISTENCE)] = RARE
    doubt = None
    if labels is not None and len(np.unique(labels)) > 1:
        doubt = doubt_labels(points, labels, neighbours)
        if doubt.agreement >= _AGREEMENT:
            likely[(doubt.own <= _OWN) & (doubt.likeliest >= _OTHER)] = MISLABELLED
    likely[broken] = BROKEN
    rows = np.arange(len(score))
    return Judged(
        likely=likely,
        oddness=np.where(flat, np.inf, np.fmax(less[rows, scale], further)),
        coherence=seen.coherence[rows, scale],
        usual=usual[scale],
        far=far,
        place=_places(score),
        persistence=persistence,
        noisy=noisy,
        flat=flat,
        labels=doubt,
    )


def persistence_of(
    indices: Integers,
    ldrm: Floats,
    ldrv: Floats,
    history: NDArray[np.float32],
    history_indices: Integers,
) -> Floats:
    """Returns in which share of the records samples lie above the middle of the data, [M].

    Of those that the history follows it is counted, over the whole training. Of the others it
    follows from mean and variance over the window, as if the records were normally distributed.

    Args:
        indices: The samples, dataset indices [M].
        ldrm: Mean log-density ratio of all training samples, [N].
        ldrv: Its variance, [N].
        history: Log-density ratios of a subset, [R, S].
        history_indices: Dataset indices of the subset, [S].
    """
    above = ldrm[indices] - _median(ldrm)
    spread = np.sqrt(np.maximum(np.nan_to_num(ldrv[indices]), 1e-24))
    shares = np.where(np.isfinite(above), norm.cdf(above / spread), np.nan)
    if history.shape[0] >= 5 and history_indices.size:
        followed = np.isin(indices, history_indices)
        order = np.argsort(history_indices)
        columns = order[np.searchsorted(history_indices[order], indices[followed])]
        with np.errstate(invalid="ignore"):
            middle = np.array([_median(row) for row in history])[:, None]
            shares[followed] = (history[:, columns] > middle).mean(0)
    return shares


def sentence(
    judged: Judged, row: int, label_names: Sequence[str] = (), label: int | None = None
) -> str:
    """Says why a sample, by its row among those looked at, has its verdict; "" if it has none."""
    verdict = int(judged.likely[row])
    times = float(judged.far[row])  # beyond all measure where most samples are copies
    far = f"{times:.1f} times" if times < _BEYOND else f"over {_BEYOND:,} times"
    far += " as far as is usual"
    if verdict == RARE:
        share = percent(float(judged.persistence[row]))
        return (
            f"Missed in {share} of the records, and no sign of a defect: its nearest neighbours "
            f"are {far}."
        )
    if verdict == MISLABELLED:
        assert judged.labels is not None
        other = _name(int(judged.labels.other[row]), label_names)
        own = "Labelled otherwise" if label is None else f"Labelled “{_name(label, label_names)}”"
        return (
            f"{own}, but it looks like “{other}”: so do {judged.labels.votes[row]} of its nearest "
            "neighbours."
        )
    if verdict != BROKEN:
        return ""
    where = _where(float(judged.place[row]))
    if judged.flat[row]:
        return f"A single colour.{where}"
    if judged.noisy[row]:
        here, usual = (format_cell(x[row], ".2f") for x in (judged.coherence, judged.usual))
        return (
            f"Looks like noise: the correlation of neighbouring pixels is {here}, and "
            f"{usual} in the middle of the data.{where}"
        )
    return f"Nothing in the data looks like it: its nearest neighbours are {far}.{where}"


def _where(place: float) -> str:
    if place <= 0.05:
        return f" Its score is among the lowest {percent(max(place, 0.01))}."
    if place >= 0.95:
        return f" Its score is among the highest {percent(max(1 - place, 0.01))}."
    return ""


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if 0 <= number < len(names) else f"class {number}"


def _few(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return found if found.mean() <= _MOST_BROKEN else np.zeros_like(found)


def _median(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _deviations(values: Floats) -> Floats:
    """Returns robust standard deviations above the median; all are 0 where most are alike."""
    centred = values - _median(values)
    spread = 1.4826 * _median(np.abs(centred))
    deviations: Floats = centred / spread if spread > 0 else np.where(np.isnan(centred), np.nan, 0)
    return deviations


def _places(score: Floats) -> Floats:
    known = np.isfinite(score)
    places = np.full(len(score), np.nan)
    ordered = np.sort(score[known])
    places[known] = np.searchsorted(ordered, score[known]) / max(ordered.size, 1)
    return places
