"""`diagan sample`: corrected samples from a snapshot of an NVlabs trainer. Free of torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagan_plugin.hosts.kit.commands import add_checkout
from diagan_plugin.hosts.nvlabs.command import ROOT_VARIABLE
from gan_registry.errors import UserError, unknown_name
from gan_registry.formatting import printable
from gan_registry.plugins import PluginManager

if TYPE_CHECKING:
    import torch

    from diagan_plugin.hosts.kit.run import HostRun
    from diagan_plugin.hosts.nvlabs.checkout import Trainer


def add_command(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "sample", allow_abbrev=False,
        help="write corrected samples from a snapshot of StyleGAN2-ADA, StyleGAN3 or R3GAN",
        description="Write samples of a snapshot that 'diagan nvlabs' has left, corrected by what "
        "its plugins have learnt: an .npz file with the array x, or a folder of PNG files.",
    )  # fmt: skip
    parser.add_argument(
        "--nvlabs", required=True, metavar="PKL", type=Path, help="the snapshot: a pickle"
    )
    add_checkout(parser, "--repo", ROOT_VARIABLE, "the checkout that it was trained with")
    parser.add_argument(
        "--run", metavar="DIR", type=Path,
        help="folder with the plugins' state of that snapshot (default: where the snapshot lies)",
    )  # fmt: skip
    parser.add_argument("--num", required=True, metavar="N", type=int, help="how many")
    parser.add_argument(
        "--out", required=True, metavar="FILE.npz|DIR", type=Path, help="where to write them"
    )
    parser.add_argument("--samples", default="drs", help="post-processor (default: drs)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which draw (default: 1)")
    parser.add_argument(
        "--trust", action="store_true",
        help="run the code in the snapshot: pickles are programs; only for those of your own",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Carries out the subcommand."""
    from diagan_plugin.hosts.nvlabs.checkout import trainer_of

    snapshot: Path = arguments.nvlabs
    if arguments.repo is None:
        raise UserError(f"--repo CHECKOUT is missing (or set {ROOT_VARIABLE}).")
    trainer = trainer_of(arguments.repo)
    if not snapshot.is_file():
        raise UserError(f"--nvlabs {snapshot}: there is no such file.")
    for name, least in (("num", 1), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name} must be at least {least}.")
    plugins = PluginManager()
    catalog = plugins.catalogs.postprocessors
    if arguments.samples not in catalog:
        raise unknown_name(catalog.kind, arguments.samples, catalog)
    if not arguments.trust:
        raise UserError(
            f"{snapshot} is a pickle, and opening one runs whatever code its author put there; "
            "add --trust if you made it or trust whoever did."
        )

    import torch

    from diagan_plugin.hosts.kit.launching import checkout_modules
    from diagan_plugin.hosts.nvlabs.checkout import MODULES
    from diagan_plugin.hosts.nvlabs.compat import the_past
    from gan_registry.evaluation.sample_files import write_samples

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with the_past(), checkout_modules(trainer.name, str(arguments.repo.resolve()), MODULES):
        live = open_snapshot(trainer, snapshot, arguments.run, plugins, device)
        source = catalog[arguments.samples](live, arguments.seed)
        write_samples(source, arguments.num, arguments.out, live.dataset)
    facts = ", ".join(f"{name} {value:.4g}" for name, value in source.statistics().items())
    said = f"wrote {arguments.num} samples to {arguments.out}"
    print(printable(said + (f" ({facts})" if facts else "")))
    return 0


def open_snapshot(
    trainer: Trainer, snapshot: Path, folder: Path | None, plugins: PluginManager,
    device: torch.device,
) -> HostRun:  # fmt: skip
    """Opens a snapshot with what plugins had added to its training. Runs the code in it.

    Args:
        trainer: Whose snapshot it is; its modules can be imported.
        snapshot: The pickle.
        folder: Where the plugins' state lies; beside the snapshot by default.
        plugins: The plugins.
        device: Where to put the networks.

    Raises:
        UserError: There is no state of the plugins, or it is of another trainer.
    """
    import importlib

    import torch

    from diagan_plugin.hosts.kit.dataset import AbsentDataset
    from diagan_plugin.hosts.kit.settings import Settings
    from diagan_plugin.hosts.kit.state import read_file
    from diagan_plugin.hosts.nvlabs.networks import host_networks
    from diagan_plugin.hosts.nvlabs.settings import state_path
    from diagan_plugin.hosts.nvlabs.setup import set_up

    path = state_path(str(snapshot if folder is None else folder / snapshot.name))
    try:
        state = read_file(path, "take another snapshot")
    except FileNotFoundError:
        raise UserError(
            f"There is no {path}: only 'diagan nvlabs' leaves one; name its folder with --run."
        ) from None
    host = state["host"]
    if host["trainer"] != trainer.name:
        raise UserError(f"{snapshot} is of {host['trainer']}, but --repo is of {trainer.name}.")
    with snapshot.open("rb") as file:
        content = importlib.import_module("legacy").load_network_pkl(file)
    networks = [content[name].to(device) for name in ("G", "D", "G_ema")]
    dataset = AbsentDataset(trainer.name, host["num_samples"], state["fingerprint"])
    dataset.sample_shape, dataset.num_classes = tuple(host["shape"]), host["classes"]
    asked = Settings(
        sampler=state["sampler_name"], options=host["options"], loss=trainer.loss,
        seed=state["seed"], plugins=plugins,
    )  # fmt: skip
    session = set_up(
        trainer, asked, dataset, piece=1, total_steps=host["total_steps"], device=device,
        keywords={"batch_size": host["batch"], "loss_kwargs": {}},
    )  # fmt: skip
    live = session.run
    generator, discriminator, average = networks
    session.networks(host_networks(trainer, generator, discriminator, average, live.seed))
    live.optimizers = {"discriminator": torch.optim.Adam(discriminator.parameters())}
    session.restore(state)
    return live
