"""`diagan nvlabs`: reads the command line and hands over. Free of torch."""

from __future__ import annotations

import argparse
from typing import Any

from diagan_plugin.hosts.kit.commands import host_command
from gan_registry.errors import UserError, unknown_name
from gan_registry.plugins import PluginManager

ROOT_VARIABLE = "NVLABS_REPO"


def add_command(commands: Any) -> None:
    """Adds the subcommand."""
    parser, plugins = host_command(
        commands, "nvlabs", "the trainer", "train.py", checkout=("--repo", ROOT_VARIABLE),
        fresh="start the plugins anew, whatever lies beside the snapshot of --resume",
        help="run your checkout of StyleGAN2-ADA, StyleGAN3 or R3GAN with plugins",
        description="Run your own checkout of stylegan2-ada-pytorch, stylegan3 or R3GAN, its "
        "source untouched, with plugins. What stands after -- goes to its train.py unchanged.",
    )  # fmt: skip
    parser.set_defaults(handler=lambda arguments: run(arguments, plugins))


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from diagan_plugin.hosts.nvlabs.checkout import trainer_of
    from diagan_plugin.hosts.nvlabs.settings import NvlabsSettings

    if arguments.repo is None:
        raise UserError(f"--repo CHECKOUT is missing (or set {ROOT_VARIABLE}).")
    trainer_of(arguments.repo)
    if not arguments.arguments:
        raise UserError("Give the arguments of train.py after --, e.g. -- --outdir=out --data=…")
    samplers = plugins.catalogs.samplers
    if arguments.sampler not in samplers:
        raise unknown_name(samplers.kind, arguments.sampler, samplers)
    options = plugins.options.resolve({}, vars(arguments))

    from diagan_plugin.hosts.nvlabs.launcher import launch

    return launch(
        NvlabsSettings(
            checkout=str(arguments.repo.resolve()),
            sampler=arguments.sampler,
            options=options,
            arguments=tuple(arguments.arguments),
            fresh=arguments.fresh,
        )
    )
