"""The report of a loop of one's own: its words, and no claim that is in doubt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from diagan_plugin.hosts.own_loop.wording import in_a_loop_s_words
from diagan_plugin.report.dia_sections import add_dia_sections
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.datasets.base import Dataset
from gan_registry.report.document import Block, Report, Text, Verdict


def loop_report(
    dataset: Dataset,
    result: Mapping[str, Any],
    diagnosis: Diagnosis,
    *,
    seed: int,
    warnings: Sequence[str] = (),
    inverted: bool = False,
    acted: bool = True,
) -> Report:
    """Makes the report of a loop.

    Args:
        dataset: The training data.
        result: As :func:`diagan_plugin.report.dia_sections.add_dia_sections` takes it.
        diagnosis: The statistics of every sample.
        seed: What the permutations of the test follow from.
        warnings: What makes it doubtful; shown first.
        inverted: Whether D was read the wrong way around: then nothing is concluded.
        acted: Whether the weights of phase 2 decided what was drawn.
    """
    if not acted:
        kept = {k: v for k, v in diagnosis.metadata.items() if k != "phase_boundary"}
        diagnosis = dataclasses.replace(diagnosis, metadata=kept)
        result = {name: value for name, value in result.items() if name != "weights"}
    draft = Report("Self-diagnosis of a GAN", f"{result['steps']} steps")
    add_dia_sections(draft, dataset, result, diagnosis, seed=seed)
    report = Report(draft.title, draft.subtitle)
    if warnings:
        doubts = [Text(text, "warning") for text in warnings]
        report.add_section("Before you read on", *doubts, order=5, anchor="doubts")
    for section in draft.sections:
        blocks: list[Block] = [_reworded(block) for block in section.blocks]
        if section.anchor == "verdict" and inverted:
            blocks = [_NOTHING]
        report.add_section(section.title, *blocks, order=section.order, anchor=section.anchor)
    return report


_NOTHING = Verdict(
    "Nothing can be concluded: the discriminator is read the wrong way around.",
    ("High and low scores below are exchanged; train again with the sign that is named above.",),
    "attention",
)


def _reworded(block: Block) -> Block:
    if isinstance(block, Verdict):
        sentences = tuple(map(in_a_loop_s_words, block.sentences))
        todo = tuple(map(in_a_loop_s_words, block.todo))
        return dataclasses.replace(block, sentences=sentences, todo=todo)
    if isinstance(block, Text):
        return dataclasses.replace(block, text=in_a_loop_s_words(block.text))
    return block
