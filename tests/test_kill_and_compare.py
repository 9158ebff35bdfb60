"""Each component in a run that is cut in the middle of a step, and goes on: no bit may differ.

One table, a row a run. What the host's catalogs, the plugins and the configuration's switches offer
must all be in some row, so that whatever is added needs one.
"""

from __future__ import annotations

import importlib.util
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import assert_equal_runs, digits_config, fit, points_config
from torch import Tensor

from gan_registry.config.schema import Config, Loss, Model, StyleGAN
from gan_registry.datasets.base import ArrayDataset
from gan_registry.evaluation.sources import collect
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.state_files import read_state
from gan_registry.training.checkpoint import FORMAT, checkpoint_path, checkpoint_steps
from gan_registry.training.logs import read_metrics
from gan_registry.training.run import Run
from gan_registry.training.stream import BatchStream

DIA = {"record_every": 1, "window": 2, "phase1": 0.5}
POST = {"burn_in": 32, "fresh_steps": 2, "mh_steps": 3, "calibration_samples": 32, "floor": 0.0}
TIMES = {"seconds", "steps_per_second"}


@dataclass(frozen=True)
class Row:
    """A run of a few steps.

    Attributes:
        images: Whether it learns digits with a small DCGAN rather than points with an MLP.
        config: What else is different, `SECTION__key` → value.
        plugins: Plugin → options, those which switch it on among them.
        samples: The post-processors by which samples of it are compared.
        steps: How many.
        cuts: After how many steps each it is cut, in the step that follows.
        needs: Modules without which it cannot be built.
        slow: Whether it takes long.
    """

    images: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: tuple[str, ...] = ("plain",)
    steps: int = 4
    cuts: tuple[int, ...] = (2,)
    needs: tuple[str, ...] = ()
    slow: bool = False

    def make(self) -> Config:
        """Returns its configuration."""
        make = digits_config if self.images else points_config
        changes = {"OPTIMIZATION__total_steps": self.steps, "OPTIMIZATION__batch_size": 8}
        changes |= {"RUN__sample_freq": self.steps}
        config = make(**{**changes, **self.config})
        config.PLUGINS = {**self.plugins, "postprocessing": POST}
        return config


def images(size: int = 8, **config: Any) -> dict[str, Any]:
    """Keywords of a row with a backbone of images, narrow enough to train in a moment."""
    plain = {"MODEL__d_bn": False, "MODEL__d_dropout": 0.0, "MODEL__g_conv_dim": 2,
             "MODEL__d_conv_dim": 2, "DATA__img_size": size}  # fmt: skip
    return {"images": True, "config": {**plain, **config}}


def loss(name: str, slow: bool = False, **more: Any) -> Row:
    return Row(config={"LOSS__adv_loss": name, **more}, slow=slow)


def with_dia(steps: int = 8, cuts: tuple[int, ...] = (2, 6), **options: Any) -> dict[str, Any]:
    """Keywords of a row with weighted sampling, cut in phase 1 and in phase 2."""
    return {"plugins": {"dia": {**DIA, **options}}, "steps": steps, "cuts": cuts}


DIA_RUN = {"RUN__sampler": "dia"}
FEW: dict[str, Any] = {"DATA__options": {"num_samples": 32}}
AUGMENTED = {"AUG__cr_aug_type": "cr", "AUG__bcr_aug_type": "bcr"}
CLASSES = {"MODEL__g_cond_mtd": "cBN"}

