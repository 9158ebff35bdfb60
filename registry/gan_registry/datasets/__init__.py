"""Datasets, chosen by name (`DATA.name`)."""

from __future__ import annotations

BUILTIN = {
    "colored_digits": "gan_registry.datasets.colored_digits:build_colored_digits",
    "colored_mnist": "gan_registry.datasets.colored_mnist:build_colored_mnist",
    "gaussian": "gan_registry.datasets.gaussian:build_gaussian",
    "gmm25": "gan_registry.datasets.mixtures:build_gmm25",
}
