"""Scalars and texts for TensorBoard, where that is installed."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import warnings
from pathlib import Path
from typing import Any

from gan_registry.files import unwritable
from gan_registry.formatting import printable


class TensorBoard:
    """Writes scalars for TensorBoard where that is installed, and nothing otherwise.

    An extra must never get in the way of a training: one that is broken is warned of and left out.
    Events are written here and now: TensorBoard's own writer leaves them to a thread, for which a
    process that is to end may wait forever.

    Args:
        folder: The run folder.
        step: Events of later steps are dropped: a resumed run writes them again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder / "tensorboard"
        self._records: Any = None
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            return
        except Exception as error:  # installed, but at odds with what it stands on
            warnings.warn(f"TensorBoard cannot be used: {error}", stacklevel=2)
            return
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._summary_metadata = summary_pb2.SummaryMetadata
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter((self._folder / f"{name}.{step}").open("ab"))
            self._write(self._event(wall_time=now, file_version="brain.Event:2"))
            self._write(self._event(wall_time=now, step=step + 1, session_log=start))
            self._records.flush()
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Writes every number, and every text."""
        if self._records is None:
            return
        numbers = [
            self._summary.Value(tag=printable(name), simple_value=float(value))
            for name, value in values.items()
            if isinstance(value, (int, float)) and name != "step"
        ]
        numbers += [
            self._text(printable(name), printable(value))
            for name, value in values.items()
            if isinstance(value, str)
        ]
        try:
            self._write(
                self._event(wall_time=time.time(), step=step, summary=self._summary(value=numbers))
            )
            self._records.flush()
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def _text(self, name: str, text: str) -> Any:
        """Makes what TensorBoard shows under TEXT."""
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=shape)
        about = self._summary_metadata(
            plugin_data=self._summary_metadata.PluginData(plugin_name="text")
        )
        return self._summary.Value(tag=name, metadata=about, tensor=tensor)

    def close(self) -> None:
        """Closes the file."""
        if self._records is not None:
            with contextlib.suppress(OSError):  # whatever came before says more
                self._records.close()

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
