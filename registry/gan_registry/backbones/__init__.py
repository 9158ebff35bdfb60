"""Pairs of generator and discriminator, built by name from a configuration.

A builder is a function `(config, sample_shape, num_classes, seed) -> Backbone`. It reads section
MODEL of the configuration (its module says which keys), and LOSS.cond_lambda where D can take
labels; `sample_shape` is that of a sample of the dataset, `num_classes` the number of classes of
its labels, and the initial weights follow from `seed`.
"""

from __future__ import annotations

BUILTIN = {
    "big_resnet": "gan_registry.backbones.big_resnet:build_big_resnet",
    "cnn_gan": "gan_registry.backbones.cnn_gan:build_cnn_gan",
    "dcgan": "gan_registry.backbones.dcgan:build_dcgan",
    "deep_conv": "gan_registry.backbones.deep_conv:build_deep_conv",
    "mlp": "gan_registry.backbones.mlp:build_mlp",
    "mnist_dcgan": "gan_registry.backbones.mnist_dcgan:build_mnist_dcgan",
    "nvlabs": "gan_registry.backbones.stylegan2.nvlabs:build_nvlabs",
    "resnet": "gan_registry.backbones.resnet:build_resnet",
    "sngan": "gan_registry.backbones.sngan:build_sngan",
    "ssgan": "gan_registry.backbones.ssgan:build_ssgan",
    "stylegan2": "gan_registry.backbones.stylegan2.lucidrains:build_stylegan2",
}
