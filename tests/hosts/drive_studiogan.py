"""Runs StudioGAN in a process of its own, on a machine that may have no GPU.

    python drive_studiogan.py diagan|plain WORLD RUNNER CHECKOUT ARGUMENT …

WORLD stands for the number of GPUs. RUNNER is a folder with `run_cpu.py`, which lets StudioGAN
itself run on a CPU, or "-". The arguments are those of `diagan`, or of StudioGAN's main.py.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path


def main(what: str, world: int, runner: str, checkout: str, arguments: list[str]) -> int:
    import torch
    from torch.distributed import TCPStore

    torch.set_num_threads(1)
    # Where its processes meet: as torchrun's do, at a store that is open before they start.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    source = Path(checkout).resolve() / "src"
    if runner != "-":
        options = {"src": str(source), "world": world}
        for name in ("sg_channels", "fake_eval", "load_patch"):
            if f"RUN_CPU_{name}" in os.environ:
                options[name] = int(os.environ[f"RUN_CPU_{name}"])
        os.environ["STUDIOGAN_CPU_SHIM"] = json.dumps(options)  # for the processes it spawns
        sys.path.insert(0, runner)
        import run_cpu

        run_cpu.apply_patches(**options)
    elif not torch.cuda.is_available():
        torch.cuda.device_count = lambda: world
        torch.cuda.current_device = lambda: 0
    if what == "plain":
        sys.path.insert(0, str(source))
        sys.argv = [str(source / "main.py"), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return 0
    from diagan_plugin.cli import main

    return main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:]))
