"""`diagan doctor`: what is installed, what is loaded, and what will not work here, and why.

A host is imported only to look at its seams, and only where it is installed; nothing of it is
changed. Free of torch until the command runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError, unknown_name
from gan_registry.plugins import PluginManager

DISTRIBUTION = "diagan-plugin"
READY, ABSENT, REFUSED = "ready", "not installed", "will not work"

PURPOSES = {
    "accelerate": "a loop of one's own under Accelerate",
    "docs": "the pages as a site",
    "faiss": "--inclusive-search faiss",
    "lightning": "the host lightning",
    "lmdb": "images in an LMDB",
    "loggers": "--wandb, --mlflow and TensorBoard",
    "metrics": "--features inception, and peers to compare our metrics with",
    "pandas": "tables of samples as Parquet",
    "stylegan2": "the backbone stylegan2 and the host stylegan2-pytorch",
    "tensorboard": "TensorBoard",
    "vision": "the logger of torch-mimicry",
}
"""Extra → what it is for; those that only name others have none."""


@dataclass
class Host:
    """What is known of a host.

    Attributes:
        name: Its name.
        version: The installed version, or "".
        status: One of "ready", "not installed", "will not work".
        notes: Why, or what to know beside it.
        plugins: Loaded plugins that cannot work there → the hooks that they need.
    """

    name: str
    version: str = ""
    status: str = READY
    notes: list[str] = field(default_factory=list)
    plugins: dict[str, list[str]] = field(default_factory=dict)


def add_command(commands: Any) -> None:
    """Adds `diagan doctor`."""
    doctor = commands.add_parser(
        "doctor", allow_abbrev=False, help="say what is installed and what will not work here",
        description="Say which hosts, extras and plugins are there, and what will not work here, "
        "and why. With --host the exit code is 1 if that host is not ready.",
    )  # fmt: skip
    doctor.add_argument("--host", help=f"look at one host only: {', '.join(HOSTS)}")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Carries out the subcommand."""
    if arguments.host is not None and arguments.host not in HOSTS:
        raise unknown_name("host", arguments.host, HOSTS)
    found = examine(arguments.host)
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(_lines(found)))
    if arguments.host is None:
        return 0
    return 0 if found["hosts"][0]["status"] == READY else 1


def examine(host: str | None = None) -> dict[str, Any]:
    """Returns what the command tells, as plain values.

    Args:
        host: One of :data:`HOSTS`; all by default.
    """
    plugins = PluginManager()
    chosen = HOSTS if host is None else {host: HOSTS[host]}
    found: dict[str, Any] = {
        "versions": {
            "python": platform.python_version(),
            **{name: version_of(name) for name in (DISTRIBUTION, "torch", "numpy", "scipy")},
        },
        "devices": _devices(),
        "plugins": [
            {
                "name": info.name, "version": info.version, "loaded": info.skipped is None,
                "reason": info.skipped or "", "hooks": info.hooks,
            }
            for info in plugins.infos.values()
        ],
        "extras": list(_extras()),
        "hosts": [asdict(_look(name, check, plugins)) for name, check in chosen.items()],
    }  # fmt: skip
    return found


