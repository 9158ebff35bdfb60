"""Builds a run's parts from what StudioGAN builds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from diagan_plugin.hosts.kit.dataset import AbsentDataset
from diagan_plugin.hosts.kit.loader import HostOrder
from diagan_plugin.hosts.kit.settings import UNIFORM
from diagan_plugin.hosts.studiogan.batches import (
    Feed,
    Indexed,
    SideLoader,
    StreamSampler,
    check_basket,
)
from diagan_plugin.hosts.studiogan.dataset import StudioDataset
from diagan_plugin.hosts.studiogan.networks import HostBackbone
from diagan_plugin.hosts.studiogan.run import StudioRun


def build_training_loader(
    run: StudioRun, original: Callable[..., Any], keywords: dict[str, Any], position: int
) -> SideLoader:
    """Builds the dataset, the sampler and StudioGAN's loader of training batches.

    Args:
        run: The run, which receives `dataset`, `feed` and `sampler`.
        original: The DataLoader.
        keywords: Those that StudioGAN calls it with.
        position: Where the stream begins.

    Raises:
        UserError: The dataset is smaller than a basket.
    """
    dataset, basket = keywords["dataset"], int(keywords["batch_size"])
    data = run.config.DATA
    run.dataset = StudioDataset(data.name, dataset, int(data.num_classes))
    run.feed = Feed(len(dataset), basket, run.rank, run.world_size, position)
    keywords = {**keywords, "dataset": Indexed(dataset)}
    build_sampler(run)
    if isinstance(run.sampler, HostOrder):
        check_basket(len(dataset), basket, run.world_size)
    else:
        keywords.update(shuffle=False, sampler=StreamSampler(run.sampler, run.feed))
    return SideLoader(original(**keywords), run.feed)


def build_sampler(run: StudioRun) -> None:
    """Builds the sampler that the run names."""
    name = run.config.RUN.sampler
    if name == UNIFORM:
        run.sampler = HostOrder(len(run.dataset), "StudioGAN")
    else:
        run.sampler = run.plugins.catalogs.samplers[name](run)


def build_backbone(
    run: StudioRun,
    original: Callable[..., Any],
    keywords: Mapping[str, Any],
    built: Any,
    stylegan_generate: Callable[..., Any],
) -> None:
    """Gives the run StudioGAN's networks.

    Args:
        run: The run, which receives `backbone`.
        original: `models.model.load_generator_discriminator`.
        keywords: Those that StudioGAN calls it with.
        built: What it returned: G, its parts, D, and the moving average of G.
        stylegan_generate: `utils.sample.stylegan_generate_images`.
    """

    def build(kind: str) -> nn.Module:
        quiet = logging.getLogger(f"{__name__}.quiet")
        quiet.setLevel(logging.ERROR)
        networks = original(**{**keywords, "logger": quiet})
        network: nn.Module = networks[0 if kind == "generator" else 3]
        return network

    run.backbone = HostBackbone(run.config, built[0], built[3], built[4], stylegan_generate, build)


def build_absent_data(run: StudioRun, state: Mapping[str, Any]) -> None:
    """Stands in for the training data, for a command that only opens a checkpoint."""
    run.dataset = AbsentDataset(
        run.config.DATA.name, int(state["num_samples"]), state["fingerprint"]
    )
    run.feed = Feed(len(run.dataset), 1, 0, 1)
    build_sampler(run)
