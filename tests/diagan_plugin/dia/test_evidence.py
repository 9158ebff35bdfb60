"""What the paper claims of LDRM and LDRV, on its own artificial data.

The default run checks the mechanism with a generator that is known to miss a mode; the slow tests
train the packaged configurations.
"""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import softplus

from diagan_plugin import Dia
from gan_registry.config.load import load_config
from gan_registry.datasets.gaussian import build_gaussian
from gan_registry.datasets.mixtures import build_gmm25
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.plugins import PluginManager
from gan_registry.training.trainer import train


def diagnose(dataset, generate, seed: int, steps: int = 300):
    """Trains D against a fixed generator, and returns the diagnosis of the last 20 sweeps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999))
    rng = torch.Generator().manual_seed(seed)
    dia = Dia(
        dataset, total_steps=steps, batch_size=64, seed=seed, weighted=False, groups=dataset.groups,
        group_names=dataset.group_names, record_every=5, window=20,
    )  # fmt: skip
    for step in range(steps):
        x, _ = dataset.__getitems__(dia.sampler.draw(64 * step, 64 * step + 64))
        loss = softplus(-net(x)).mean() + softplus(net(generate(64, rng))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        dia.sweep(net)
        dia.step()
    return dia.diagnosis()


def mean_by_group(values, groups):
    return np.array([values[groups == g].mean() for g in range(groups.max() + 1)])


@pytest.mark.parametrize("missing", [0, 7, 12])
def test_ldrm_is_highest_on_the_mode_that_the_generator_misses(missing):
    data = build_gmm25(load_config("gmm25", ["DATA.options={num_samples: 2500}"]), None)
    x, _ = data.__getitems__(np.flatnonzero(data.groups != missing))

    def generate(n, rng):
        return x[torch.randint(len(x), (n,), generator=rng)]

    diagnosis = diagnose(data, generate, seed=missing)
    ldrm = mean_by_group(diagnosis.ldrm, data.groups)
    assert ldrm.argmax() == missing
    # The others are drawn alike: the missing mode stands out far beyond their spread.
    others = np.delete(ldrm, missing)
    assert ldrm[missing] > others.mean() + 3 * others.std()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ldrv_is_higher_far_from_the_centre(seed):
    data = build_gaussian(load_config("gaussian", ["DATA.options={num_samples: 2000}"]), None)
    diagnosis = diagnose(data, lambda n, rng: 3 * torch.randn(n, 2, generator=rng), seed)
    major, minor = mean_by_group(diagnosis.ldrv, data.groups)
    assert minor > 2 * major


def train_packaged(name: str, seed: int):
    config = load_config(name, [f"RUN.seed={seed}", "PLUGINS.dia.diagnose=true"])
    return evaluate(train(config, None, PluginManager(), name=name, quiet=True))


@pytest.mark.slow
def test_modes_with_high_ldrm_are_those_that_are_seldom_generated():
    # Paper §3.3 and fig. 2b, with the median of three seeds.
    correlations = []
    for seed in range(3):
        groups = train_packaged("gmm25", seed)["groups"].values()
        ldrm, generated = zip(*((g["ldrm"], g["share_generated"]) for g in groups), strict=True)
        correlations.append(spearmanr(ldrm, generated).statistic)
    assert statistics.median(correlations) <= -0.8, correlations


@pytest.mark.slow
def test_the_minor_group_of_a_gaussian_has_the_higher_ldrv():
    # Paper §3.2 and table 1 (0.001 against 0.098 there).
    for seed in range(3):
        groups = train_packaged("gaussian", seed)["groups"]
        assert groups["minor"]["ldrv"] > 2 * groups["major"]["ldrv"]
