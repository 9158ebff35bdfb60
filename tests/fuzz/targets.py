"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import (
    command_lines,
    configs,
    facade,
    files,
    models,
    tables,
    tensors,
    yaml_texts,
)

TARGETS = {
    target.name: target
    for module in (configs, command_lines, yaml_texts, files, models, tables, tensors, facade)
    for target in module.TARGETS
}
