"""`diagan studiogan`: reads the command line and hands over. Free of torch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.studiogan.settings import PLAIN, UNIFORM, Settings
from gan_registry.errors import UserError, unknown_name
from gan_registry.plugins import PluginManager

ROOT_VARIABLE = "STUDIOGAN_ROOT"


def add_command(commands: Any) -> None:
    """Adds the subcommand."""
    plugins = PluginManager()
    parser = commands.add_parser(
        "studiogan", parents=[plugins.parser], allow_abbrev=False,
        usage="diagan studiogan --studiogan CHECKOUT [OPTION …] -- STUDIOGAN'S OWN ARGUMENTS",
        help="run your checkout of PyTorch-StudioGAN with plugins",
        description="Run your own checkout of PyTorch-StudioGAN, its source untouched, with "
        "plugins. What stands after -- is passed on unchanged. The same command continues a "
        "training that was interrupted.",
    )  # fmt: skip
    parser.hint = plugins.skipped_hint()
    parser.add_argument(
        "--studiogan", metavar="CHECKOUT", type=Path,
        default=os.environ.get(ROOT_VARIABLE) or None,
        help=f"folder of the checkout (default: {ROOT_VARIABLE})",
    )  # fmt: skip
    parser.add_argument(
        "--sampler", default=UNIFORM,
        help="how training samples are drawn (default: uniform, StudioGAN's own)",
    )  # fmt: skip
    parser.add_argument(
        "--samples", default=PLAIN,
        help="post-processor that corrects samples after training (default: plain)",
    )  # fmt: skip
    parser.add_argument(
        "--fresh", action="store_true", help="start anew where the same command was interrupted"
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="-- ARGUMENT", help="StudioGAN's own arguments"
    )
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
        "options": {p: {n: _plain(v) for n, v in o.items()} for p, o in options.items()},
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


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
