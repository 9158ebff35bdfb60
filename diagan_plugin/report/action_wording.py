"""What Dia did about the groups, in words: how often they were drawn, and what correction does."""

from __future__ import annotations

from collections.abc import Sequence

from diagan_plugin.report.decision import Decision
from diagan_plugin.report.findings import DRAWN_CHANGE, SHORT, GroupFinding
from diagan_plugin.report.naming import SHOWN, listing, names_of
from gan_registry.formatting import percent


def drawn_sentences(affected: Sequence[GroupFinding], decision: Decision) -> list[str]:
    """Says what Dia did about these groups: shares among the draws against shares of the data."""
    drawn = [f for f in affected if f.share_drawn is not None]
    more = [f for f in drawn if f.was_favoured]
    less = [f for f in drawn if f.was_displaced]
    # Where it is not known how often they were made before, others that gained are the reason.
    wrong = [
        f for f in less if f.is_short and (f.was_short or (f.state_before is None and not more))
    ]
    neither = [f for f in drawn if not (f.was_favoured or f.was_displaced)]
    told = names_of(less)
    in_return = [f for f in less if f not in wrong]
    in_return += [f for f in decision.drawn_less if f.name not in told]
    sentences = []
    if more:
        it = "it" if len(more) == 1 else "them"
        sentences.append(f"Dia showed {it} to the networks more often in phase 2: {_drawn(more)}.")
    if wrong:
        its = "its score is" if len(wrong) == 1 else "their scores are"
        sentences.append(
            f"For {listing(names_of(wrong))} Dia's weights went the wrong way, as {its} not above "
            f"the rest: {_drawn(wrong)}."
        )
    if in_return:
        sentences.append(f"Drawn less often in return: {_drawn(in_return)}.")
    if neither:
        sentences.append(
            f"Dia's weights did not favour {listing(names_of(neither))} by "
            f"{100 * DRAWN_CHANGE:g} % or more, so little was done about that."
        )
    return sentences


def correction_sentences(over: Sequence[GroupFinding]) -> list[str]:
    """Says what correction does about groups that the weights pushed beyond their share."""
    sentences = []
    for finding in over[:SHOWN]:
        after = {kind: state for kind, state in finding.states.items() if kind}
        fixed = [kind for kind, state in after.items() if state == "fitting"]
        under = [kind for kind, state in after.items() if state in SHORT]
        if fixed:
            effect = f"{' and '.join(fixed)} brings “{finding.name}” back to its share"
        elif under:
            effect = f"{' and '.join(under)} pushes “{finding.name}” below its share"
        elif after:
            effect = f"{' and '.join(after)} leaves “{finding.name}” above its share"
        else:
            sentences.append(f"“{finding.name}” is made too often because it was drawn so often.")
            continue
        sentences.append(f"Correction by {effect}.")
    return sentences


def _drawn(findings: Sequence[GroupFinding]) -> str:
    """Gives each group's share of the draws and of the data; the words once, then numbers alone."""
    parts: list[str] = []
    for f in findings[:SHOWN]:
        assert f.share_drawn is not None
        draws, data = (" of the draws", " of the data") if not parts else ("", "")
        parts.append(f"“{f.name}” {percent(f.share_drawn)}{draws}, {percent(f.share_data)}{data}")
    more = f"; and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
    return f"{'; '.join(parts)}{more}"
