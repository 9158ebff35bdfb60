"""Pairs of generator and discriminator, built by name from a configuration."""

from __future__ import annotations

BUILTIN = {
    "dcgan": "gan_registry.backbones.dcgan:build_dcgan",
    "mlp": "gan_registry.backbones.mlp:build_mlp",
}
