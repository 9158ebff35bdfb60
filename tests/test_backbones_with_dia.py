"""Each backbone of the host in a short run of Dia-GAN: both phases, the draws, and DRS after it."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_runs import manager
from torch import Tensor, nn

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.options import AUXILIARY, NAME
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.recorder import RATIO_HEAD
from diagan_plugin.postprocessing.judges import choose_judge
from diagan_plugin.postprocessing.options import PostOptions
from diagan_plugin.postprocessing.plugin import PostprocessingPlugin
from diagan_plugin.scoring.score import sampling_probabilities
from gan_registry.backbones import BUILTIN
from gan_registry.config.load import validate_config
from gan_registry.config.schema import Config
from gan_registry.datasets.base import ArrayDataset
from gan_registry.hookspecs import hookimpl
from gan_registry.records import MicroBatch
from gan_registry.training.run import Run
from gan_registry.training.trainer import train

# Classes lie one after another, as in a folder of images; 24 samples, three batches, in all.
CLASS_SIZES = (10, 9, 5)
SIZE, BATCH, PHASE1, EPOCHS = sum(CLASS_SIZES), 8, 3, 2
STEPS = PHASE1 + EPOCHS * SIZE // BATCH

NARROW: dict[str, Any] = {"z_dim": 12, "g_conv_dim": 2, "d_conv_dim": 2}
PROJECTION = {"g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_g_sn": True, "apply_d_sn": True}
CLASSIFIER = {"g_cond_mtd": "cBN", "d_cond_mtd": "AC", "apply_d_sn": True}
# Backbone → shape of a sample, and keys of MODEL.
BACKBONES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "big_resnet": ((3, 32, 32), PROJECTION),
    "cnn_gan": ((1, 8, 8), {}),
    "dcgan": ((3, 8, 8), {}),
    "deep_conv": ((3, 32, 32), {}),
    "mlp": ((2,), {"hidden_dim": 8, "num_layers": 1}),
    "mnist_dcgan": ((3, 28, 28), {"d_dropout": 0.5}),
    "nvlabs": ((3, 8, 8), {"module": "miniature_nvlabs"}),
    "resnet": ((3, 32, 32), {"apply_d_sn": True}),
    "sngan": ((3, 32, 32), {}),
    "ssgan": ((3, 32, 32), {}),
    "stylegan2": ((3, 8, 8), {"g_conv_dim": 4, "d_conv_dim": 4}),
}
NEEDS = {"stylegan2": ("stylegan2_pytorch", "kornia")}


# ------------------------------------------------------------------ a run


class Witness:
    """Adds a dataset of noise, its classes of unequal brightness, and keeps what D trains on."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.before: dict[str, nn.Module] = {}
        self.drawn: list[Tensor] = []
        self.outputs: list[Any] = []

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(len(CLASS_SIZES)), CLASS_SIZES)
        # Brighter from class to class, and from sample to sample within each.
        within = np.concatenate([np.linspace(-0.4, 0.4, size) for size in CLASS_SIZES])
        means = np.linspace(-0.4, 0.4, len(CLASS_SIZES))[labels] + within
        x = rng.normal(means.reshape(-1, *[1] * len(self.shape)), 0.2, (SIZE, *self.shape))
        points = len(self.shape) == 1
        x = np.float32(x) if points else np.uint8(127.5 * (x.clip(-1, 1) + 1))

        def build(config: Config, data_dir: object) -> ArrayDataset:
            return ArrayDataset(
                "noise", x, labels, num_classes=3, groups=labels, group_names=("dark", "mid", "lit")
            )

        catalogs.datasets.register("noise", build)

    @hookimpl
    def gan_train_start(self, run: Run) -> None:
        for name in ("generator", "discriminator"):
            self.before[name] = copy.deepcopy(getattr(run, name))

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        self.drawn += [batch.real.indices for batch in batches]
        self.outputs += [run.backbone.realness(batch.real_out) for batch in batches]

    def counts(self) -> NDArray[np.int64]:
        """How often D saw each sample, [epochs, N]; phase 1 has one epoch."""
        seen = torch.cat(self.drawn).reshape(-1, SIZE)
        return np.stack([np.bincount(epoch, minlength=SIZE) for epoch in seen.numpy()])