ROWS: dict[str, Row] = {
    # What trains: losses.
    "logistic": loss("logistic", MODEL__d_dropout=0.3),
    "minimax": loss("minimax", slow=True),
    "vanilla": loss("vanilla", slow=True),
    "hinge": loss("hinge", OPTIMIZATION__lr_decay="linear"),
    "least_square": loss("least_square", OPTIMIZATION__acml_steps=2),
    "wasserstein": loss("wasserstein", LOSS__apply_wc=True, OPTIMIZATION__d_updates_per_step=3),
    "f_js": loss("f_js", slow=True),
    "f_js_minimax": loss("f_js_minimax", slow=True),
    "f_kl": loss("f_kl"),
    "f_kl_minimax": loss("f_kl_minimax", slow=True),
    "f_reverse_kl": loss("f_reverse_kl", slow=True),
    "MH": Row(**images(32, MODEL__backbone="resnet", MODEL__d_cond_mtd="MH", LOSS__adv_loss="MH",
                       **CLASSES), slow=True),
    # What is added to them.
    "gradient penalties": Row(
        config={"LOSS__apply_gp": True, "LOSS__apply_dra": True, "LOSS__apply_maxgp": True,
                "LOSS__apply_r1_reg": True}),
    "lazy R1": Row(config={"LOSS__apply_r1_reg": True, "LOSS__r1_place": "outside_loop",
                           "STYLEGAN__d_reg_interval": 3}, cuts=(2, 3)),
    "lecam": Row(config={"LOSS__apply_lecam": True, "LOSS__lecam_ema_start_iter": 1}),
    "consistency": Row(
        **images(LOSS__apply_cr=True, LOSS__apply_bcr=True, LOSS__apply_zcr=True, **AUGMENTED)),
    "feature matching": Row(config={"LOSS__apply_fm": True, "OPTIMIZATION__acml_steps": 2}),
    "feature matching, G first": Row(
        config={"LOSS__apply_fm": True, "OPTIMIZATION__d_first": False,
                "OPTIMIZATION__acml_steps": 2, "OPTIMIZATION__g_updates_per_step": 2}),
    "feature matching, G first, of mirrored images": Row(
        **images(LOSS__apply_fm=True, OPTIMIZATION__d_first=False, PRE__apply_rflip=True,
                 MODEL__d_bn=True, MODEL__d_dropout=0.5)),
    "feature matching, G first, loader": Row(
        config={"LOSS__apply_fm": True, "OPTIMIZATION__d_first": False, "RUN__num_workers": 1},
        slow=True),
    "feature matching, G first, new weights": Row(
        config={**DIA_RUN, "LOSS__apply_fm": True, "OPTIMIZATION__d_first": False},
        # The weights change with the step after which it is cut: the batch before had others.
        **with_dia(cuts=(3, 4, 5), refresh=1)),
    # Networks.
    "dcgan": Row(
        **images(MODEL__apply_g_ema=True, MODEL__g_ema_decay=0.9, MODEL__apply_g_sn=True,
                 MODEL__apply_d_sn=True, MODEL__d_bn=True, MODEL__d_dropout=0.5,
                 OPTIMIZATION__d_updates_per_step=2, OPTIMIZATION__acml_steps=2)),
    "cnn_gan": Row(**images(MODEL__backbone="cnn_gan", MODEL__d_dropout=0.5), slow=True),
    "mnist_dcgan": Row(**images(28, MODEL__backbone="mnist_dcgan", MODEL__d_dropout=0.5,
                 DATA__name="noise", DATA__options={})),
    "deep_conv": Row(**images(32, MODEL__backbone="deep_conv", MODEL__d_cond_mtd="AC", **CLASSES),
                     slow=True),
    "resnet": Row(**images(32, MODEL__backbone="resnet", MODEL__apply_d_sn=True,
                           MODEL__d_cond_mtd="PD", MODEL__apply_attn=True, MODEL__attn_g_loc=[2],
                           MODEL__attn_d_loc=[1], **CLASSES), slow=True),
    "big_resnet": Row(**images(32, MODEL__backbone="big_resnet", MODEL__apply_g_sn=True,
                               MODEL__d_cond_mtd="PD", MODEL__g_shared_dim=4, **CLASSES),
                      slow=True),
    "sngan": Row(**images(32, MODEL__backbone="sngan"), slow=True),
    "ssgan": Row(**images(32, MODEL__backbone="ssgan"), slow=True),
    "nvlabs": Row(
        **images(MODEL__backbone="nvlabs", MODEL__module="miniature_nvlabs", MODEL__w_dim=8,
                 MODEL__g_cond_mtd="cAdaIN", MODEL__d_cond_mtd="SPD",
                 LOSS__apply_r1_reg=True, LOSS__r1_place="outside_loop", MODEL__apply_g_ema=True,
                 STYLEGAN__apply_pl_reg=True, STYLEGAN__style_mixing_p=0.9,
                 STYLEGAN__g_reg_interval=2, STYLEGAN__d_reg_interval=3)),
    "stylegan2": Row(
        **images(MODEL__backbone="stylegan2", MODEL__g_conv_dim=4, MODEL__d_conv_dim=4,
                 STYLEGAN__apply_pl_reg=True, STYLEGAN__g_reg_interval=2,
                 LOSS__apply_r1_reg=True, LOSS__r1_place="outside_loop"),
        needs=("stylegan2_pytorch", "kornia"), slow=True),
    "D dead by its second step": Row(
        config={"LOSS__adv_loss": "wasserstein", "LOSS__apply_wc": True, "LOSS__wc_bound": 1e-30}),
    "half precision": Row(**images(RUN__mixed_precision="bf16"), slow=True),
    # Samplers, Dia and the post-processors.
    "class_balanced": Row(**images(RUN__sampler="class_balanced")),
    "dia": Row(
        config={**DIA_RUN, "DATA__holdout": 0.1, "MODEL__d_dropout": 0.3},
        **with_dia(cuts=(2, 7), refresh=1),
        samples=("drs", "drs_exact", "obrs", "mh", "threshold", "interpolation", "plain")),
    "judges of their own": Row(samples=("drs_fresh", "mh_fresh")),
    "dia, steered": Row(
        config={**DIA_RUN, "MODEL__d_dropout": 0.3}, **with_dia(rule="feedback", phase1=0.3),
        samples=("drs", "plain")),
    "dia, streaming": Row(
        config={**DIA_RUN, **FEW, "LOSS__adv_loss": "hinge", "OPTIMIZATION__batch_size": 16},
        **with_dia(record="stream")),
    "dia, centred": Row(
        config={**DIA_RUN, "LOSS__adv_loss": "hinge"},
        **with_dia(centre="generated", ramp=4, refresh=2), slow=True),
    "dia, a ratio of its own": Row(
        config={**DIA_RUN, "LOSS__adv_loss": "hinge"}, **with_dia(aux_ratio=True)),
    "dia, importance": Row(
        config=DIA_RUN,
        **with_dia(aux="importance", window=4, ramp=4, aux_every=2, record_fraction=0.5)),
    "dia, automatic": Row(
        config=DIA_RUN, **with_dia(steps=24, cuts=(5, 9, 15), phase1="auto", k="auto"),
        slow=True),
    "dia, batch statistics": Row(
        **{**images(**DIA_RUN, MODEL__d_bn=True, MODEL__d_dropout=0.5,
                    OPTIMIZATION__batch_size=64), **with_dia(logits="batchstat")}, slow=True),
    "diagnosis alone": Row(**with_dia(diagnose=True), slow=True),
    # Other methods.
    "gold": Row(plugins={"gold": {"enabled": True, "start": 0.5}, "dia": DIA}),
    "top_k": Row(config=FEW,
                 plugins={"top_k": {"enabled": True, "gamma": 0.5}}),
    "mode_seeking": Row(plugins={"mode_seeking": {"weight": 0.05, "increase": 0.01, "every": 1}}),
    "loss_weighting": Row(
        plugins={"loss_weighting": {"by": "ldr"}, "dia": DIA}, steps=6, cuts=(2, 4)),
    "instance_selection": Row(
        config={"RUN__sampler": "instance_selection"},
        plugins={"instance_selection": {"share": 0.4, "features": "raw"}}),
    "pacgan": Row(plugins={"pacgan": {"size": 2}}),
    "inclusive": Row(
        config=FEW, steps=8, cuts=(3, 5),
        plugins={"inclusive": {"weight": 0.1, "refresh": 1, "candidates": 2, "growth": 1.0}}),
    "mix_gan": Row(
        config={"LOSS__apply_fm": True, "OPTIMIZATION__d_first": False},
        plugins={"mix_gan": {"generators": 2, "discriminators": 2}}),
    "mix_plus_gan": Row(
        config={"LOSS__objective": "mix_plus"},
        plugins={"mix_plus_gan": {"generators": 2, "discriminators": 2}}),
}  # fmt: skip

