"""`diagan studiogan`: reads the command line and hands over. Free of torch."""

from __future__ import annotations

import argparse
from typing import Any

from diagan_plugin.hosts.kit.commands import host_command
from diagan_plugin.hosts.kit.settings import PLAIN
from diagan_plugin.hosts.studiogan.settings import Settings
from gan_registry.config.settings import options_as_yaml
from gan_registry.errors import UserError, unknown_name
from gan_registry.plugins import PluginManager

ROOT_VARIABLE = "STUDIOGAN_ROOT"


def add_command(commands: Any) -> None:
    """Adds the subcommand."""
    parser, plugins = host_command(
        commands, "studiogan", "StudioGAN", "StudioGAN", checkout=("--studiogan", ROOT_VARIABLE),
        fresh="start anew where the same command was interrupted",
        help="run your checkout of PyTorch-StudioGAN with plugins",
        description="Run your own checkout of PyTorch-StudioGAN, its source untouched, with "
        "plugins. What stands after -- is passed on unchanged. The same command continues a "
        "training that was interrupted.",
    )  # fmt: skip
    parser.add_argument(
        "--samples", default=PLAIN,
        help="post-processor that corrects samples after training (default: plain)",
    )  # fmt: skip
    parser.set_defaults(handler=lambda arguments: run(arguments, plugins))


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from diagan_plugin.hosts.studiogan.arguments import (
        check_arguments,
        checkpoint_folder,
        save_folder,
        trains,
    )
    from diagan_plugin.hosts.studiogan.record import find_interrupted
    from diagan_plugin.hosts.studiogan.seams import verify

    if arguments.studiogan is None:
        raise UserError(f"--studiogan CHECKOUT is missing (or set {ROOT_VARIABLE}).")
    source = verify(arguments.studiogan)
    own = list(arguments.arguments)
    check_arguments(own)
    for catalog, name in (
        (plugins.catalogs.samplers, arguments.sampler),
        (plugins.catalogs.postprocessors, arguments.samples),
    ):
        if name not in catalog:
            raise unknown_name(catalog.kind, name, catalog)
    options = plugins.options.resolve({}, vars(arguments))
    command = {
        "arguments": own,
        "sampler": arguments.sampler,
        "options": options_as_yaml(options),
    }
    if trains(own) and checkpoint_folder(own) is None and not arguments.fresh:
        interrupted = find_interrupted(save_folder(own), command)
        if interrupted is not None:
            folder, step = interrupted
            print(f"continuing {folder} from step {step} (--fresh starts anew)", flush=True)
            own = [*own, "-ckpt", str(folder)]

    from diagan_plugin.hosts.studiogan.launcher import launch

    return launch(
        Settings(
            source=str(source),
            sampler=arguments.sampler,
            samples=arguments.samples,
            options=options,
            arguments=tuple(own),
            command=command,
        )
    )
