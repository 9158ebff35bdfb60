"""The sections and keys of a configuration, with StudioGAN's names and defaults.

Keys that StudioGAN does not have are marked "ours".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value: Any) -> Any:
    # Python counts true as 1; in a configuration it is a slip.
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


Integer = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[Integer, Field(ge=1)]


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


class Model(Section):
    """The networks."""

    backbone: str = "resnet"
    g_cond_mtd: Literal["W/O"] = "W/O"
    d_cond_mtd: Literal["W/O"] = "W/O"
    z_prior: Literal["gaussian", "uniform"] = "gaussian"
    z_dim: Count = 128
    g_conv_dim: Count = 64
    d_conv_dim: Count = 64
    apply_g_sn: bool = False
    apply_d_sn: bool = False
    apply_g_ema: bool = False
    g_ema_decay: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.9999
    g_ema_start: Annotated[Integer, Field(ge=0)] = 0
    g_init: Literal["N(0.02)", "default"] = Field(default="default", description="ours")
    d_init: Literal["N(0.02)", "default"] = Field(default="default", description="ours")
    g_bn: bool = Field(default=True, description="ours: batch norm in G")
    d_bn: bool = Field(default=False, description="ours: batch norm in D")
    d_dropout: Annotated[Real, Field(ge=0.0, lt=1.0)] = Field(default=0.0, description="ours")
    hidden_dim: Count = Field(default=128, description="ours: width of the mlp backbone")
    num_layers: Count = Field(default=3, description="ours: hidden layers of the mlp backbone")


class Loss(Section):
    """The adversarial loss."""

    adv_loss: str = "vanilla"


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
    d_first: bool = True
    g_updates_per_step: Count = 1
    d_updates_per_step: Count = 5
    total_steps: Count = 100000


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
    print_freq: Count = Field(default=100, description="steps between two log lines")
    sample_freq: Annotated[Integer, Field(ge=0)] = Field(
        default=0, description="ours: steps between two sample grids; 0: ten in all"
    )
    save_freq: Annotated[Integer, Field(ge=0)] = Field(
        default=2000, description="steps between two checkpoints; 0: only at the end"
    )
    keep_checkpoints: Count = Field(default=2, description="ours: checkpoints kept, newest first")
    num_eval: Count = Field(default=10000, description="ours: samples generated for the evaluation")


class Config(Section):
    """A whole configuration."""

    DATA: Data = Data()
    MODEL: Model = Model()
    LOSS: Loss = Loss()
    OPTIMIZATION: Optimization = Optimization()
    RUN: RunSettings = RunSettings()
    PLUGINS: dict[str, dict[str, Any]] = Field(default_factory=dict)
