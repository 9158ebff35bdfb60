"""Which values of different keys go together: StudioGAN's rules, and what would only fail later."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from gan_registry.backbones import BUILTIN
from gan_registry.config.schema import Model
from gan_registry.config.studiogan import STYLE_BACKBONES, value_of

# Backbones whose D has spectral norm only if MODEL.apply_d_sn says so.
_UNBOUNDED = frozenset({"resnet", "big_resnet", "deep_conv", "dcgan", "mlp", "mnist_dcgan"})
_BOUNDS = ("gp", "dra", "maxgp", "wc", "r1_reg")


_SMALL = frozenset({"mlp", "dcgan", "cnn_gan", "mnist_dcgan", "sngan", "ssgan"})
_STUDIOGANS = frozenset({"resnet", "big_resnet", "deep_conv"})
_STYLES = frozenset({"stylegan2", "nvlabs"})
_FIXED_NORM = _STUDIOGANS | _STYLES | {"cnn_gan", "mnist_dcgan", "sngan", "ssgan"}
_UNREAD = {
    "g_cond_mtd": frozenset({"mlp", "dcgan"}),
    "d_cond_mtd": frozenset({"mlp", "dcgan"}),
    "apply_attn": _SMALL,
    "g_act_fn": _SMALL,
    "d_act_fn": _SMALL,
    "apply_g_sn": frozenset({"sngan", "ssgan"}),
    "g_bn": _FIXED_NORM,
    "d_bn": _FIXED_NORM,
    "d_dropout": _STUDIOGANS | _STYLES | {"sngan", "ssgan"},
}
"""Key of MODEL that changes what the networks are → the backbones that would pass it over."""


def find_conflicts(content: Mapping[str, Any], backbones: Container[str] = ()) -> list[str]:
    """Lists the values that exclude each other, each with the remedy.

    Args:
        content: Section → key → value as given, valid or not; what is not given has its default.
        backbones: Backbones of plugins, to which the rules of StudioGAN's do not apply.
    """
    return [
        *_losses(content),
        *_unread(content, backbones),
        *_networks(content, backbones),
    ]


def _losses(content: Mapping[str, Any]) -> Iterator[str]:
    adv_loss = value_of(content, "LOSS.adv_loss")
    if (adv_loss == "MH") != (value_of(content, "MODEL.d_cond_mtd") == "MH"):
        yield "LOSS.adv_loss = 'MH' and MODEL.d_cond_mtd = 'MH' need each other (set both or none)"
    backbone = value_of(content, "MODEL.backbone") or "resnet"
    if adv_loss == "wasserstein" and backbone in _UNBOUNDED:
        given = (value_of(content, f"LOSS.apply_{name}") for name in _BOUNDS)
        if not any((*given, value_of(content, "MODEL.apply_d_sn"))):
            yield (
                "LOSS.adv_loss = 'wasserstein' needs a bound on D's slope (set LOSS.apply_gp or "
                "LOSS.apply_wc to true)"
            )
    for kind in ("cr", "bcr"):
        augmentation = value_of(content, f"AUG.{kind}_aug_type")
        if value_of(content, f"LOSS.apply_{kind}") and augmentation in (None, "W/O"):
            yield f"LOSS.apply_{kind} = True needs an augmentation (set AUG.{kind}_aug_type={kind})"


def _unread(content: Mapping[str, Any], backbones: Container[str]) -> Iterator[str]:
    backbone = value_of(content, "MODEL.backbone") or "resnet"
    if not isinstance(backbone, str) or backbone in backbones:
        return
    if value_of(content, "MODEL.options") and backbone in BUILTIN:
        yield f"MODEL.options are a plugin's backbone's, and {backbone} has none (set it to {{}})"
    for name, without in _UNREAD.items():
        key, default = f"MODEL.{name}", Model.model_fields[name].default
        value = value_of(content, key)
        # The default stands for no choice: a resolved configuration spells it out.
        if value not in (None, default) and backbone in without:
            plain = str(default).lower() if isinstance(default, bool) else default
            yield f"{key} = {value!r} is not for {backbone} (set it to {plain})"


def _networks(content: Mapping[str, Any], backbones: Container[str]) -> Iterator[str]:
    backbone = value_of(content, "MODEL.backbone")
    if backbone not in STYLE_BACKBONES or backbone in backbones:
        return
    for key in ("MODEL.g_act_fn", "MODEL.d_act_fn"):
        # The default, ReLU, stands for no choice: a resolved configuration spells it out.
        activation = value_of(content, key)
        if activation not in (None, "Auto", "ReLU"):
            yield f"{key} = {activation!r} is not for {backbone} (set it to Auto)"
    for key in ("MODEL.apply_g_sn", "MODEL.apply_d_sn"):
        if value_of(content, key):
            yield f"{key} = True is not for {backbone} (set it to false)"
    if value_of(content, "MODEL.g_cond_mtd") == "cBN":
        yield f"MODEL.g_cond_mtd = 'cBN' is not for {backbone} (set it to W/O)"
    lazily = value_of(content, "LOSS.r1_place") == "outside_loop"
    if value_of(content, "LOSS.apply_r1_reg") and not lazily:
        yield (
            f"LOSS.apply_r1_reg = True with {backbone} is computed lazily, in a step of its own "
            "(set LOSS.r1_place=outside_loop)"
        )
