"""Runs that take a fraction of a second, and how to compare them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_registry.config.load import validate_config
from gan_registry.config.schema import Config
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.training.run import Run
from gan_registry.training.trainer import train


def points_config(**changes: Any) -> Config:
    """A tiny MLP on 25 Gaussians; `SECTION__key=value` changes it."""
    content: dict[str, dict[str, Any]] = {
        "DATA": {"name": "gmm25", "options": {"num_samples": 200}},
        "MODEL": {"backbone": "mlp", "z_dim": 2, "hidden_dim": 8, "num_layers": 2, "g_bn": False,
                  "g_init": "default", "d_init": "default"},
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {
            "batch_size": 16, "d_updates_per_step": 1, "total_steps": 6, "g_lr": 1e-3, "d_lr": 1e-3,
        },
        "RUN": {"print_freq": 1, "save_freq": 0, "num_eval": 200, "device": "cpu"},
    }  # fmt: skip
    return validate_config(_changed(content, changes), "the test's config")


def digits_config(**changes: Any) -> Config:
    """A tiny DCGAN with batch norm and dropout on coloured digits."""
    content: dict[str, dict[str, Any]] = {
        "DATA": {"name": "colored_digits", "img_size": 8, "options": {"ratio": 0.95}},
        "MODEL": {
            "backbone": "dcgan", "z_dim": 8, "g_conv_dim": 4, "d_conv_dim": 4, "d_dropout": 0.5,
            "d_bn": True, "g_init": "default", "d_init": "default",
        },
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {
            "batch_size": 32, "d_updates_per_step": 1, "total_steps": 6, "g_lr": 5e-4, "d_lr": 5e-4,
        },
        "PRE": {"apply_rflip": False},
        "RUN": {"print_freq": 1, "save_freq": 0, "num_eval": 200, "device": "cpu"},
    }  # fmt: skip
    return validate_config(_changed(content, changes), "the test's config")


def _changed(
    content: dict[str, dict[str, Any]], changes: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    for name, value in changes.items():
        section, _, key = name.partition("__")
        content.setdefault(section, {})[key] = value
    return content


def manager(**plugins: object) -> PluginManager:
    """A plugin manager with these plugins only."""
    made = PluginManager(load_entry_points=False)
    for name, plugin in plugins.items():
        made.register(plugin, name)
    return made


def fit(
    config: Config, folder: Path | None = None, plugins: PluginManager | None = None, **options: Any
) -> Run:
    """Trains without a word."""
    return train(config, folder, plugins or manager(), options or None, quiet=True)


def state_of(run: Run) -> dict[str, Tensor]:
    """Every number that a step depends on: networks, their average, optimisers."""
    found: dict[str, Tensor] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[prefix] = value.detach().clone()
        elif isinstance(value, dict):
            for key, item in value.items():
                visit(f"{prefix}/{key}", item)
        elif isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                visit(f"{prefix}/{number}", item)

    visit("generator", run.generator.state_dict())
    visit("discriminator", run.discriminator.state_dict())
    if run.average is not None:
        visit("average", run.average.average.state_dict())
    for name, part in (*run.optimizers.items(), *run.additions.items()):
        visit(name, part.state_dict())
    return found


def assert_equal_runs(one: Run, other: Run) -> None:
    """Asserts that two runs agree in every bit."""
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"differ: {different}"


class InstanceNoise:
    """An unrelated method, as a third party would write it: public hooks only."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("noise")
        group.add_argument("--noise-penalty", dest="noise.penalty", type=float, default=0.0)
        group.add_argument("--noise-share", dest="noise.share", type=float, default=1.0)

    @hookimpl
    def gan_discriminator_penalty(self, run: Run, real: Any) -> Tensor | None:
        size = run.options["noise"]["penalty"]
        if not size:
            return None
        x = real.x.detach().requires_grad_(True)
        out = run.backbone.realness(run.discriminator(x))
        (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return size * gradient.flatten(1).square().sum(1).mean()

    @hookimpl
    def gan_generator_weights(self, run: Run, logits: Tensor) -> Tensor | None:
        share = run.options["noise"]["share"]
        return None if share == 1.0 else torch.full_like(logits, share)