NO_PART = {"postprocessing", "wandb", "mlflow"}
"""Plugins that no run is made of: they act where a name of theirs is chosen, or only look on."""


# ------------------------------------------------------------------ a run, cut and whole


class Noise:
    """A dataset for networks that want images of 28 pixels."""

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        x = np.random.default_rng(0).integers(0, 256, (40, 3, 28, 28), np.uint8)
        catalogs.datasets.register("noise", lambda config, folder: ArrayDataset("noise", x))


class Cut(BaseException):
    """The end of a process, as far as the training can tell."""


class UnreadableError(OSError):
    """A file of the data that cannot be read: an error, after which the last step is saved."""


def train(
    row: Row,
    folder: Path,
    cut: int | None = None,
    how: type[BaseException] = Cut,
    save_freq: int = 1,
) -> Run:
    """Trains, or goes on, with plugins made anew, as a new process does."""
    config = row.make()
    config.RUN.save_freq = save_freq
    settings = config.OPTIMIZATION
    step = settings.batch_size * settings.acml_steps * settings.d_updates_per_step
    following = BatchStream.next

    def next_or_cut(stream: BatchStream) -> Any:
        # At the last batch of a step: parts of it are done, others are not.
        if cut is not None and stream.position == step * (cut + 1) - stream.batch_size:
            raise how
        return following(stream)

    with patch.object(BatchStream, "next", next_or_cut):
        plugins = PluginManager()
        plugins.register(Noise(), "noise")
        return fit(config, folder, plugins)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a tree of a state, with its place; tensors as types, shapes and bytes."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield name, (value.dtype, tuple(value.shape), flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        yield name, list(value)
        for key, item in value.items():
            yield from leaves(item, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        yield name, (type(value), len(value))
        for number, item in enumerate(value):
            yield from leaves(item, f"{name}/{number}")
    else:
        yield name, repr(value)


def state(run: Run) -> dict[str, Any]:
    """What the last checkpoint holds, all but the time it took."""
    assert run.folder is not None
    found = read_state(checkpoint_path(run.folder, run.step), FORMAT)
    del found["seconds"]
    return dict(leaves(found))


def log(run: Run) -> list[dict[str, Any]]:
    assert run.folder is not None
    lines = read_metrics(run.folder)
    return [{key: repr(v) for key, v in line.items() if key not in TIMES} for line in lines]


def samples(run: Run, name: str) -> Tensor:
    return collect(run.plugins.catalogs.postprocessors[name](run, 0), 40)


def assert_nothing_differs(one: Run, other: Run, names: tuple[str, ...]) -> None:
    assert_equal_runs(one, other)
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert log(one) == log(other)
    for name in names:
        made = [samples(run, name).numpy() for run in (one, other)]
        assert len(made[0]) == 40
        np.testing.assert_array_equal(*made, err_msg=name)
    files = [run.folder / "diagnosis.safetensors" for run in (one, other) if run.folder]
    assert files[0].exists() == files[1].exists()
    if files[0].exists():
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if row.slow else []) for n, row in ROWS.items()],
)
def test_a_run_that_was_cut_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    for module in row.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    whole = train(row, tmp_path / "whole", save_freq=0)
    assert whole.step == row.steps
    for cut in row.cuts:
        with pytest.raises(Cut):
            train(row, tmp_path / "parts", cut)
    resumed = train(row, tmp_path / "parts")
    assert resumed.first_step == row.cuts[-1]
    assert_nothing_differs(whole, resumed, row.samples)


