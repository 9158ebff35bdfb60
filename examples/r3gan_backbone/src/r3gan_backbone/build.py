"""From a configuration to networks."""

from functools import partial

from gan_registry import Backbone, UserError
from r3gan_backbone.networks import Discriminator, Generator

DEFAULTS = {"blocks": 2, "group_size": 8}
"""Residual blocks of a stage; channels of a group of the 3×3 convolutions."""


def build(config, sample_shape, num_classes, seed):
    """Builds the backbone from `MODEL.z_dim`, `g_conv_dim`, `d_conv_dim` and `MODEL.options`."""
    size = sample_shape[-1]
    if len(sample_shape) != 3 or sample_shape[1] != size or size not in (8, 16, 32, 64, 128, 256):
        raise UserError(
            "MODEL.backbone r3gan takes square images of 8, 16, 32, … 256 px, not samples of "
            f"shape {tuple(sample_shape)}."
        )
    model = config.MODEL
    options = {**DEFAULTS, **model.options}
    for name, value in options.items():
        if name not in DEFAULTS:
            raise UserError(f"MODEL.options of r3gan are {', '.join(DEFAULTS)}, not {name!r}.")
        if type(value) is not int or value < 1:
            raise UserError(f"MODEL.options.{name} must be a whole number from 1, not {value!r}.")
    for name in ("g_conv_dim", "d_conv_dim"):
        if getattr(model, name) % options["group_size"]:
            raise UserError(
                f"MODEL.{name} = {getattr(model, name)} must be a multiple of the "
                f"{options['group_size']} of MODEL.options.group_size."
            )
    shared = {"size": size, **options}
    channels = sample_shape[0]
    return Backbone(
        partial(
            Generator, z_dim=model.z_dim, width=model.g_conv_dim, out_channels=channels, **shared
        ),
        partial(
            Discriminator, width=model.d_conv_dim, in_channels=channels, out_features=1, **shared
        ),
        z_dim=model.z_dim,
        z_prior=model.z_prior,
        seed=seed,
    )
