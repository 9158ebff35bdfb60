"""The options of instance selection."""

from __future__ import annotations

import argparse

from diagan_plugin.flags import at_least, share
from diagan_plugin.remedies.arguments import argument_group
from gan_registry.config.trust import feature_choice

NAME = "instance_selection"
DENSITIES = ("gaussian", "knn")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--instance-selection-…`."""
    add = argument_group(
        parser, NAME, "Instance selection",
        "train on the densest part of the data (--sampler instance_selection)",
    )  # fmt: skip
    add("--instance-selection-share", "share", type=share, default=0.5, metavar="SHARE",
        help="share of the samples that is kept")  # fmt: skip
    add("--instance-selection-within", "within", choices=("class", "all"), default="class",
        help="keep that share of each class, or of all samples together")  # fmt: skip
    add("--instance-selection-density", "density", choices=DENSITIES, default="gaussian",
        help="how density is measured")  # fmt: skip
    add("--instance-selection-k", "k", type=at_least(int, 1), default=5, metavar="K",
        help="which neighbour's distance counts, with knn")  # fmt: skip
    add("--instance-selection-features", "features", type=feature_choice, default="auto",
        metavar="NAME|FILE",
        help="the space: a feature extractor or a TorchScript file")  # fmt: skip