@pytest.mark.parametrize("name", ["feature matching, G first, new weights", "dcgan", "inclusive"])
def test_so_does_one_that_failed_and_was_trained_again_up_to_there(
    name: str, tmp_path: Path
) -> None:
    row = ROWS[name]
    whole = train(row, tmp_path / "whole", save_freq=0)
    with pytest.raises(UnreadableError):
        train(row, tmp_path / "parts", row.steps - 1, UnreadableError, save_freq=2)
    assert checkpoint_steps(tmp_path / "parts")[-1] == row.steps - 1
    assert_nothing_differs(whole, train(row, tmp_path / "parts"), row.samples)


@pytest.mark.parametrize(
    ("before", "after", "workers"),
    [
        ("disk", "disk", 0),
        ("memory", "disk", 0),
        pytest.param("disk", "none", 1, marks=pytest.mark.slow),
    ],
)
def test_images_of_a_folder_train_alike_wherever_they_are_kept(
    before: str, after: str, workers: int, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "data" / f"{number}.png")

    def row(kind: str, workers: int) -> Row:
        kept = {"DATA__cache": kind, "RUN__num_workers": workers, "PRE__apply_rflip": True}
        data = {"DATA__name": "image_folder", "DATA__options": {}}
        data["DATA__path"] = str(tmp_path / "data")
        return Row(**images(**data, **kept, **DIA_RUN), **with_dia())

    whole = train(row("none", 0), tmp_path / "whole", save_freq=0)
    for cut in (2, 6):
        with pytest.raises(Cut):
            train(row(before, workers), tmp_path / "parts", cut)
    assert_nothing_differs(whole, train(row(after, workers), tmp_path / "parts"), ("plain",))


