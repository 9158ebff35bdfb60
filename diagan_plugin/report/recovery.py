"""LDRM against what is generated of each group: do high values tell which modes are missing?

Lee et al. (2021, section 3.3 and figure 2b) compare the distribution of LDRM in each mode of a
mixture with the number of high-quality samples there among 10,000 generated ones: modes with few
tend to have a high LDRM. For mixtures the samples classified into a mode are just those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from diagan_plugin.report import charts
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.shares import GENERATED, group_share
from gan_registry.report.document import Figure, Report, Text

MIN_GROUPS = 5
"""With fewer groups, points in a plane show nothing that the table of shares does not."""

TITLE = "LDRM and generated samples by group"
_ALT = "Scatter plot of the groups: generated samples, and the LDRM of the training samples."


def add_recovery(
    report: Report, names: Sequence[str], result: Mapping[str, Any], diagnosis: Diagnosis
) -> None:
    """Adds the chart, where enough groups have recorded samples and a share of the generated ones.

    Args:
        report: The document.
        names: Names of the groups.
        result: What `result.json` holds. Read are `num_generated` and each group's
            `share_generated`, of plain samples: the paper, too, compares without corrections.
        diagnosis: The statistics of every training sample.
    """
    generated = result.get("num_generated")
    if not isinstance(generated, int):
        return
    counts, members = [], []
    for group, name in enumerate(names):
        share = group_share(result, name, GENERATED)
        ldrm = diagnosis.ldrm[(diagnosis.group == group) & np.isfinite(diagnosis.ldrm)]
        if share is not None and ldrm.size:
            counts.append(round(share * generated))
            members.append(ldrm)
    if len(counts) < MIN_GROUPS:
        return
    chart = charts.recovery_scatter(counts, members)
    report.add_section(
        TITLE,
        Figure(chart, _caption(counts, members, generated), _ALT, width="half"),
        Text(
            "High LDRM and few samples: the discriminator finds there what the generator does not "
            "make. LDRM looks back over the records, while the samples are of the end of the "
            "training: a group that was recovered since lies high and far to the right."
        ),
        order=52,
        anchor="recovery",
    )


def _caption(counts: Sequence[int], members: Sequence[NDArray[Any]], generated: int) -> str:
    text = (
        f"Each group's LDRM (mean, and the middle half of its training samples) against its number "
        f"of {generated:,} generated samples."
    )
    means = [float(ldrm.mean()) for ldrm in members]
    if len(set(counts)) == 1 or len(set(means)) == 1:
        return text  # ranks say nothing about what is constant
    correlation = float(spearmanr(counts, means).statistic)
    return f"{text} Rank correlation of mean and number: {correlation:+.2f}."
