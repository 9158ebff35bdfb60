"""StudioGAN in tests: the miniature beside this file, or the checkout that STUDIOGAN_ROOT names.

The checkout needs a GPU, or a runner that lets it do with the CPU: STUDIOGAN_CPU_RUNNER names a
folder with `run_cpu.py`, whose `apply_patches(src=…, world=…)` does so, also in spawned processes.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).resolve().parent
MINIATURE = HERE / "miniature_studiogan"
ROOT = os.environ.get("STUDIOGAN_ROOT")
RUNNER = os.environ.get("STUDIOGAN_CPU_RUNNER")
# Lightning sets it for the whole process; torch then takes a stand-in for a GPU's count for a GPU.
NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"

CONFIG = """
DATA: {{name: Tiny, img_size: 32, num_classes: 2}}
MODEL:
  backbone: {backbone}
  g_cond_mtd: {g_cond}
  d_cond_mtd: {d_cond}
{model}
LOSS: {{adv_loss: {loss}{more_loss}}}
OPTIMIZATION:
  {{batch_size: {batch}, acml_steps: {acml}, d_updates_per_step: 2, total_steps: {steps},
    d_first: {d_first}}}
"""


@dataclass
class Host:
    """A checkout with data and a folder to write to."""

    checkout: Path
    folder: Path
    real: bool

    def config(self, **changes: Any) -> Path:
        """Writes a configuration."""
        values: dict[str, Any] = {
            "backbone": "resnet", "g_cond": "cBN", "d_cond": "PD", "loss": "hinge", "steps": 5,
            "acml": 1, "batch": 8, "d_first": "true", "more_loss": "",
            "model": "  apply_d_sn: true\n  g_conv_dim: 4\n  d_conv_dim: 4\n  z_dim: 8",
        }  # fmt: skip
        path = self.folder / "tiny.yaml"
        path.write_text(CONFIG.format(**{**values, **changes}))
        return path

    def arguments(self, *more: str, out: str = "out", **changes: Any) -> list[str]:
        """Returns StudioGAN's own arguments for a short training."""
        return [
            "-t", "-cfg", str(self.config(**changes)), "-data", str(self.folder / "data"),
            "-save", str(self.folder / out), "-metrics", "none", "--num_workers", "0",
            "--seed", "1", "--print_freq", "1", "--save_freq", "4", *more,
        ]  # fmt: skip

    def diagan(
        self, *flags: str, studiogan: list[str], world: int = 1, apart: bool = False
    ) -> tuple[int, str]:
        """Runs `diagan studiogan`; returns exit code and output."""
        arguments = ["studiogan", "--studiogan", str(self.checkout), *flags, "--", *studiogan]
        if self.real or world > 1 or apart:
            return self._in_process_of_its_own("diagan", arguments, world)
        from diagan_plugin.cli import main

        with one_device(), captured() as output:
            code = main(arguments)
        return code, output.getvalue()

    def plain(self, *arguments: str) -> tuple[int, str]:
        """Runs StudioGAN alone."""
        if self.real:
            return self._in_process_of_its_own("plain", list(arguments), 1)
        from diagan_plugin.hosts.studiogan.launcher import studiogan_modules

        script = self.checkout / "src" / "main.py"
        argv, sys.argv = sys.argv, [str(script), *arguments]
        try:
            with (
                one_device(),
                captured() as output,
                studiogan_modules(str(script.parent)),
                contextlib.suppress(ValueError),  # as StudioGAN ends without a best checkpoint
            ):
                runpy.run_path(str(script), run_name="__main__")
        finally:
            sys.argv = argv
        return 0, output.getvalue()

    def _in_process_of_its_own(
        self, what: str, arguments: list[str], world: int
    ) -> tuple[int, str]:
        path = [p for p in sys.path if p.startswith((str(self.folder.parent), str(HERE)))]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop(NVML_CHECK, None)
        runner = RUNNER if self.real and RUNNER else "-"
        done = subprocess.run(
            [sys.executable, str(HERE / "drive_studiogan.py"), what, str(world), runner,
             str(self.checkout), *arguments],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def losses(self, out: str = "out") -> dict[str, list[float]]:
        """Returns the losses that StudioGAN wrote."""
        (path,) = (self.folder / out / "statistics").glob("*/losses.npy")
        found = np.load(path, allow_pickle=True).item()
        return {name: found[name] for name in ("gen_loss", "dis_loss")}

    def checkpoints(self, out: str = "out") -> Path:
        """Returns the folder of a run's checkpoints."""
        (folder,) = (self.folder / out / "checkpoints").iterdir()
        return folder

    def probe(self, rank: int = 0, out: str = "out") -> dict[str, Any]:
        """Returns what the probe has seen."""
        found: dict[str, Any] = torch.load(
            self.checkpoints(out) / f"probe-{rank}.pt", weights_only=True
        )
        return found


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    """Has torch say that there is a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        if not torch.cuda.is_available():
            patch.delenv(NVML_CHECK, raising=False)
            patch.setattr(torch.cuda, "device_count", lambda: 1)
            patch.setattr(torch.cuda, "current_device", lambda: 0)
        with torch.random.fork_rng(devices=[]):
            yield


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """Catches what is printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield output


def make_data(folder: Path) -> None:
    """Writes 2 classes of 12 images for training, and of 4 to compare with."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("valid", 4)):
        for name in ("left", "right"):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(image).save(place / f"{number:02d}.png")


def install_probe(folder: Path, kind: str = "Probe") -> Path:
    """Writes the metadata of an installed distribution that brings the probe, or the watch."""
    site = folder / "site"
    info = site / "studiogan_probe-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studiogan-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gan_registry]\nprobe = studiogan_probe:{kind}\n")
    return site