def run_dia(
    backbone: str, model: dict[str, Any] | None = None, **changes: Any
) -> tuple[Run, DiaDriver, Witness]:
    """Trains for one epoch of phase 1 and two of phase 2; changes are `SECTION__key=value`."""
    for package in NEEDS.get(backbone, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    shape, keys = BACKBONES[backbone]
    content: dict[str, Any] = {
        "DATA": {"name": "noise", "img_size": shape[-1]},
        "MODEL": {"backbone": backbone, **NARROW, **keys, **(model or {})},
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {
            "batch_size": BATCH, "d_updates_per_step": 1, "total_steps": STEPS, "g_lr": 1e-3,
            "d_lr": 1e-3,
        },
        "RUN": {"device": "cpu", "sampler": NAME, "seed": 1, "print_freq": 4},
    }  # fmt: skip
    # With a large k, as logits alone may all lie below the floor after so few steps.
    dia: dict[str, Any] = {
        "phase1": PHASE1 / STEPS, "record_every": 1, "k": 10.0, "max_ratio": 1e4,
    }  # fmt: skip
    for name, value in changes.items():
        section, _, key = name.partition("__")
        (dia if section == NAME else content[section])[key] = value
    content["PLUGINS"] = {NAME: dia, "postprocessing": {"burn_in": 32}}
    plugin, witness = DiaPlugin(), Witness(shape)
    plugins = manager(dia=plugin, postprocessing=PostprocessingPlugin(), witness=witness)
    run = train(validate_config(content, "the test"), None, plugins, quiet=True)
    driver = plugin.driver(run)
    assert driver is not None
    return run, driver, witness


def check_training(run: Run, witness: Witness) -> None:
    """Every weight of G and D has changed, and none has become NaN."""
    for name, before in witness.before.items():
        after = getattr(run, name).state_dict()
        for key, parameter in before.named_parameters():
            assert torch.isfinite(after[key]).all(), key
            assert parameter.dim() < 2 or not torch.equal(after[key], parameter), key


def check_draws(driver: DiaDriver, witness: Witness) -> None:
    """Both phases draw as they should, by what D really trained on."""
    assert driver.phase == 2
    assert driver.schedule.phase1_end == PHASE1
    assert driver.weights.probabilities is not None
    expected = SIZE * driver.weights.probabilities
    # Else uniform draws would pass for these below.
    assert np.abs(expected.cumsum() - np.arange(1, SIZE + 1)).max() > 1
    uniform, *weighted = witness.counts()
    assert (uniform == 1).all()
    assert len(weighted) == EPOCHS
    for counts in weighted:
        assert (np.abs(counts - expected) < 1).all()
        # Systematic sampling keeps the bound for the first n samples together, too.
        assert (np.abs((counts - expected).cumsum()) < 1).all()
    np.testing.assert_array_equal(driver.draws, sum(weighted))


def check_rejection(run: Run) -> None:
    """DRS, by the auxiliary discriminator, gives as many samples as asked for, of G's shape."""
    assert "drs" in run.postprocessors
    auxiliary, own = run.additions[AUXILIARY], run.discriminator
    assert isinstance(auxiliary, nn.Module)
    pairs = zip(auxiliary.parameters(), own.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)  # it trained on its own
    source = run.plugins.catalogs.postprocessors["drs"](run, 0)
    x = torch.cat(list(source.batches(10)))
    assert x.shape == (10, *run.dataset.sample_shape)
    assert torch.isfinite(x).all()
    assert x.flatten(1).std(0).max() > 0
    assert 0 < source.statistics()["acceptance_rate"] <= 1


# ------------------------------------------------------------------ tests


@pytest.mark.parametrize("backbone", sorted(BUILTIN))
def test_a_short_run(backbone):
    assert backbone in BACKBONES, f"say in BACKBONES how to build {backbone} small"
    run, driver, witness = run_dia(backbone)
    check_training(run, witness)
    check_draws(driver, witness)
    check_rejection(run)


@pytest.mark.parametrize(
    ("backbone", "model"),
    [
        pytest.param("resnet", PROJECTION, id="resnet-PD"),
        pytest.param("deep_conv", CLASSIFIER, id="deep_conv-AC"),
    ],
)
def test_a_short_run_with_labels(backbone, model):
    run, driver, witness = run_dia(backbone, model)
    assert run.backbone.conditional
    check_training(run, witness)
    check_draws(driver, witness)
    check_rejection(run)


def test_weights_within_classes_keep_their_shares():
    run, driver, witness = run_dia("resnet", PROJECTION, dia__within_class=True)
    check_training(run, witness)
    check_draws(driver, witness)
    labels = run.dataset.labels
    for counts in witness.counts():
        np.testing.assert_array_equal(np.bincount(labels, weights=counts), CLASS_SIZES)
    # By the same scores, but over all classes at once, they would not have been kept.
    options = driver.options
    free = sampling_probabilities(driver.weights.score, options.min_clip, options.max_ratio)
    shares = SIZE * np.bincount(labels, weights=free)
    assert np.abs(shares - CLASS_SIZES).max() > 2


def test_a_ratio_measured_on_features_where_the_loss_has_none(caplog):
    run, driver, witness = run_dia("dcgan", LOSS__adv_loss="hinge", dia__aux_ratio=True)
    assert "has no density ratio" not in caplog.text
    check_training(run, witness)
    check_draws(driver, witness)
    check_rejection(run)
    assert driver.diagnosis(run).metadata["is_density_ratio"] == "True"
    head = run.additions[RATIO_HEAD]
    assert head.linear.weight.any()
    assert head.linear.in_features == run.backbone.features(torch.zeros(1, 3, 8, 8)).shape[1]


@pytest.mark.parametrize("loss", ["hinge", "least_square"])
def test_the_auxiliary_discriminator_is_read_by_the_loss_that_it_was_trained_by(loss):
    run, *_ = run_dia("mlp", LOSS__adv_loss=loss, dia__aux_loss="logistic")
    judge = choose_judge(run, PostOptions.of(run))
    assert judge.network is run.additions[AUXILIARY]
    assert judge.is_density_ratio
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    judge.network.eval()
    with torch.no_grad():  # of the logistic loss, D's output is the ratio
        expected = run.backbone.realness(judge.network(x))
    torch.testing.assert_close(judge.logits(x), expected)


def test_half_precision():
    run, driver, witness = run_dia("resnet", CLASSIFIER, RUN__mixed_precision="bf16")
    assert {output.dtype for output in witness.outputs} == {torch.bfloat16}
    assert {p.dtype for p in run.generator.parameters()} == {torch.float32}
    assert np.isfinite(driver.weights.score).all()
    check_training(run, witness)
    check_draws(driver, witness)
    check_rejection(run)
