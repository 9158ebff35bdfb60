"""LDRV from a single sweep, by a Laplace approximation of D's last layer (paper §3.2, eqs 3–6).

The measured LDRV needs many sweeps over the training. The paper explains why it is large for minor
samples by taking D's last layer θ for a Bayesian logistic regression on its features φ (eq. 3),
and that explanation is itself an estimate: with the posterior N(θ | θ_MAP, S_n),

    S_n = (Σ_i D_i(1 − D_i) φ_i φ_iᵀ + I/s_0)⁻¹            (eq. 4)
    LDRV(x_i) ≈ φ_iᵀ S_n φ_i                                 (eq. 5)

It is large where φ_i points away from the features of most samples whose D_i is undecided (eq. 6).
What it gives is an ordering: the scale depends on s_0 and on N, and fluctuation that comes from
features changing over time is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.arguments import as_kind, as_real, as_whole, check_data

__all__ = ["LaplaceLDRV", "laplace_ldrv"]

ArrayT = TypeVar("ArrayT", Tensor, npt.NDArray[Any])
Values: TypeAlias = "Tensor | npt.NDArray[Any]"

_CHUNK = 4096


class LaplaceLDRV:
    """The one-sweep estimate of LDRV, for features that do not fit into memory at once.

    First pass: `update` with the features and logits of all samples, in any order and number of
    calls. Second pass: `variance` of whichever samples are of interest. The matrix of eq. 4 is
    accumulated in float64, whatever the dtype of the features.

    The paper's sum goes over the samples that D is trained on. It is usually taken over the
    training data alone; generated samples, which D also learns from, may be given to `update`, too.

    Memory: 16·F² bytes, and about 16·F·`chunk_size` while a call lasts.

    Args:
        num_features: F, the length of φ.
        prior_variance: s_0, the variance of the prior N(0, s_0·I) of θ.
        bias: Append a 1 to each φ, for a last layer with a bias. The bias has the same prior.
        device: Where to accumulate; must offer float64, so not `mps`.
        chunk_size: Samples that are handled at once.

    Attributes:
        count: How many samples `update` was given.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import torch
        >>> estimate = LaplaceLDRV(num_features=2, bias=False)
        >>> estimate.update(torch.tensor([[1.0, 0.0]]).repeat(12, 1), torch.zeros(12))
        >>> estimate.variance(torch.eye(2)).tolist()  # seen 12 times at D = 1/2; never seen
        [0.25, 1.0]
    """

    def __init__(
        self,
        num_features: int,
        *,
        prior_variance: float = 1.0,
        bias: bool = True,
        device: torch.device | str = "cpu",
        chunk_size: int = _CHUNK,
    ) -> None:
        num_features = as_whole("num_features", num_features, 1)
        prior_variance = as_real("prior_variance", prior_variance)
        chunk_size = as_whole("chunk_size", chunk_size, 1)
        if not (math.isfinite(prior_variance) and prior_variance > 0):
            raise ValueError(
                f"Argument `prior_variance` must be finite and above 0, but got {prior_variance}."
            )
        self.device = torch.device(device)
        if self.device.type == "mps":
            raise ValueError(
                "Argument `device` must be a device with float64, but got 'mps'; use 'cpu'."
            )
        self.num_features = int(num_features)
        self.prior_variance = float(prior_variance)
        self.bias = bool(bias)
        self.chunk_size = int(chunk_size)
        self.count = 0
        size = self.num_features + self.bias
        self._information = torch.zeros(size, size, dtype=torch.float64, device=self.device)
        self._factor: Tensor | None = None

    @property
    def precision(self) -> Tensor:
        """S_n⁻¹ (eq. 4), float64 [F, F], or [F+1, F+1] with a bias, which comes last."""
        matrix = self._information.clone()
        matrix.diagonal().add_(1.0 / self.prior_variance)
        return matrix

    @torch.no_grad()
    def update(
        self,
        features: Values,
        logits: Values | None = None,
        *,
        probabilities: Values | None = None,
    ) -> None:
        """Adds samples to the sum of eq. 4.

        Args:
            features: φ, [B, F], of any floating dtype, on any device.
            logits: D's logits of the same samples, [B] or [B, 1].
            probabilities: D's probabilities instead of logits. Where they are rounded to 0 or 1
                the sample no longer counts, so give logits if you have them.

        Raises:
            TypeError: A dtype is wrong, or neither or both of logits and probabilities are given.
            ValueError: A shape is wrong, or a value is not finite or no probability. The sum is
                then as it was before the call.
        """
        self._check_features(features)
        if (logits is None) == (probabilities is None):
            raise TypeError("Arguments `logits` and `probabilities`: exactly one must be given.")
        name, given = ("logits", logits) if logits is not None else ("probabilities", probabilities)
        assert given is not None
        size = len(features)
        _check_real(given, name)
        if given.ndim == 0 or len(given) != size or math.prod(given.shape) != size:
            raise ValueError(
                f"Argument `{name}` must be [{size}] or [{size}, 1], but got {list(given.shape)}."
            )
        values = self._float64(given).reshape(-1)
        if name == "probabilities":
            outside = ~((values >= 0) & (values <= 1))
            if bool(outside.any()):
                first = int(outside.nonzero()[0])
                raise ValueError(
                    "Argument `probabilities` must lie in [0, 1], "
                    f"but got {float(values[first])} for sample {first}."
                )
            weight = values * (1.0 - values)
        else:
            _check_finite(values, name, 0)
            # Not σ − σ², whose digits cancel: D(1−D) = σ(l)·σ(−l).
            weight = torch.sigmoid(values) * torch.sigmoid(-values)
        root = weight.sqrt()
        # Apart from the sum until all chunks have proved finite.
        added = torch.zeros_like(self._information)
        for part, phi in self._chunks(features):
            scaled = phi * root[part, None]
            added.addmm_(scaled.T, scaled)
        self._information += added
        self.count += size
        self._factor = None

    @torch.no_grad()
    def variance(self, features: ArrayT) -> ArrayT:
        """Returns the estimate φᵀ S_n φ of samples (eq. 5).

        Args:
            features: φ, [B, F], as for `update`; of the same samples or of others.

        Returns:
            float64 [B], not negative, on the device of the estimate; an array for an array.

        Raises:
            TypeError: The dtype is wrong.
            ValueError: The shape is wrong or a value is not finite; or the matrix is singular to
                working precision (large dependent features under a wide prior).
        """
        self._check_features(features)
        factor = self._cholesky()
        result = torch.empty(len(features), dtype=torch.float64, device=self.device)
        for part, phi in self._chunks(features):
            # φᵀ(LLᵀ)⁻¹φ = ‖L⁻¹φ‖²: a sum of squares, which no rounding makes negative.
            result[part] = torch.linalg.solve_triangular(factor, phi.T, upper=False).square().sum(0)
        return result if isinstance(features, Tensor) else result.cpu().numpy()

    def merge(self, other: LaplaceLDRV) -> None:
        """Adds the sum of another rank or worker.

        Raises:
            ValueError: Its number of features, bias or prior variance differs.
        """
        other = as_kind("other", other, LaplaceLDRV)
        mine = (self.num_features, self.bias, self.prior_variance)
        theirs = (other.num_features, other.bias, other.prior_variance)
        if mine != theirs:
            raise ValueError(
                "Argument `other` must have the (num_features, bias, prior_variance) "
                f"{mine}, but got {theirs}."
            )
        self._information += other._information.to(self.device)
        self.count += other.count
        self._factor = None

    def _cholesky(self) -> Tensor:
        if self._factor is None:
            factor, info = torch.linalg.cholesky_ex(self.precision)
            if int(info) or not bool(torch.isfinite(factor.diagonal()).all()):
                raise ValueError(
                    "Argument `prior_variance` must be small enough to make the matrix of features "
                    f"invertible in float64, but got {self.prior_variance:g}; lower it, or scale "
                    "the features down."
                )
            self._factor = factor
        return self._factor

    def _check_features(self, features: Values) -> None:
        _check_real(features, "features")
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f"Argument `features` must be [B, {self.num_features}], "
                f"but got {list(features.shape)}."
            )

    def _chunks(self, features: Values) -> Iterator[tuple[slice, Tensor]]:
        """Yields (rows, φ float64 [rows, F or F+1] with the bias appended), checked."""
        for start in range(0, len(features), self.chunk_size):
            part = slice(start, start + self.chunk_size)
            phi = self._float64(features[part])
            _check_finite(phi, "features", start)
            if self.bias:
                phi = torch.cat([phi, phi.new_ones(len(phi), 1)], dim=1)
            yield part, phi

    def _float64(self, values: Values) -> Tensor:
        # A copy of an array, so that one which is read-only or mapped from a file will do. A tensor
        # changes its device first, as not every device has float64.
        tensor = values.detach() if isinstance(values, Tensor) else torch.tensor(np.array(values))
        return tensor.to(self.device).to(torch.float64)


def laplace_ldrv(
    features: ArrayT,
    logits: Values | None = None,
    *,
    probabilities: Values | None = None,
    prior_variance: float = 1.0,
    bias: bool = True,
    chunk_size: int = _CHUNK,
) -> ArrayT:
    """Estimates the LDRV of each sample from one sweep (paper §3.2, eqs 3–6).

    See the head of the module for what it is, and :class:`LaplaceLDRV` for features that do not fit
    into memory, several ranks, or a sum that includes generated samples.

    Args:
        features: φ, D's penultimate activations of the training samples, [N, F]; for a D with
            dropout or batch norm in the mode in which LDRs are recorded.
        logits: D's logits of the same samples, [N] or [N, 1].
        probabilities: D's probabilities instead of logits.
        prior_variance: s_0. A small one makes the estimate proportional to ‖φ‖²; a large one leaves
            it to the data.
        bias: Append a 1 to each φ, for a last layer with a bias.
        chunk_size: Samples that are handled at once: besides the arguments, memory is
            O(chunk_size·F + F²).

    Returns:
        float64 [N], not negative: a tensor on the device of the features (on the CPU for `mps`),
        or an array for an array.

    Raises:
        TypeError: A dtype is wrong, or neither or both of logits and probabilities are given.
        ValueError: A shape or a value is wrong.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0]] * 12 + [[0.0, 1.0]])
        >>> laplace_ldrv(features, torch.zeros(13), bias=False)[-2:]
        tensor([0.2500, 0.8000], dtype=torch.float64)
    """
    _check_real(features, "features")
    if features.ndim != 2:
        raise ValueError(
            f"Argument `features` must be [N, F], but got {list(features.shape)}; flatten maps."
        )
    device = features.device if isinstance(features, Tensor) else torch.device("cpu")
    estimate = LaplaceLDRV(
        features.shape[1],
        prior_variance=prior_variance,
        bias=bias,
        device="cpu" if str(device).startswith("mps") else device,
        chunk_size=chunk_size,
    )
    estimate.update(features, logits, probabilities=probabilities)
    return estimate.variance(features)


def _check_real(values: Values, name: str) -> None:
    check_data(name, values)
    if not hasattr(values, "ndim"):
        raise TypeError(
            f"Argument `{name}` must be a tensor or an array, but got a list or number."
        )
    if isinstance(values, Tensor):
        real = values.is_floating_point()
    else:
        real = np.issubdtype(values.dtype, np.floating)
    if not real:
        raise TypeError(f"Argument `{name}` must be floating-point, but got {values.dtype}.")


def _check_finite(values: Tensor, name: str, start: int) -> None:
    if bool(torch.isfinite(values.sum())):
        return  # one number instead of a mask; an overflow of the sum is sorted out below
    bad = ~torch.isfinite(values)
    if bool(bad.any()):
        first = start + int(bad.reshape(len(values), -1).any(1).nonzero()[0])
        raise ValueError(f"Argument `{name}` must be finite, but is not for sample {first}.")
