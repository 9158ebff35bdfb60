"""R3GAN's networks as the backbone `r3gan`. Free of torch, as it is imported by `--help`."""

from gan_registry import hookimpl


@hookimpl
def gan_register(catalogs):
    catalogs.backbones.register("r3gan", "r3gan_backbone.build:build")
