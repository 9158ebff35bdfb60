"""The options of instance selection."""

from __future__ import annotations

import argparse

from diagan_plugin.flags import at_least, share

NAME = "instance_selection"
DENSITIES = ("gaussian", "knn")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--instance-selection-…`."""
    group = parser.add_argument_group(
        "Instance selection", "train on the densest part of the data (--sampler "
        "instance_selection)",
    )  # fmt: skip
    group.add_argument(
        "--instance-selection-share", dest=f"{NAME}.share", type=share, default=0.5,
        metavar="SHARE", help="share of the samples that is kept",
    )  # fmt: skip
    group.add_argument(
        "--instance-selection-within", dest=f"{NAME}.within", choices=("class", "all"),
        default="class", help="keep that share of each class, or of all samples together",
    )  # fmt: skip
    group.add_argument(
        "--instance-selection-density", dest=f"{NAME}.density", choices=DENSITIES,
        default="gaussian", help="how density is measured",
    )  # fmt: skip
    group.add_argument(
        "--instance-selection-k", dest=f"{NAME}.k", type=at_least(int, 1), default=5,
        metavar="K", help="which neighbour's distance counts, with knn",
    )  # fmt: skip
    group.add_argument(
        "--instance-selection-features", dest=f"{NAME}.features", type=str, default="auto",
        metavar="NAME|FILE", help="the space: a feature extractor or a TorchScript file",
    )  # fmt: skip
