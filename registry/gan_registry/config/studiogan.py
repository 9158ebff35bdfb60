"""What StudioGAN's configurations can ask for that the host does not support, and what is off.

StudioGAN (Kang et al., 2023; github.com/POSTECH-CVLab/PyTorch-StudioGAN, src/config.py) rejects a
key that it does not know. So does the host, but it tells three cases apart: a key of its own
(:mod:`gan_registry.config.schema`), one of StudioGAN's that nothing here acts on, and a slip. One
of StudioGAN's is passed over where it has the value that means "off", or only says how a feature
that is off would work; a plugin may claim it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

from gan_registry.config.schema import Config

STYLE_BACKBONES = ("stylegan2", "stylegan3")
NAMES = {"CIFAR1000": "CIFAR100"}
"""Slips in the `DATA.name` of StudioGAN's own files."""

# How StudioGAN's style backbones take labels, and what is closest elsewhere.
_STYLE_METHODS = (("MODEL.g_cond_mtd", "cAdaIN", "cBN"), ("MODEL.d_cond_mtd", "SPD", "PD"))
_AUGMENTED = ("cr", "bcr")
_SWITCH = "set it to false"
_PLUGIN = "no loaded plugin supports it"


class Feature(NamedTuple):
    """Something that StudioGAN does and the host does not.

    Attributes:
        key: `SECTION.key` that asks for it.
        remedy: What to do instead.
        off: Values that do not ask for it, where the key is StudioGAN's only.
        on: Values that ask for it, where the key is the host's as well.
        parameters: Keys of StudioGAN's only that mean nothing without it.
    """

    key: str
    remedy: str
    off: tuple[Any, ...] = ()
    on: tuple[Any, ...] = ()
    parameters: tuple[str, ...] = ()

    def is_asked_for(self, value: Any) -> bool:
        """Tells whether a value of the key asks for the feature; None stands for no value."""
        if value is None:
            return False
        return value in self.on if self.on else value not in self.off


class Unsupported(NamedTuple):
    """Something that a configuration asks for in vain.

    Attributes:
        key: `SECTION.key`.
        value: Its value.
        remedy: What to do instead.
        parameters: `SECTION.key` → value of the keys that belong to it.
    """

    key: str
    value: Any
    remedy: str
    parameters: Mapping[str, Any] = {}

    def __str__(self) -> str:
        """Returns all keys with their values, and the remedy."""
        details = ", ".join(f"{key} = {value!r}" for key, value in self.parameters.items())
        details = f" with {details}" if details else ""
        return f"{self.key} = {self.value!r}{details} ({self.remedy})"


FEATURES = (
    Feature("DATA.img_channels", "leave it out, the dataset decides", off=(3,)),
    Feature(
        "MODEL.backbone",
        "use big_resnet",
        on=("big_resnet_deep_legacy", "big_resnet_deep_studiogan"),
        parameters=("MODEL.g_depth", "MODEL.d_depth"),
    ),
    Feature(
        "MODEL.backbone",
        "use stylegan2",
        on=("stylegan3",),
        parameters=("STYLEGAN.stylegan3_cfg", "STYLEGAN.blur_init_sigma"),
    ),
    Feature(
        "MODEL.d_cond_mtd",
        "use W/O, AC, PD or MH",
        on=("2C", "D2DCE", "MD"),
        parameters=("MODEL.d_embed_dim", "LOSS.m_p", "LOSS.temperature"),
    ),
    Feature(
        "MODEL.aux_cls_type",
        "set it to W/O",
        off=("W/O",),
        parameters=("LOSS.tac_gen_lambda", "LOSS.tac_dis_lambda"),
    ),
    Feature(
        "MODEL.info_type",
        "leave it out",
        parameters=(
            "MODEL.g_info_injection",
            "MODEL.info_num_discrete_c",
            "MODEL.info_dim_discrete_c",
            "MODEL.info_num_conti_c",
            "LOSS.infoGAN_loss_discrete_lambda",
            "LOSS.infoGAN_loss_conti_lambda",
        ),
    ),
    Feature(
        "LOSS.apply_lo",
        _SWITCH,
        off=(False,),
        parameters=(
            "LOSS.lo_alpha",
            "LOSS.lo_beta",
            "LOSS.lo_rate",
            "LOSS.lo_lambda",
            "LOSS.lo_steps4train",
            "LOSS.lo_steps4eval",
        ),
    ),
    Feature(
        "LOSS.apply_topk", _PLUGIN, off=(False,), parameters=("LOSS.topk_gamma", "LOSS.topk_nu")
    ),
    Feature(
        "OPTIMIZATION.type_",
        "use Adam",
        on=("SGD", "RMSprop"),
        parameters=("OPTIMIZATION.momentum", "OPTIMIZATION.nesterov", "OPTIMIZATION.alpha"),
    ),
    Feature("AUG.apply_diffaug", _SWITCH, off=(False,), parameters=("AUG.diffaug_type",)),
    Feature(
        "AUG.apply_ada",
        _SWITCH,
        off=(False,),
        parameters=(
            "AUG.ada_aug_type",
            "AUG.ada_initial_augment_p",
            "AUG.ada_target",
            "AUG.ada_kimg",
            "AUG.ada_interval",
        ),
    ),
    Feature(
        "AUG.apply_apa",
        _SWITCH,
        off=(False,),
        parameters=(
            "AUG.apa_initial_augment_p",
            "AUG.apa_target",
            "AUG.apa_kimg",
            "AUG.apa_interval",
        ),
    ),
    Feature(
        "STYLEGAN.cond_type", "leave it out", off=(["PD", "SPD", "2C", "D2DCE"],)
    ),
)  # fmt: skip


