"""What the terms of the report mean, and how this run's diagnosis was recorded."""

from __future__ import annotations

from typing import Any

from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.report.document import Block, Facts, Text

_TERMS = """\
A GAN is two networks. The generator makes samples; the discriminator sees real and generated \
samples and says how much more common each is among the real ones. Its answer, on a logarithmic \
scale, is the log-density ratio (LDR): 0 means equally common, above 0 the generator makes such \
samples too rarely, below 0 too often.

A single answer is noisy, so it is recorded many times during training. LDRM is the mean of a \
sample's records: high where the generator misses part of the data. LDRV is their variance: high \
where the generator wavers, typically for rare kinds of samples.

The discrepancy score is LDRM + k × √LDRV. Only comparisons count: a discriminator that knows the \
training data by heart rates all of it above 0.

Dia trains in phases. In phase 1 it trains as usual and records. In phase 2 it draws samples with \
a high score more often. Finally, a correction may reject some generated samples, so that the \
result follows the data again instead of the weighted draws."""

_SURROGATE = (
    "The loss of this run gives no true log-density ratio; the discriminator's raw output takes "
    "its place. Rankings remain useful, absolute values and the sign mean little."
)

_FACTS = {
    "k": "k",
    "records": "Records of each sample",
    "window": "Records that count, at most",
    "record": "Recording",
    "logits": "Discriminator mode",
}


def explanation_blocks(diagnosis: Diagnosis) -> list[Block]:
    """Explains the terms, and lists how the diagnosis was recorded."""
    metadata = diagnosis.metadata
    blocks: list[Block] = [Text(_TERMS)]
    if metadata.get("is_density_ratio") == "False":
        blocks.insert(0, Text(_SURROGATE, "note"))
    facts: list[tuple[str, Any]] = [(_FACTS[k], metadata[k]) for k in _FACTS if k in metadata]
    if diagnosis.first_step is not None and diagnosis.last_step is not None:
        facts.append(("Recorded steps", f"{diagnosis.first_step:,} – {diagnosis.last_step:,}"))
    unseen = int((diagnosis.count == 0).sum())
    if unseen:
        facts.append(("Samples without a record", unseen))
    if facts:
        blocks.append(Facts(tuple(facts)))
    return blocks
