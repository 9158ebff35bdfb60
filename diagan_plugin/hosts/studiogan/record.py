"""What a run was started with, in `model=DIA-run.json` beside its checkpoints.

By it the same command, started again, finds the run that was interrupted. Free of torch.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.integrity import DamagedError, read_json, write_json
from gan_registry.processes import is_running

RECORD_FILE = "model=DIA-run.json"

_LOG = logging.getLogger(__name__)


def write_record(folder: Path, command: Mapping[str, Any], *, finished: bool) -> None:
    """Writes the record.

    Args:
        folder: The folder of checkpoints.
        command: What the run was started with; JSON.
        finished: Whether its training has ended.
    """
    record = {
        "command": command,
        "finished": finished,
        "process": {"host": socket.gethostname(), "pid": os.getpid()},
    }
    with atomic_write(folder / RECORD_FILE) as temporary:
        write_json(temporary, record)


def find_interrupted(save_folder: Path, command: Mapping[str, Any]) -> tuple[Path, int] | None:
    """Finds the latest run of the same command that was interrupted after a checkpoint.

    A run whose process lives, or that was started on another machine, is left alone.

    Args:
        save_folder: StudioGAN's `-save`.
        command: What the run would be started with.

    Returns:
        Its folder of checkpoints and the step of the last one, or None.

    Raises:
        UserError: It was killed while StudioGAN wrote a checkpoint, which is therefore damaged.
    """
    found = []
    for path in (save_folder / "checkpoints").glob(f"*/{RECORD_FILE}"):
        try:
            record = read_json(path)
            process = record["process"]
            same = record["command"] == json.loads(json.dumps(command))
        except DamagedError as error:
            _LOG.warning("%s %s: whether its run was interrupted is not known.", path, error)
            continue
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not same or record.get("finished") or process["host"] != socket.gethostname():
            continue
        pid = int(process["pid"])
        ended = pid == os.getpid() or not is_running(pid)  # the own one's run was before this
        if ended and checkpoint_steps(path.parent, "D"):
            found.append((path.stat().st_mtime, path.parent))
    if not found:
        return None
    folder = max(found)[1]
    steps = {model: checkpoint_steps(folder, model) for model in ("G", "D")}
    ours = set(checkpoint_steps(folder, "DIA", suffix=".safetensors"))
    # Of earlier versions, which are told apart where the state is read.
    ours |= set(checkpoint_steps(folder, "DIA"))
    common = set(steps["G"]) & set(steps["D"]) & ours
    if not common:
        raise UserError(
            f"The run in {folder} was killed while its checkpoint was written (StudioGAN replaces "
            f"it in place); it has G of step {steps['G']} and D of step {steps['D']}. Start anew "
            "with --fresh."
        )
    return folder, max(common)


def checkpoint_steps(
    folder: Path, model: str, when: str = "current", suffix: str = ".pth"
) -> list[int]:
    """Returns the steps of a folder's checkpoints of a model, ascending."""
    name = f"model={model}-{when}-weights-step=*{suffix}"
    pattern = os.path.join(glob.escape(str(folder)), name)
    steps = [re.search(rf"step=(\d+){re.escape(suffix)}$", path) for path in glob.glob(pattern)]
    return sorted(int(match.group(1)) for match in steps if match)