def _only_studiogans() -> dict[str, frozenset[str]]:
    keys: dict[str, set[str]] = {section: set() for section in Config.model_fields}
    for feature in FEATURES:
        for key in ((feature.key,) if not feature.on else ()) + feature.parameters:
            section, _, name = key.partition(".")
            keys[section].add(name)
    return {section: frozenset(names) for section, names in keys.items()}


UNSUPPORTED_KEYS = _only_studiogans()
"""Section → the keys that StudioGAN has there and the host does not."""


def known_keys(section: str) -> frozenset[str]:
    """Returns the keys of a section, the host's and StudioGAN's."""
    host = getattr(Config.model_fields[section].annotation, "model_fields", {})
    return UNSUPPORTED_KEYS[section] | frozenset(host)


def without_absent(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy without the keys that have StudioGAN's value for "none", "N/A".

    What is no mapping of a section's keys is left as it is.
    """
    present: dict[str, Any] = {}
    for section, values in content.items():
        if section in UNSUPPORTED_KEYS and isinstance(values, Mapping):
            known = known_keys(section)
            values = {
                key: value
                for key, value in values.items()
                if key not in known or value not in ("N/A", ["N/A"])
            }
        present[section] = values
    return present


def find_unsupported(
    content: Mapping[str, Any], claims: Container[str] = (), backbones: Container[str] = ()
) -> list[Unsupported]:
    """Lists what a configuration asks for that neither the host nor a plugin supports.

    Args:
        content: Section → key → value, without "N/A".
        claims: `SECTION.key` of the keys that plugins understand.
        backbones: Names of the backbones that come from plugins.
    """
    found = []
    for feature in FEATURES:
        value = value_of(content, feature.key)
        if not feature.is_asked_for(value) or _is_plugins(feature, value, backbones):
            continue
        parameters = {
            key: given
            for key in feature.parameters
            if key not in claims and (given := value_of(content, key)) is not None
        }
        if feature.key not in claims:
            found.append(Unsupported(feature.key, value, feature.remedy, parameters))
            continue
        remedy = f"the plugin that supports {feature.key} does not take it"
        found += [Unsupported(key, given, remedy) for key, given in parameters.items()]
    return found + list(_values_of_two_keys(content, backbones))


def _values_of_two_keys(
    content: Mapping[str, Any], backbones: Container[str]
) -> Iterator[Unsupported]:
    backbone = value_of(content, "MODEL.backbone") or "resnet"
    if backbone not in backbones:
        styles = backbone in STYLE_BACKBONES
        for key, method, instead in _STYLE_METHODS:
            if value_of(content, key) == method and backbone != "nvlabs":
                remedy = "W/O, or MODEL.backbone=nvlabs" if styles else instead
                yield Unsupported(key, method, f"use {remedy}")
        architecture = value_of(content, "STYLEGAN.d_architecture")
        if backbone == "stylegan2" and architecture not in (None, "resnet"):
            remedy = "use resnet, or MODEL.backbone=nvlabs"
            yield Unsupported("STYLEGAN.d_architecture", architecture, remedy)
    for kind in _AUGMENTED:
        key = f"AUG.{kind}_aug_type"
        value = value_of(content, key)
        if value_of(content, f"LOSS.apply_{kind}") and value not in (None, "W/O", kind):
            yield Unsupported(key, value, f"use {kind}")


def _is_plugins(feature: Feature, value: Any, backbones: Container[str]) -> bool:
    return feature.key == "MODEL.backbone" and value in backbones


def supported_part(content: Mapping[str, Any], backbones: Container[str] = ()) -> dict[str, Any]:
    """Returns what is left for the host's schema to check: its own keys, and slips.

    Takes what :func:`find_unsupported` does.
    """
    part: dict[str, Any] = {}
    for section, values in content.items():
        if section in UNSUPPORTED_KEYS and isinstance(values, Mapping):
            values = {k: v for k, v in values.items() if k not in UNSUPPORTED_KEYS[section]}
        part[section] = values
    for feature in FEATURES:
        value = value_of(part, feature.key)
        if value in feature.on and not _is_plugins(feature, value, backbones):
            section, _, name = feature.key.partition(".")
            part[section] = {k: v for k, v in part[section].items() if k != name}
    for kind in _AUGMENTED:  # a type of augmentation that nothing applies, or refused above
        if value_of(part, f"AUG.{kind}_aug_type") not in (None, "W/O", kind):
            part["AUG"] = {k: v for k, v in part["AUG"].items() if k != f"{kind}_aug_type"}
    return part


def value_of(content: Mapping[str, Any], key: str) -> Any:
    """Returns the value of `SECTION.key`, or None if it is not given."""
    section, _, name = key.partition(".")
    values = content.get(section)
    return values.get(name) if isinstance(values, Mapping) else None
