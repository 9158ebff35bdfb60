"""Runs `diagan studiogan …` in a process of its own, on a machine that may have no GPU.

    python drive_studiogan.py WORLD RUNNER ARGUMENT …

WORLD stands for the number of GPUs. RUNNER is a folder with `run_cpu.py`, which lets StudioGAN
itself run on a CPU, or "-". What follows are the arguments of `diagan`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(world: int, runner: str, arguments: list[str]) -> int:
    import torch

    torch.set_num_threads(1)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29541")
    if runner != "-":
        checkout = Path(arguments[arguments.index("--studiogan") + 1])
        options = {"src": str(checkout.resolve() / "src"), "world": world}
        for name, kind in (("sg_channels", int), ("fake_eval", bool)):
            if f"RUN_CPU_{name}" in os.environ:
                options[name] = kind(os.environ[f"RUN_CPU_{name}"])
        os.environ["STUDIOGAN_CPU_SHIM"] = json.dumps(options)  # for the processes it spawns
        sys.path.insert(0, runner)
        import run_cpu

        run_cpu.apply_patches(**options)
    elif not torch.cuda.is_available():
        torch.cuda.device_count = lambda: world
        torch.cuda.current_device = lambda: 0

    from diagan_plugin.cli import main

    return main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
