"""What the report says of clusters and of the list of broken samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from diagan_plugin.rarity.closer import BROKEN_FILE, CloserLook
from diagan_plugin.rarity.clusters import Cluster, Factor
from diagan_plugin.rarity.verdicts import BROKEN, MISLABELLED, RARE
from gan_registry.formatting import percent

RARITY_TITLE = "Rare or broken?"
CLUSTERS_TITLE = "Groups without labels"

NO_CLUSTERS = (
    "No cluster of under-represented samples stands out in feature space, beyond chance and by an "
    "amount that matters: what the generator misses is spread over the data, or is too few samples "
    "to tell."
)
CLUSTERS_TEXT = (
    "Under-represented samples that look alike, found among one half of the data; score, test and "
    "factor are those of the other half, so that no cluster is found by its own luck. The first "
    "factor is the discriminator's opinion, the second one was measured: the cluster's share of "
    "the data over its share of generated samples, by the nearest cluster. Intervals hold for "
    "95\xa0%."
)


def summary(found: CloserLook) -> str:
    """Says how many samples of which kind there are, and how many were looked at."""
    counts = {verdict: found.rows_of(verdict).size for verdict in (RARE, BROKEN, MISLABELLED)}
    looked = (
        f"Of {found.num_samples:,} training samples"
        if found.indices.size == found.num_samples
        else f"Of {found.indices.size:,} training samples that were looked at (both ends of the "
        f"score, and a random part of all {found.num_samples:,})"
    )
    text = (
        f"{looked}, {counts[RARE]:,} are likely rare but sound (a high score throughout, and no "
        f"sign of a defect) and {counts[BROKEN]:,} likely broken"
    )
    labels = found.judged.labels
    if labels is None:
        return f"{text}."
    if not found.judged.judged_labels:
        return (
            f"{text}. Labels were not judged: in these features only {percent(labels.agreement)} "
            "of the samples look like their label. Either the features do not tell the labels "
            "apart, and a pretrained network tells more (RUN.eval_features), or so many labels are "
            "wrong."
        )
    return f"{text}; {counts[MISLABELLED]:,} look like another label than their own."


def exclude_hint(listed: int) -> str:
    """Says where the list of broken samples lies, and what takes it."""
    return (
        f"The {listed:,} samples that are likely broken or mislabelled are listed in {BROKEN_FILE} "
        "in this run's folder. Look at them first; then --dia-exclude FILE, added to the command "
        "of a new run, keeps them out of the emphasis."
    )


def cluster_sentence(found: CloserLook, cluster: Cluster, group: str = "") -> str:
    """Says how much too rarely samples like these are generated, by whom, and how sure that is."""
    size = round(cluster.share_data * found.num_samples)
    if found.indices.size == found.num_samples:
        size = len(cluster.rows)
    what = f"{size:,} samples like these ({percent(size / found.num_samples)} of the data{group})"
    rated = cluster.rated
    if rated is not None:
        opinion = f"are generated {_times(rated)} by the discriminator's scores"
        opinion += " of phase 1" if found.weighted else ""
    else:
        opinion = f"score {cluster.effect:.1f} standard deviations above the others"
    text = f"{what} {opinion}"
    if cluster.measured is None:
        return f"{text}; what is generated was not measured. p = {cluster.p_value:.2g}."
    fits = cluster.measured.low <= 1.0 <= cluster.measured.high
    verdict = ", which may be chance" if fits else ""
    if fits and not found.weighted and rated is not None and cluster.measured.high < rated.low:
        verdict += ": the discriminator's opinion is not borne out"
    if cluster.measured.high < 1.0:
        verdict = ": the discriminator's opinion is not borne out"
        if found.weighted:
            verdict = ": phase 2 has overdone it"
    when = " at the end" if found.weighted else ""
    return (
        f"{text}. Measured{when}, they are generated {_times(cluster.measured)}{verdict}. "
        f"p = {cluster.p_value:.2g}."
    )


def frequent(names: Sequence[str], groups: Sequence[int]) -> str:
    """Says which named group most samples of a cluster belong to, if most do."""
    known = np.asarray(groups)
    if not known.size or not len(names) or known.max() < 0:
        return ""
    counts = np.bincount(known[known >= 0], minlength=len(names))
    top = int(counts.argmax())
    share = counts[top] / known.size
    part = "all" if share == 1 else percent(share)
    return f"; {part} of them “{names[top]}”" if share >= 0.5 else ""


def _times(factor: Factor) -> str:
    if math.isinf(factor.value):
        if factor.low <= 1.0:  # too few samples of the data to expect one
            return "not once in what was looked at"
        return f"more than {_number(factor.low)} times too rarely"
    value, low, high, way = factor.value, factor.low, factor.high, "rarely"
    if value < 1:  # the same, read the other way around
        value, low, high, way = 1 / value, 1 / high, 1 / low if low else math.inf, "often"
    times = f"{_number(value)} times too {way}"
    about = "about as often as they occur" if _number(value) == "1.0" else f"about {times}"
    return f"{about} ({_number(low)} to {_number(high)} times too {way})"


def _number(value: float) -> str:
    if math.isinf(value):
        return "any number"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
