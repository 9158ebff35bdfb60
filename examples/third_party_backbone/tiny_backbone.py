"""A backbone of one's own: two small networks, registered by an entry point."""

from functools import partial

from torch import nn

from gan_registry import Backbone, hookimpl


class Generator(nn.Sequential):
    def __init__(self, z_dim, size, width=64):
        super().__init__(nn.Linear(z_dim, width), nn.ReLU(), nn.Linear(width, size))

    def forward(self, z, y=None):
        return super().forward(z)


class Discriminator(nn.Sequential):
    def __init__(self, in_features, width=64):
        super().__init__(nn.Linear(in_features, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, x, y=None):
        return super().forward(x)


def build(config, sample_shape, num_classes, seed):
    z_dim, (size,) = config.MODEL.z_dim, sample_shape
    return Backbone(
        partial(Generator, z_dim=z_dim, size=size),
        partial(Discriminator, in_features=size),
        z_dim=z_dim,
        seed=seed,
    )


@hookimpl
def gan_register(catalogs):
    catalogs.backbones.register("tiny", build)