def version_of(distribution: str) -> str:
    """Returns the version of an installed distribution, or ""."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


# ---------------------------------------------------------------------- hosts


def _look(name: str, check: Callable[[Host, PluginManager], None], plugins: PluginManager) -> Host:
    host = Host(name)
    try:
        check(host, plugins)
    except UserError as error:
        host.status = REFUSED if host.version else ABSENT
        host.notes.append(str(error))
    except Exception as error:  # a foreign package may raise anything while it is imported
        host.status = REFUSED
        host.notes.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return host


def _registry(host: Host, plugins: PluginManager) -> None:
    host.version = version_of(DISTRIBUTION)


def _loop(host: Host, plugins: PluginManager) -> None:
    host.version = version_of(DISTRIBUTION)
    host.notes.append("diagan_plugin.Dia carries Dia-GAN alone; other plugins need another host.")


def _accelerate(host: Host, plugins: PluginManager) -> None:
    host.version = version_of("accelerate")
    if not host.version:
        raise UserError("Accelerate is not installed: pip install accelerate.")
    host.notes.append('Make Dia with shard="host": Accelerate shards the loaders it prepares.')


def _lightning(host: Host, plugins: PluginManager) -> None:
    host.version = version_of("lightning")
    adapter = import_module("diagan_plugin.hosts.lightning")
    adapter.find_lightning()
    host.plugins = adapter.CAPABILITIES.missing(plugins)


def _mimicry(host: Host, plugins: PluginManager) -> None:
    host.version = version_of("torch-mimicry")
    adapter = import_module("diagan_plugin.hosts.mimicry")
    package = import_module("diagan_plugin.hosts.mimicry_package")
    with _imports_undone(package.PACKAGE):
        from diagan_plugin.hosts.kit.seams import require

        for module, seams in package.CLASS_SEAMS.items():
            require("mimicry", package.KNOWN, package.import_mimicry(module), seams)
    host.plugins = adapter.CAPABILITIES.missing(plugins)
    if util.find_spec("tensorflow") is None or util.find_spec("torch._six") is None:
        host.notes.append(
            "'import torch_mimicry' fails, as it needs tensorflow and torch._six; import its "
            "modules by diagan_plugin.hosts.mimicry.import_mimicry."
        )


def _lucidrains(host: Host, plugins: PluginManager) -> None:
    host.version = version_of("stylegan2-pytorch")
    adapter = import_module("diagan_plugin.hosts.lucidrains")
    package = import_module("diagan_plugin.hosts.lucidrains_package")
    with _imports_undone(package.PACKAGE):
        from diagan_plugin.hosts.kit.seams import require

        trainer = package.import_trainer()
        require("stylegan2-pytorch", package.KNOWN, trainer, package.CLASS_SEAMS)
    host.plugins = adapter.CAPABILITIES.missing(plugins)


def _studiogan(host: Host, plugins: PluginManager) -> None:
    command = import_module("diagan_plugin.hosts.studiogan.command")
    root = os.environ.get(command.ROOT_VARIABLE)
    if not root:
        raise UserError(
            f"StudioGAN is used from a checkout, not installed: set {command.ROOT_VARIABLE} to "
            "yours, to have it looked at."
        )
    host.version = root
    import_module("diagan_plugin.hosts.studiogan.seams").verify(Path(root))
    capabilities = import_module("diagan_plugin.hosts.studiogan.refusals").CAPABILITIES
    host.plugins = capabilities.missing(plugins)


def _nvlabs(host: Host, plugins: PluginManager) -> None:
    command = import_module("diagan_plugin.hosts.nvlabs.command")
    root = os.environ.get(command.ROOT_VARIABLE)
    if not root:
        raise UserError(
            "StyleGAN2-ADA, StyleGAN3 and R3GAN are used from a checkout, not installed: set "
            f"{command.ROOT_VARIABLE} to yours, to have it looked at."
        )
    host.version = root
    trainer = import_module("diagan_plugin.hosts.nvlabs.checkout").trainer_of(Path(root))
    host.notes.append(f"The checkout is one of {trainer.name}; its seams are looked at by a run.")
    host.plugins = trainer.capabilities.missing(plugins)


HOSTS: dict[str, Callable[[Host, PluginManager], None]] = {
    "gan-registry": _registry,
    "own-loop": _loop,
    "accelerate": _accelerate,
    "lightning": _lightning,
    "mimicry": _mimicry,
    "studiogan": _studiogan,
    "nvlabs": _nvlabs,
    "stylegan2-pytorch": _lucidrains,
}


@contextmanager
def _imports_undone(package: str) -> Iterator[None]:
    """Forgets modules of a package that were imported only to be looked at."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name == package or name.startswith(f"{package}."):
                del sys.modules[name]


# ---------------------------------------------------------------------- the rest


def _devices() -> dict[str, bool]:
    try:
        import torch
    except ImportError:
        return {}
    return {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "several processes": torch.distributed.is_available(),
    }


def _extras() -> Iterator[dict[str, str]]:
    """Reads the extras off the installed distribution's own description."""
    try:
        required = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for line in required:
        match = re.match(r"\s*([\w.-]+)\s*([^;]*);.*extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if match and match[3] in PURPOSES:
            yield {
                "extra": match[3], "package": match[1], "needs": match[2].strip(" ()"),
                "version": version_of(match[1]), "for": PURPOSES[match[3]],
            }  # fmt: skip


def _lines(found: dict[str, Any]) -> Iterator[str]:
    versions = found["versions"].items()
    yield "versions   " + ", ".join(
        f"{name} {version or '(missing)'}" for name, version in versions
    )
    yield "devices    " + ", ".join(name for name, there in found["devices"].items() if there)
    yield ""
    yield "plugins"
    for plugin in found["plugins"]:
        told = plugin["version"] if plugin["loaded"] else f"skipped: {plugin['reason']}"
        yield f"  {plugin['name']:<20} {told}"
    yield ""
    yield "extras"
    for extra in found["extras"]:
        wanted = f"{extra['package']}{extra['needs']}"
        told = extra["version"] or f"missing for {extra['for']}: pip install '{wanted}'"
        yield f"  {extra['extra']:<12} {extra['package']:<20} {told}"
    yield ""
    yield "hosts"
    for host in found["hosts"]:
        yield f"  {host['name']:<20} {host['status']:<14} {host['version']}".rstrip()
        for note in host["notes"]:
            yield f"      {note}"
        for plugin, hooks in host["plugins"].items():
            yield f"      the plugin {plugin} will not work there: it needs {', '.join(hooks)}"
