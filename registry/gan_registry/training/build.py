"""Builds the parts of a run from its configuration, by the names in the catalogs."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_registry.backbones.base import Backbone
from gan_registry.catalogs import Catalog
from gan_registry.config.schema import Config
from gan_registry.config.trust import is_file
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.holdout import hold_out
from gan_registry.datasets.imbalance import thin
from gan_registry.errors import PluginError, UserError
from gan_registry.losses.base import Loss
from gan_registry.regularizers.lazy import lazy_adam
from gan_registry.samplers.base import IndexSampler
from gan_registry.seeding import derive_seed
from gan_registry.training.checkpoint import load_checkpoint
from gan_registry.training.discriminator_regularization import lazy_intervals
from gan_registry.training.ema import MovingAverage, ema_decay
from gan_registry.training.layout import lay_out
from gan_registry.training.regularization import Regularization
from gan_registry.training.run import Run
from gan_registry.training.stream import BatchStream


class NoDataError(UserError):
    """The data could not be opened: they are missing, or cannot be read."""


def build_all(run: Run, state: Mapping[str, Any] | None) -> None:
    """Builds a run's parts after `gan_build`; continues from the state of a checkpoint, if given.

    Raises:
        UserError: The configuration cannot work, or the state does not fit it.
    """
    build_data(run)
    build_networks(run)
    build_optimizers(run)
    if state is not None:
        load_checkpoint(run, state)


def data_folder(config: Config) -> Path | None:
    """Returns where a configuration's data lie, with ~ as the user's home; None if nowhere."""
    return Path(os.path.expanduser(config.DATA.path)) if config.DATA.path else None


def build_data(run: Run) -> None:
    """Builds the dataset, the sampler and the stream of batches.

    Raises:
        NoDataError: There are no data to open.
        UserError: The data does not fit the configuration.
    """
    config = run.config
    dataset_factory = look_up_all(run)
    data_dir = data_folder(config)
    try:
        run.dataset = dataset_factory(config, data_dir)
    except PluginError:
        raise
    except UserError as error:
        # A message that names another key than the data's place is about a mistake.
        if re.search(r"\bDATA\.(?!path\b)", str(error)):
            raise
        raise NoDataError(str(error)) from error
    if config.DATA.minority:
        # Not by the run's seed: runs of several seeds are to see the same data.
        run.dataset = thin(run.dataset, config.DATA.minority)
    if data_dir is not None and not data_dir.exists():
        raise UserError(f"DATA.path (--data) is {data_dir}, which does not exist.")
    if config.DATA.num_classes not in (0, run.dataset.num_classes):
        raise UserError(
            f"DATA.num_classes = {config.DATA.num_classes}, but the dataset {config.DATA.name!r} "
            f"has {run.dataset.num_classes}; leave the key out."
        )
    if "overfit" in config.RUN.stop_on and not config.DATA.holdout:
        raise UserError(
            "RUN.stop_on (--stop-on) overfit needs data that are held out, and a plugin that looks "
            "at them; add --set DATA.holdout=0.1, and switch such a plugin on."
        )
    if config.DATA.holdout:
        seed = derive_seed(run.seed, "holdout")
        run.dataset, run.holdout = hold_out(run.dataset, config.DATA.holdout, seed)
    build_stream(run)


def look_up_all(run: Run) -> Any:
    """Looks every name up, before anything is built; returns the factory of the dataset.

    Raises:
        UserError: The configuration names something that there is not.
    """
    config = run.config
    catalogs = run.plugins.catalogs

    def look_up(catalog: Catalog, name: str, key: str) -> Any:
        try:
            return catalog[name]
        except PluginError:
            raise
        except UserError as error:
            raise UserError(f"{key}: {error}{run.plugins.skipped_hint()}") from None

    for name in sorted({config.RUN.samples, *run.postprocessors}):
        look_up(catalogs.postprocessors, name, "RUN.samples")
    look_up(catalogs.backbones, config.MODEL.backbone, "MODEL.backbone")
    look_up(catalogs.losses, config.LOSS.adv_loss, "LOSS.adv_loss")
    look_up(catalogs.objectives, config.LOSS.objective, "LOSS.objective")
    for name in config.RUN.eval_metrics:
        look_up(catalogs.metrics, name, "RUN.eval_metrics")
    if config.RUN.eval_features != "auto" and not is_file(config.RUN.eval_features):
        look_up(catalogs.features, config.RUN.eval_features, "RUN.eval_features")
    look_up(catalogs.samplers, config.RUN.sampler, "RUN.sampler")
    return look_up(catalogs.datasets, config.DATA.name, "DATA.name")


def build_stream(run: Run) -> None:
    """Builds the sampler and the stream of batches from the dataset.

    Raises:
        UserError: The data does not fit the configuration.
    """
    config, catalogs = run.config, run.plugins.catalogs
    size, batch_size = len(run.dataset), config.OPTIMIZATION.batch_size
    if size < batch_size:
        raise UserError(
            f"The dataset {config.DATA.name!r} has {size} samples, fewer than a batch of "
            f"{batch_size}; lower OPTIMIZATION.batch_size or use more data."
        )
    if batch_size % run.world_size:
        raise UserError(
            f"OPTIMIZATION.batch_size = {batch_size} counts the samples of all processes and must "
            f"be a multiple of their number, {run.world_size}."
        )
    sampler: Any = catalogs.samplers[config.RUN.sampler](run)
    if not isinstance(sampler, IndexSampler):
        owner = catalogs.samplers.owner(config.RUN.sampler)
        raise PluginError(
            f"The sampler {config.RUN.sampler!r} of {owner!r} is a {type(sampler).__name__}, "
            "which lacks a method or attribute of gan_registry.samplers.base.IndexSampler."
        )
    run.sampler = sampler
    run.stream = BatchStream(
        run.dataset, run.sampler, batch_size, run.device, run.rank, run.world_size,
        config.RUN.num_workers,
        flip_seed=derive_seed(run.seed, "flip") if flips_images(run.dataset, config) else None,
    )  # fmt: skip


def flips_images(dataset: Dataset, config: Config) -> bool:
    """Whether training images are mirrored at random: points and single vectors never are."""
    return (
        config.PRE.apply_rflip
        and getattr(dataset, "kind", "image") == "image"
        and len(dataset.sample_shape) == 3
    )


def build_networks(run: Run, *, trained: bool = True) -> None:
    """Builds the backbone and the loss, and lets plugins change them.

    Args:
        run: The run.
        trained: Whether the networks will be called; if not, no memory layout is settled for them.

    Raises:
        UserError: The networks do not fit the data or the configuration, or do not work.
    """
    config, catalogs = run.config, run.plugins.catalogs
    dataset = run.dataset
    run.backbone = _build_backbone(run, dataset.sample_shape, dataset.num_classes)
    _check_conditioning(run)
    run.loss = build_loss(catalogs.losses[config.LOSS.adv_loss], run.backbone.realness, config)
    made = [network.to(run.device) for network in (run.generator, run.discriminator)]
    run.hooks.models_ready(run)
    if run.loss.is_pairwise:
        run.stream.keep(config.OPTIMIZATION.acml_steps)  # an update of G sees those of D's again
    ready = [network.to(run.device) for network in (run.generator, run.discriminator)]
    if trained:
        lay_out(run, replaced=any(a is not b for a, b in zip(made, ready, strict=True)))
    run.regularization = Regularization(run, run.backbone, run.stream.latest)
    run.objective = catalogs.objectives[config.LOSS.objective](run)
    if config.MODEL.apply_g_ema:
        run.average = moving_average(run)


_BACKBONE_FACTORY = (
    "a factory (config, sample_shape, num_classes, seed) that returns a "
    "gan_registry.backbones.base.Backbone"
)


def _build_backbone(run: Run, sample_shape: tuple[int, ...], num_classes: int) -> Backbone:
    """Builds the backbone, and names its plugin where it keeps to another contract."""
    catalog, name = run.plugins.catalogs.backbones, run.config.MODEL.backbone
    factory = catalog[name]
    arguments = (run.config, sample_shape, num_classes, derive_seed(run.seed, "networks"))
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some that are written in C have none
        signature = None
    if signature is not None:
        try:
            # Before the call, as a TypeError from within it would look the same.
            signature.bind(*arguments)
        except TypeError as error:
            raise PluginError(
                f"The backbone {name!r} of {catalog.owner(name)!r} takes {signature} ({error}); "
                f"what is expected is {_BACKBONE_FACTORY}."
            ) from None
    backbone = factory(*arguments)
    if not isinstance(backbone, Backbone):
        raise PluginError(
            f"The backbone {name!r} of {catalog.owner(name)!r} is a {type(backbone).__name__}; "
            f"what is expected is {_BACKBONE_FACTORY}."
        )
    return backbone


def _check_conditioning(run: Run) -> None:
    """Refuses labels that the networks would never see."""
    model = run.config.MODEL
    if getattr(run.backbone, "conditional", False):
        return
    for key in ("g_cond_mtd", "d_cond_mtd"):
        method = getattr(model, key)
        if method != "W/O":
            raise UserError(
                f"MODEL.{key} = {method!r}, but MODEL.backbone {model.backbone!r} takes no class "
                f"labels; leave the key out, or choose another backbone."
            )


def moving_average(run: Run) -> MovingAverage:
    """Builds G's average: by StyleGAN2's half-life where that is given, else by a fixed decay."""
    model, style = run.config.MODEL, run.config.STYLEGAN
    kimg = style.g_ema_kimg
    if kimg is None:
        return MovingAverage(run.generator, model.g_ema_decay, model.g_ema_start)
    settings = run.config.OPTIMIZATION
    images = settings.batch_size * settings.acml_steps

    def decay(step: int) -> float:
        return ema_decay((step - 1) * images, images, kimg, style.g_ema_rampup)

    return MovingAverage(run.generator, decay, 0)


def build_loss(factory: Any, realness: Any, config: Config) -> Loss:
    """Builds a loss, with the keys of the section LOSS that its `options` name."""
    options = {name: getattr(config.LOSS, name) for name in getattr(factory, "options", ())}
    loss: Loss = factory(realness, **options)
    return loss


def build_optimizers(run: Run) -> None:
    """Builds the optimisers of G and D."""
    settings, intervals = run.config.OPTIMIZATION, lazy_intervals(run.backbone, run.config)
    rates = {
        "generator": (settings.g_lr, settings.g_weight_decay),
        "discriminator": (settings.d_lr, settings.d_weight_decay),
    }
    run.optimizers = {
        name: adam(getattr(run, name), lr, decay, run.config, intervals.get(name, 1))
        for name, (lr, decay) in rates.items()
    }


def adam(
    network: nn.Module, lr: float, weight_decay: float, config: Config, lazy_interval: int = 1
) -> torch.optim.Adam:
    """Builds Adam with the configuration's betas, fused where torch has it.

    Args:
        network: Its trainable parameters are optimised.
        lr: The learning rate.
        weight_decay: Of Adam.
        config: Section OPTIMIZATION has the betas.
        lazy_interval: Steps between two regularising steps; see
            :func:`gan_registry.regularizers.lazy.lazy_adam`.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    lr, betas = lazy_adam(lr, (config.OPTIMIZATION.beta1, config.OPTIMIZATION.beta2), lazy_interval)
    # Kept beside the present rate, which a schedule may lower.
    groups = [{"params": parameters, "initial_lr": lr}]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