# ------------------------------------------------------------------ nothing is left out


def offered() -> set[tuple[str, str]]:
    """Everything of which a run may be made, as (kind, name)."""
    plugins = PluginManager()
    found = {("plugins", name) for name in plugins.infos} - {("plugins", n) for n in NO_PART}
    for kind in ("backbones", "losses", "objectives", "samplers", "postprocessors"):
        found |= {(kind, name) for name in getattr(plugins.catalogs, kind)}
    for section in (Loss, Model, StyleGAN):
        found |= {("switches", name) for name, key in section.model_fields.items()
                  if key.annotation is bool and name.startswith("apply_")}  # fmt: skip
    for section, name in ((Model, "d_cond_mtd"), (Model, "g_cond_mtd"), (Loss, "r1_place")):
        words = typing.get_args(section.model_fields[name].annotation)
        found |= {("switches", f"{name}: {word}") for word in words}
    return found


def covered(row: Row) -> set[tuple[str, str]]:
    """What a row's run is made of."""
    config = row.make()
    found = {
        ("backbones", config.MODEL.backbone), ("losses", config.LOSS.adv_loss),
        ("objectives", config.LOSS.objective), ("samplers", config.RUN.sampler),
        *(("postprocessors", name) for name in row.samples),
        *(("plugins", name) for name in row.plugins),
    }  # fmt: skip
    for section in (config.LOSS, config.MODEL, config.STYLEGAN):
        found |= {("switches", name) for name, value in section if value is True}
    found |= {("switches", f"{name}: {getattr(config.MODEL, name)}")
              for name in ("d_cond_mtd", "g_cond_mtd")}  # fmt: skip
    if config.LOSS.apply_r1_reg:
        found.add(("switches", f"r1_place: {config.LOSS.r1_place}"))
    return found


def test_everything_there_is_has_a_row() -> None:
    rows = set().union(*map(covered, ROWS.values()))
    missing = sorted(offered() - rows)
    assert not missing, f"has no row: {', '.join(' '.join(pair) for pair in missing)}"


def test_what_has_no_row_is_named() -> None:
    rows = set().union(*(covered(row) for name, row in ROWS.items() if name != "pacgan"))
    assert offered() - rows == {("plugins", "pacgan")}
