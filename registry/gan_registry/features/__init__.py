"""Feature extractors, chosen by name or by file (`--features`, `RUN.eval_features`)."""

from __future__ import annotations

BUILTIN: dict[str, str] = {
    "classifier": "gan_registry.features.classifier:Classifier",
    "clean": "gan_registry.features.clean:Clean",
    "descriptor": "gan_registry.features.descriptor:Descriptor",
    "inception": "gan_registry.features.inception:Inception",
    "raw": "gan_registry.features.raw:Raw",
}
