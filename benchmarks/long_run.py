"""What a long run takes, measured at every tenth of it: does anything grow that should not?

`python -m benchmarks.long_run [--steps N] [--samplers uniform dia] [--workers N] [--json FILE]`
trains small networks for many steps, each sampler in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.memory import _resident

PARTS = 10
FILES = ("metrics.jsonl", "tensorboard", "samples", "checkpoints")
SETTINGS = [
    "MODEL.hidden_dim=8", "MODEL.num_layers=1", "MODEL.d_dropout=0.1", "MODEL.z_dim=2",
    "DATA.options.num_samples=1000", "DATA.holdout=0.1", "OPTIMIZATION.batch_size=16",
    "RUN.device=cpu", "RUN.cpu_threads=1", "RUN.eval_metrics=[]",
]  # fmt: skip
"""Of the configuration gmm25: the smallest networks there are, and a hold-out to compare with."""


class Probe:
    """A plugin that measures its process after every tenth of the steps."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._before = time.process_time(), 0

    def measure(self, run: Any) -> None:
        """Measures the process and the run folder as they are now."""
        spent, step = self._before
        self._before = now = time.process_time(), run.step
        folder: Path = run.folder
        row = {
            "step": run.step,
            "microseconds_per_step": 1e6 * (now[0] - spent) / (run.step - step),
            "resident": _resident("VmRSS"),
            "descriptors": _entries("fd"),
            "threads": _entries("task"),
            **{name: _size(folder / name) for name in FILES},
        }
        self.rows.append(row)
        cells = [f"{row['step']:>8}", f"{row['microseconds_per_step']:>10.0f}",
                 f"{row['resident'] / 2**20:>10.1f}", f"{row['descriptors']:>8}",
                 f"{row['threads']:>8}",
                 *(f"{row[name] / 2**10:>18.0f}" for name in FILES)]  # fmt: skip
        print("".join(cells), flush=True)


def _entries(name: str) -> int:
    """Returns how many descriptors or threads this process has; -1 where the system won't say."""
    folder = Path("/proc/self") / name
    return len(list(folder.iterdir())) if folder.exists() else -1


def _size(path: Path) -> int:
    """Returns the bytes of a file, or of all in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def train(steps: int, sampler: str, workers: int, results: Any) -> None:
    """Trains one run in this process, and puts what was measured into a queue."""
    from gan_registry.config.load import apply_settings, read_config, validate_config
    from gan_registry.hookspecs import hookimpl
    from gan_registry.plugins import PluginManager
    from gan_registry.training.trainer import train as train_run

    class Plugin(Probe):
        @hookimpl
        def gan_step_end(self, run: Any) -> None:
            if run.step % max(steps // PARTS, 1) == 0:
                self.measure(run)

    name, where, content = read_config("gmm25")
    settings = [*SETTINGS, f"OPTIMIZATION.total_steps={steps}", f"RUN.num_workers={workers}",
                f"RUN.sampler={sampler}", f"RUN.save_freq={max(steps // 50, 1)}"]  # fmt: skip
    config = validate_config(apply_settings(content, settings), where)
    config.PLUGINS = {
        "dia": {
            "record_every": max(steps // 1000, 1), "window": 20, "phase1": 0.2, "aux_every": 5,
            "refresh": str(max(steps // 100, 1)),
        }
    }  # fmt: skip
    plugins, probe = PluginManager(), Plugin()
    plugins.register(probe, "probe")
    with tempfile.TemporaryDirectory() as folder:
        train_run(config, Path(folder) / "run", plugins, name=name, quiet=True)
    results.put(probe.rows)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_run", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--samplers", nargs="+", default=["uniform", "dia"])
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    if options.steps < PARTS:
        parser.error(f"argument --steps: must be at least {PARTS}")
    found: dict[str, list[dict[str, Any]]] = {}
    fresh = multiprocessing.get_context("spawn")
    for sampler in options.samplers:
        results = fresh.SimpleQueue()
        process = fresh.Process(
            target=train, args=(options.steps, sampler, options.workers, results)
        )
        heads = [("step", 8), ("µs a step", 10), ("MiB", 10), ("descr.", 8), ("threads", 8)]
        heads += [(f"{name} KiB", 18) for name in FILES]
        print(f"--sampler {sampler}\n" + "".join(f"{head:>{width}}" for head, width in heads))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"the run with --sampler {sampler} failed: {process.exitcode}")
        found[sampler] = results.get()
    if options.json is not None:
        options.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
