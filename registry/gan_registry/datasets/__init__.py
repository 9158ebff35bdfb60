"""Datasets, chosen by name (`DATA.name`).

A builder is a function `(config, data_dir) -> Dataset`. It reads `name`, `img_size` and `options`
of the section DATA of the configuration; `data_dir` is the folder or file of the data, with ~ as
the user's home, which those that are computed do not use. It raises a UserError where an option is
unknown or its value not allowed, where the size of the images is not supported, and where files are
missing or damaged.
"""

from __future__ import annotations

_FOLDER = "gan_registry.datasets.image_folder:build_image_folder"
_UNLABELLED = "gan_registry.datasets.image_folder:build_unlabelled_folder"

BUILTIN = {
    "AFHQ": _FOLDER,
    "AFHQv2": _FOLDER,
    "arrays_file": "gan_registry.datasets.arrays_file:build_arrays_file",
    "Baby_ImageNet": _FOLDER,
    "CIFAR10": "gan_registry.datasets.cifar:build_cifar",
    "CIFAR100": "gan_registry.datasets.cifar:build_cifar",
    "CUB200": _FOLDER,
    "CelebA": "gan_registry.datasets.celeba:build_celeba",
    "colored_digits": "gan_registry.datasets.colored_digits:build_colored_digits",
    "colored_mnist": "gan_registry.datasets.colored_mnist:build_colored_mnist",
    "FFHQ": _UNLABELLED,
    "FFHQ_lmdb": "gan_registry.datasets.lmdb_images:build_lmdb",
    "FashionMNIST": "gan_registry.datasets.mnist:build_mnist",
    "gaussian": "gan_registry.datasets.gaussian:build_gaussian",
    "gaussian_mixture": "gan_registry.datasets.gaussian_mixtures:build_gaussian_mixture",
    "gmm25": "gan_registry.datasets.mixtures:build_gmm25",
    "Grandpa_ImageNet": _FOLDER,
    "image_folder": _FOLDER,
    "ImageNet": _FOLDER,
    "LSUN": "gan_registry.datasets.lmdb_images:build_lmdb",
    "MNIST": "gan_registry.datasets.mnist:build_mnist",
    "mnist_fmnist": "gan_registry.datasets.mnist_fmnist:build_mnist_fmnist",
    "Papa_ImageNet": _FOLDER,
    "random_network": "gan_registry.datasets.random_network:build_random_network",
    "Tiny_ImageNet": _FOLDER,
}
