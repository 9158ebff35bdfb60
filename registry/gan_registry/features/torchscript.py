"""Features from any network that is saved as a TorchScript file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_registry.datasets.fetching import fetch
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.samples import check_samples
from gan_registry.features.weights import sha256_of

_RETURNS = (
    "it must return features [B, D], a tuple (features, logits [B, C]), or a dict with 'features' "
    "and perhaps 'probabilities' or 'logits'"
)


class TorchScript:
    """A network from a file that `torch.jit.save` wrote.

    It gets samples, float32 [B, *sample_shape], in the dataset's range, in evaluation mode, and
    returns features [B, D]; or a tuple (features, logits [B, C]); or a dict with "features" and
    perhaps "probabilities" (rows that sum to 1) or "logits".

    Reading the file runs no Python: an archive holds TorchScript and tensors, and of pickle only
    what describes these. The network itself is run, though: take it from a source you trust.

    Args:
        context: `dataset`, `device` and `path` are read.

    Raises:
        UserError: The file is missing, no TorchScript, or does not take the dataset's samples or
            return what it should; the message names the file.
    """

    def __init__(self, context: FeatureContext) -> None:
        if context.path is None:
            raise UserError("TorchScript features need a file: --features PATH.pt.")
        self._path = context.path
        self._shape = tuple(context.dataset.sample_shape)
        self._network = load_script(context.path, context.device)
        self.identity = f"torchscript 1 {sha256_of(context.path)}"
        # Two real samples tell what it returns, before hours of sampling.
        some = np.arange(2, dtype=np.int64) % len(context.dataset)
        trial = self(fetch(context.dataset, some)[0].to(context.device))
        self.num_features = trial.features.shape[1]

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Features:
        """Returns float32 [B, D] and, if the network has classes, probabilities [B, C]."""
        samples = check_samples(samples, self._shape)
        try:
            output = self._network(samples)
        except RuntimeError as error:  # also what the network itself raises
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise UserError(
                f"The network in {self._path} fails on samples {list(samples.shape)}: "
                f"{last_line(error)}."
            ) from error
        return self._read(output, len(samples))

    def _read(self, output: Any, count: int) -> Features:
        scores, normalised = None, False
        if isinstance(output, dict):
            scores = output.get("probabilities", output.get("logits"))
            normalised = "probabilities" in output
            output = output.get("features")
        elif isinstance(output, (tuple, list)) and len(output) in (1, 2):
            output, scores = output[0], output[1] if len(output) == 2 else None
        self._check(output, count)
        assert isinstance(output, Tensor)
        if scores is None:
            return Features(output.float())
        self._check(scores, count)
        scores = scores.float()
        if not normalised:
            return Features(output.float(), scores.softmax(1))
        sums = scores.sum(1)
        if bool((scores < 0).any()) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
            raise UserError(
                f"The network in {self._path} returns 'probabilities' that are negative or do not "
                "sum to 1; if they are logits, name them so."
            )
        return Features(output.float(), scores)

    def _check(self, output: Any, count: int) -> None:
        got = type(output).__name__
        if isinstance(output, Tensor):
            got = f"shape {list(output.shape)}"
            if output.is_complex():
                got += " of complex numbers"
            elif output.dim() == 2 and len(output) == count and output.shape[1] > 0:
                return
        raise UserError(
            f"The network in {self._path} returns {got} for {count} samples; {_RETURNS}."
        )


def load_script(path: Path, device: torch.device) -> Any:
    """Reads a TorchScript file, in evaluation mode, onto a device.

    Raises:
        UserError: It is missing or no TorchScript.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path} for features; check the path.")
    return read_script(path, device, "features need a file")


def read_script(path: Path, device: torch.device, needed: str) -> Any:
    """Reads a TorchScript file that is there; `needed` says in a message who needs one.

    Raises:
        UserError: It is no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            # torch advises those who write such files to turn to another format.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"{path} cannot be read as TorchScript ({type(error).__name__}); {needed} "
            "written by torch.jit.save, not by torch.save."
        ) from error


def last_line(error: RuntimeError) -> str:
    """Returns the end of what TorchScript says, where the network's own error stands."""
    return "".join([line for line in str(error).splitlines() if line.strip()][-1:]).strip()
