"""NVlabs' trainers in tests: the miniature beside this file, or the user's checkouts.

NVLABS_CHECKOUTS names a folder with `stylegan2-ada-pytorch`, `stylegan3` and `R3GAN`. What they
need of packages has to be installed (click at least). They run in processes of their own: without a
GPU by the stand-ins in `nvlabs_stand_ins`, which also make their networks tiny.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studiogan_hosts import HERE, captured, one_device

from diagan_plugin.hosts.kit.launching import checkout_modules
from diagan_plugin.hosts.nvlabs.checkout import MODULES
from diagan_plugin.hosts.nvlabs.compat import the_past

CHECKOUTS = os.environ.get("NVLABS_CHECKOUTS")
STYLE = {
    "G_kwargs.z_dim": 32, "G_kwargs.w_dim": 32, "G_kwargs.mapping_kwargs.num_layers": 2,
    "D_kwargs.channel_base": 256, "D_kwargs.channel_max": 16,
}  # fmt: skip
SMALL = {"channel_base": 256, "channel_max": 16}
FULL = {"num_fp16_res": 0, "conv_clamp": None}
SHORT = {
    "total_kimg": 0.0795, "kimg_per_tick": 0.0315, "data_loader_kwargs.num_workers": 0,
    "data_loader_kwargs.prefetch_factor": "drop",
}  # fmt: skip
STAGES = {
    f"{network}.{key}": value
    for network in ("G_kwargs", "D_kwargs")
    for key, value in (("WidthPerStage", [16] * 4), ("CardinalityPerStage", [4] * 4),
                       ("BlocksPerStage", [1] * 4), ("FP16Stages", []))
}  # fmt: skip
ADA = "stylegan2-ada-pytorch"
REAL: dict[str, tuple[list[str], dict[str, Any]]] = {
    ADA: (["--cfg=auto"], {
        **STYLE, **{f"G_kwargs.synthesis_kwargs.{k}": v for k, v in {**SMALL, **FULL}.items()},
        **{f"D_kwargs.{k}": v for k, v in FULL.items()},
    }),
    "stylegan3": (["--cfg=stylegan3-t", "--gamma=1"], {
        **STYLE, **{f"G_kwargs.{key}": value for key, value in SMALL.items()},
        "G_kwargs.num_layers": 6, "G_kwargs.num_critical": 2, "G_kwargs.margin_size": 4,
    }),
    "R3GAN": (["--preset=CIFAR10"], {"G_kwargs.NoiseDimension": 16, **STAGES}),
}  # fmt: skip
"""Checkout → arguments, and keywords of its loop that make it tiny."""


@dataclass
class Host:
    """A checkout with data and a folder to write to.

    Attributes:
        name: Whose it is.
        checkout: Where it lies.
        folder: Where to write.
        real: Whether it is no miniature.
    """

    name: str
    checkout: Path
    folder: Path
    real: bool

    @property
    def pairs(self) -> bool:
        return self.name == "R3GAN"

    def arguments(self, *more: str, out: str = "out") -> list[str]:
        """Returns the arguments of its `train.py` for 10 iterations of 8 images."""
        (self.folder / out).mkdir(exist_ok=True)
        data = self.folder / ("data.zip" if self.real else "data.npz")
        common = [f"--outdir={self.folder / out}", f"--data={data}", "--batch=8"]
        if not self.real:
            return [*common, *more]
        own, _ = REAL[self.name]
        return [*common, *own, "--gpus=1", "--metrics=none", "--snap=1", "--workers=1", *more]

    def diagan(self, *flags: str, trainer: list[str], apart: bool = False) -> tuple[int, str]:
        """Runs `diagan nvlabs`; returns exit code and output."""
        return self.run(["nvlabs", "--repo", str(self.checkout), *flags, "--", *trainer], apart)

    def run(self, arguments: list[str], apart: bool = False) -> tuple[int, str]:
        """Runs `diagan`."""
        if self.real or apart:
            return self._apart(["-m", "diagan_plugin", *arguments])
        from diagan_plugin.cli import main

        with one_device(), captured() as output:
            code = main(arguments)
        return code, output.getvalue()

    def plain(self, *arguments: str) -> None:
        """Runs the trainer alone."""
        script = self.checkout / "train.py"
        if self.real:
            code, text = self._apart([str(script), *arguments], NVLABS_PLAIN="1")
            assert code == 0, text
            return
        argv, sys.argv = sys.argv, [str(script), *arguments]
        try:
            with (
                one_device(),
                captured(),
                the_past(),
                checkout_modules("it", str(self.checkout), MODULES),
            ):
                runpy.run_path(str(script), run_name="__main__")
        finally:
            sys.argv = argv

    def _apart(self, arguments: list[str], **environment: str) -> tuple[int, str]:
        tiny = {**SHORT, **REAL[self.name][1]} if self.real else {}
        stand_ins = HERE / "nvlabs_stand_ins"
        path = [str(stand_ins), *(p for p in sys.path if p.startswith(str(self.folder))), str(HERE)]
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False,
            env={
                **os.environ, "NVLABS_TINY": json.dumps(tiny), "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]),
                **environment,
            },
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def run_folder(self, out: str = "out") -> Path:
        """Returns the folder of the last run."""
        return max((self.folder / out).iterdir())

    def snapshot(self, out: str = "out") -> Path:
        """Returns its last snapshot."""
        return max(self.run_folder(out).glob("*.pkl"))

    def losses(self, out: str) -> list[Any]:
        """Returns the losses that it wrote."""
        lines = (self.run_folder(out) / "stats.jsonl").read_text().splitlines()
        return [
            {name: value for name, value in json.loads(line).items() if name.startswith("Loss")}
            for line in lines
        ]

    def networks(self, out: str) -> dict[str, Any]:
        """Returns parameters and buffers of the last snapshot."""
        into = self.folder / "networks.pt"
        code = (
            "import pickle, sys, torch; sys.path.insert(0, sys.argv[1])\n"
            "found = pickle.load(open(sys.argv[2], 'rb'))\n"
            "torch.save({f'{n}.{k}': t for n in ('G', 'D', 'G_ema') "
            "for k, t in found[n].state_dict().items()}, sys.argv[3])"
        )
        arguments = [str(self.checkout), str(self.snapshot(out)), str(into)]
        if self.real:
            done, text = self._apart(["-c", code, *arguments], NVLABS_PLAIN="1")
            assert done == 0, text
        else:
            argv, sys.argv = sys.argv, ["-c", *arguments]
            try:
                with checkout_modules("it", str(self.checkout), MODULES):
                    exec(code, {})
            finally:
                sys.argv = argv
        found: dict[str, Any] = torch.load(into, weights_only=True)
        return found

    def probe(self, rank: int = 0, out: str = "out") -> dict[str, Any]:
        """Returns what the probe has seen."""
        found: dict[str, Any] = torch.load(
            self.run_folder(out) / f"probe-{rank}.pt", weights_only=True
        )
        return found


def make_data(folder: Path, size: int = 32) -> None:
    """Writes 40 images of 2 classes, as the miniature and as the trainers read them."""
    import io

    from PIL import Image

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 3, size, size), dtype=np.uint8)
    y = np.arange(40) % 2
    np.savez(folder / "data.npz", x=x[:, :, :8, :8], y=y)
    labels = []
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for number, image in enumerate(x):
            held, name = io.BytesIO(), f"00000/img{number:08d}.png"
            Image.fromarray(image.transpose(1, 2, 0)).save(held, "png")
            archive.writestr(name, held.getvalue())
            labels.append([name, int(y[number])])
        archive.writestr("dataset.json", json.dumps({"labels": labels}))


def miniature(folder: Path, name: str) -> Path:
    """Copies the miniature, as a checkout of one of the trainers."""
    checkout = folder / name
    shutil.copytree(HERE / "miniature_nvlabs", checkout)
    if name != "R3GAN":
        shutil.rmtree(checkout / "R3GAN")
    return checkout
