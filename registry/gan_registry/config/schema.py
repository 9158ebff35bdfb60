"""The sections and keys of a configuration, with StudioGAN's names and defaults.

Keys that StudioGAN does not have are marked "ours".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gan_registry.errors import unknown_name


def _no_bool(value: Any) -> Any:
    # Python counts true as 1; in a configuration it is a slip.
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


def _bool_as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


STOP_ON = ("collapse", "nan", "overfit")
"""What a run may be asked to stop on; see :data:`gan_registry.training.health.STOPS`."""


def _known_stops(words: list[str]) -> list[str]:
    for word in words:
        if word not in STOP_ON:
            raise ValueError(str(unknown_name("finding", word, STOP_ON)).removesuffix("."))
    return words


# A larger one would be written into the run folder, but not be read again.
Integer = Annotated[int, BeforeValidator(_no_bool), Field(lt=2**63)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[Integer, Field(ge=1)]
Weight = Annotated[Real, Field(ge=0.0)]
Activation = Literal["ReLU", "Leaky_ReLU", "ELU", "GELU", "Auto"]
Initialisation = Literal["ortho", "N02", "N(0.02)", "glorot", "xavier", "default"]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class Data(Section):
    """What is learnt."""

    name: str = "CIFAR10"
    img_size: Count = 32
    num_classes: Annotated[Integer, Field(ge=0)] = 0
    path: str | None = Field(default=None, description="ours: folder that holds the data (--data)")
    options: dict[str, Any] = Field(
        default_factory=dict, description="ours: options of the dataset"
    )
    max_pixels: Annotated[Integer, Field(ge=1, le=178_000_000)] = Field(
        default=64_000_000, description="ours: of one image file, before it is decoded"
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        default="auto",
        description="ours: where decoded images are kept; auto: in memory if all fit, else on disk",
    )
    cache_size: Annotated[Integer, Field(ge=0, le=2**30)] = Field(
        default=512, description="ours: MiB of memory for decoded images"
    )
    minority: dict[str, Annotated[Real, Field(gt=0.0, lt=1.0)]] = Field(
        default_factory=dict, description="ours: group → the share it is thinned to (--minority)"
    )
    holdout: Annotated[Real, Field(ge=0.0, le=0.5)] = Field(
        default=0.0, description="ours: share of the data that is kept out of the training"
    )


class Model(Section):
    """The networks."""

    backbone: str = "resnet"
    g_cond_mtd: Literal["W/O", "cBN", "cAdaIN"] = "W/O"
    d_cond_mtd: Literal["W/O", "AC", "PD", "MH", "SPD"] = "W/O"
    normalize_d_embed: bool = False
    z_prior: Literal["gaussian", "uniform"] = "gaussian"
    z_dim: Count = 128
    w_dim: Count | None = None
    g_shared_dim: Count | None = None
    g_conv_dim: Count = 64
    d_conv_dim: Count = 64
    apply_attn: bool = False
    attn_g_loc: list[Count] = []
    attn_d_loc: list[Count] = []
    g_act_fn: Activation = "ReLU"
    d_act_fn: Activation = "ReLU"
    apply_g_sn: bool = False
    apply_d_sn: bool = False
    apply_g_ema: bool = False
    g_ema_decay: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.9999
    g_ema_start: Annotated[Integer, Field(ge=0)] = 0
    g_init: Initialisation = Field(
        default="default", description="default: as the networks were published"
    )
    d_init: Initialisation = "default"
    g_bn: bool = Field(default=True, description="ours: batch norm in G (mlp, dcgan)")
    d_bn: bool = Field(default=False, description="ours: batch norm in D (mlp, dcgan)")
    d_dropout: Annotated[Real, Field(ge=0.0, lt=1.0)] = Field(
        default=0.0, description="ours: dropout in D (mlp, dcgan and the small backbones)"
    )
    hidden_dim: Count = Field(default=128, description="ours: width of the mlp backbone")
    num_layers: Count = Field(default=3, description="ours: hidden layers of the mlp backbone")
    module: str | None = Field(
        default=None, description="ours: module of the networks (backbone nvlabs)"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="ours: options of a plugin's backbone"
    )


class Loss(Section):
    """The adversarial loss and what is added to it."""

    adv_loss: str = "vanilla"
    objective: str = Field(default="adversarial", description="ours: catalog `objectives`")
    cond_lambda: Weight = Field(default=1.0, description="weight of the class labels' loss (AC)")
    mh_lambda: Weight = Field(default=1.0, description="weight of G's multi-hinge term")
    apply_fm: bool = False
    fm_lambda: Weight = Field(default=1.0, description="weight of G's feature matching")
    apply_gp: bool = False
    gp_lambda: Weight = Field(default=10.0, description="weight of WGAN-GP's penalty")
    apply_dra: bool = False
    dra_lambda: Weight = Field(default=10.0, description="weight of DRAGAN's penalty")
    apply_maxgp: bool = False
    maxgp_lambda: Weight = Field(default=10.0, description="weight of the largest gradient norm")
    apply_r1_reg: bool = False
    r1_lambda: Weight = Field(default=10.0, description="γ of R1: the penalty is γ/2 · ‖∇D‖²")
    r1_place: Literal["inside_loop", "outside_loop"] = Field(
        default="inside_loop", description="outside_loop: lazily, each STYLEGAN.d_reg_interval"
    )
    apply_r2_reg: bool = Field(default=False, description="ours: R1 on generated samples, too")
    r2_lambda: Weight = Field(default=10.0, description="ours: γ of R2, taken in every update")
    apply_wc: bool = False
    wc_bound: Annotated[Real, Field(gt=0.0)] = Field(
        default=0.01, description="bound of D's weights under weight clipping"
    )
    apply_lecam: bool = False
    lecam_lambda: Weight = 0.3
    lecam_ema_start_iter: Annotated[Integer, Field(ge=0)] = 1000
    lecam_ema_decay: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.99
    apply_cr: bool = False
    cr_lambda: Weight = Field(default=10.0, description="weight of D's consistency on real images")
    apply_bcr: bool = False
    real_lambda: Weight = Field(default=10.0, description="weight of bCR on real images")
    fake_lambda: Weight = Field(default=10.0, description="weight of bCR on generated images")
    apply_zcr: bool = False
    radius: Weight = Field(default=0.05, description="how far zCR moves a latent")
    g_lambda: Weight = Field(default=0.5, description="weight of zCR in G's loss")
    d_lambda: Weight = Field(default=20.0, description="weight of zCR in D's loss")
    fm_reduction: Literal["mean", "sum"] = Field(
        default="mean", description="ours: of feature matching over the features"
    )


class Optimization(Section):
    """Optimisers and the shape of a step."""

    type_: Literal["Adam"] = "Adam"
    batch_size: Count = Field(default=64, description="samples of a micro-batch, over all ranks")
    acml_steps: Count = Field(default=1, description="micro-batches of an update")
    g_lr: Annotated[Real, Field(gt=0.0)] = 0.0002
    d_lr: Annotated[Real, Field(gt=0.0)] = 0.0002
    g_weight_decay: Annotated[Real, Field(ge=0.0)] = 0.0
    d_weight_decay: Annotated[Real, Field(ge=0.0)] = 0.0
    beta1: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.5
    beta2: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.999
    lr_decay: Literal["none", "linear"] = Field(
        default="none", description="ours: linear, to 0 at the end of the run"
    )
    lr_decay_start: Annotated[Integer, Field(ge=0)] = Field(
        default=0, description="ours: the step from which rates fall"
    )
    d_first: bool = True
    g_updates_per_step: Count = 1
    d_updates_per_step: Count = 5
    total_steps: Count = 100000


class Preprocessing(Section):
    """What is done to training images; points are left as they are."""

    apply_rflip: bool = Field(default=True, description="mirror half of the images")


class Augmentation(Section):
    """How images are changed before D sees them twice (`LOSS.apply_cr`, `LOSS.apply_bcr`)."""

    cr_aug_type: Literal["W/O", "cr"] = Field(default="W/O", description="flips and shifts")
    bcr_aug_type: Literal["W/O", "bcr"] = Field(default="W/O", description="flips and shifts")


class StyleGAN(Section):
    """What only StyleGAN2 has."""

    mapping_network: Count = Field(default=8, description="layers of the mapping network")
    style_mixing_p: Annotated[Real, Field(ge=0.0, le=1.0)] = 0.0
    g_reg_interval: Count = Field(default=4, description="steps between two path-length penalties")
    d_reg_interval: Count | None = Field(
        default=None,
        description="D's updates between two R1 penalties; else 1 inside the loop, 16 outside",
    )
    apply_pl_reg: bool = Field(default=False, description="path-length regularisation")
    pl_weight: Weight = 2.0
    g_ema_kimg: Annotated[Real, Field(gt=0.0)] | None = Field(
        default=None, description="half-life of G's average, in thousands of images"
    )
    g_ema_rampup: Annotated[Real, Field(gt=0.0)] | None = Field(
        default=None, description="the half-life is at most this share of the images seen"
    )
    d_architecture: Literal["resnet", "orig", "skip"] = "resnet"
    d_epilogue_mbstd_group_size: Count = 4


class RunSettings(Section):
    """How a run is carried out; what StudioGAN takes as flags."""

    seed: Annotated[Integer, Field(ge=0)] = 0
    sampler: str = Field(default="uniform", description="ours: catalog `samplers`")
    samples: str = Field(default="plain", description="ours: catalog `postprocessors`")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="ours")
    num_workers: Annotated[Integer, Field(ge=0)] = 0
    cpu_threads: Annotated[Integer, Field(ge=0)] = Field(
        default=0, description="ours: threads of torch on a CPU; 0: torch's own choice"
    )
    channels_last: Annotated[Literal["auto", "true", "false"], BeforeValidator(_bool_as_text)] = (
        Field(default="auto", description="ours: convolutions channels-last; auto: if that works")
    )
    cudnn_benchmark: bool = Field(
        default=False,
        description="ours: cuDNN times its algorithms and takes the fastest; not bit-reproducible",
    )
    print_freq: Count = Field(default=100, description="steps between two log lines")
    sample_freq: Annotated[Integer, Field(ge=0)] = Field(
        default=0, description="ours: steps between two sample grids; 0: ten in all"
    )
    save_freq: Annotated[Integer, Field(ge=0)] = Field(
        default=2000, description="steps between two checkpoints; 0: only at the end"
    )
    save_minutes: Annotated[Real, Field(ge=0)] = Field(
        default=5.0, description="ours: a checkpoint also after so many minutes without; 0: none"
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no", description="networks in half precision, losses and penalties in float32"
    )
    keep_checkpoints: Count = Field(default=2, description="ours: checkpoints kept, newest first")
    num_eval: Count = Field(default=10000, description="ours: samples generated for the evaluation")
    eval_metrics: list[str] = Field(
        default=[], description="ours: catalog `metrics`, measured at the end of the training"
    )
    eval_features: str = Field(default="auto", description="ours: catalog `features`, or a file")
    eval_kept: bool = Field(
        default=True, description="ours: also measure the generators that plugins kept"
    )
    stop_on: Annotated[list[str], AfterValidator(_known_stops)] = Field(
        default=[], description="ours: signs of sick training that end it (--stop-on)"
    )


class Config(Section):
    """A whole configuration."""

    DATA: Data = Data()
    MODEL: Model = Model()
    LOSS: Loss = Loss()
    OPTIMIZATION: Optimization = Optimization()
    PRE: Preprocessing = Preprocessing()
    AUG: Augmentation = Augmentation()
    STYLEGAN: StyleGAN = StyleGAN()
    RUN: RunSettings = RunSettings()
    PLUGINS: dict[str, dict[str, Any]] = Field(default_factory=dict)
