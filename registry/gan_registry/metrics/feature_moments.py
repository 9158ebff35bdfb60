"""Mean and covariance of features that come in batches, in float64 and within bounded memory.

Rows are taken together until there are more of them than dimensions. Until then the rows *are* the
covariance, in the shorter of its two forms; from then on they are folded into a sum of products
about the running mean (Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample
variance"): nothing large is ever subtracted from something large, so features far away from 0 lose
no digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = Tensor | npt.NDArray[Any] | Sequence[Any]

_BLOCK = 1024  # rows handled at once where there are few dimensions
_INDEFINITE = 1e-3  # a covariance rounded to half precision still passes


def as_matrix(values: Array, name: str, dimensions: int = 2) -> Tensor:
    """Returns real numbers as a tensor of their own precision, on a device that has float64.

    Args:
        values: A tensor, an array or nested sequences.
        name: What to call them in an error.
        dimensions: How many dimensions they must have.

    Raises:
        TypeError: They are no real numbers.
        ValueError: They have another number of dimensions.
    """
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise TypeError(f"Argument `{name}` must be real numbers, but got {tensor.dtype}.")
    if tensor.dim() != dimensions:
        raise ValueError(
            f"Argument `{name}` must have {dimensions} dimensions, but got {list(tensor.shape)}."
        )
    return tensor.cpu() if tensor.device.type == "mps" else tensor


class Moments:
    """Count, mean and unbiased covariance of rows [b, D] that come in batches.

    Takes 8·D·min(n, max(D, 1,024)) bytes for n rows, and 2 to 4 times that where many are folded
    in. They need not have come in large batches.

    Args:
        device: Where to compute; without float64 there (MPS), on the CPU.

    Attributes:
        count: n, how many rows came so far.
        dimensions: D; 0 before the first rows came.

    Example:
        >>> import torch
        >>> moments = Moments()
        >>> moments.update(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        >>> moments.mean.tolist(), moments.covariance.tolist()
        ([1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        self.device = torch.device("cpu") if device.type == "mps" else device
        self.clear()

    def clear(self) -> None:
        """Forgets all rows."""
        self.count = 0
        self.dimensions = 0
        self._rows: list[Tensor] = []  # float64, not folded in yet
        self._waiting = 0
        self._mean: Tensor | None = None  # [D], of the folded rows
        self._products: Tensor | None = None  # [D, D], sum of (row − mean)(row − mean)ᵀ
        self._bad: Tensor | None = None
        self._factor: Tensor | None = None

    @property
    def bad(self) -> int:
        """How many of the rows held NaN or infinity; nothing else means anything if any did."""
        return 0 if self._bad is None else int(self._bad)

    def update(self, rows: Array) -> None:
        """Takes some rows in.

        Args:
            rows: [b, D] of any real type, on any device; b may be 0.

        Raises:
            TypeError: They are no real numbers.
            ValueError: They are no matrix, or D is 0 or not that of the earlier rows.
        """
        matrix = as_matrix(rows, "rows")
        dimensions = matrix.shape[1]
        if dimensions == 0 or self.dimensions not in (0, dimensions):
            wanted = self.dimensions or "at least 1"
            raise ValueError(f"Argument `rows` must have {wanted} columns, but got {dimensions}.")
        self.dimensions = dimensions
        # State that is made in inference mode could not be updated outside of it.
        with torch.inference_mode(False), torch.no_grad():
            if self._bad is None:
                self._bad = torch.zeros((), dtype=torch.int64, device=self.device)
            size = max(dimensions, _BLOCK)
            for start in range(0, len(matrix), size):
                # A copy, since the caller may write to the rows while they wait here.
                block = matrix[start : start + size].to(self.device, torch.float64, copy=True)
                self._bad += (~torch.isfinite(block)).any(dim=1).sum()
                self._rows.append(block)
                self._waiting += len(block)
                self.count += len(block)
                self._factor = None
                if self._waiting > size:
                    self._fold()

    @property
    def mean(self) -> Tensor:
        """The mean, float64 [D]; NaN if there are no rows."""
        if self._products is None:
            return self._joined().mean(dim=0)
        self._fold()
        assert self._mean is not None
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (divisor n − 1), float64 [D, D].

        Raises:
            ValueError: There are fewer than 2 rows.
        """
        self._check_count()
        with torch.inference_mode(False), torch.no_grad():
            if self._products is None:
                factor = self._centred()
                return factor.T @ factor
            self._fold()
            return self._products / (self.count - 1)

    @property
    def total_variance(self) -> float:
        """The trace of the covariance.

        Raises:
            ValueError: There are fewer than 2 rows.
        """
        self._check_count()
        if self._products is None:
            return float(self._centred().square().sum())
        self._fold()
        return float(self._products.diagonal().sum()) / (self.count - 1)

    @property
    def factor(self) -> Tensor:
        """A matrix A, float64 [r, D] with r ≤ min(n − 1, D), such that AᵀA is the covariance.

        With no more rows than dimensions it is made of the centred rows, exact and cheap; else see
        :func:`covariance_factor`. It is kept until more rows come.

        Raises:
            ValueError: There are fewer than 2 rows.
        """
        self._check_count()
        if self._factor is None:
            with torch.inference_mode(False), torch.no_grad():
                if self._products is None and self.count <= self.dimensions:
                    self._factor = self._centred()
                else:
                    self._factor = covariance_factor(self.covariance)
        return self._factor

    def _check_count(self) -> None:
        if self.count < 2:
            raise ValueError(f"A covariance takes at least 2 rows, but there are {self.count}.")

    def _joined(self) -> Tensor:
        if len(self._rows) != 1:
            empty = torch.empty(0, self.dimensions, dtype=torch.float64, device=self.device)
            self._rows = [torch.cat([empty, *self._rows])]
        return self._rows[0]

    def _centred(self) -> Tensor:
        """Returns the rows, all of which wait, as a factor of the covariance, [n − 1, D].

        Centred rows sum to 0, so one is too many: its singular value of 0 would come out as the
        root of a rounding error. A Householder reflection puts their sum into the first row, which
        is left out.
        """
        rows = self._joined()
        rows = (rows - rows.mean(dim=0)) / math.sqrt(self.count - 1)
        return rows[1:] + rows[0] / (math.sqrt(self.count) - 1.0)

    def _fold(self) -> None:
        """Adds the rows that wait to the sums."""
        if self._waiting == 0:
            return
        with torch.inference_mode(False), torch.no_grad():
            rows, earlier = self._joined(), self.count - self._waiting
            mean = rows.mean(dim=0)
            rows = rows - mean
            if self._mean is None or self._products is None:
                self._mean, self._products = mean, rows.T @ rows
            else:
                delta = mean - self._mean
                # The distance of the two means counts as one more row.
                last = delta * math.sqrt(earlier * self._waiting / self.count)
                rows = torch.cat([rows, last[None]])
                self._products.addmm_(rows.T, rows)
                self._mean = self._mean + delta * (self._waiting / self.count)
        self._rows, self._waiting = [], 0


def covariance_factor(covariance: Tensor) -> Tensor:
    """Returns A, [r, D] with r ≤ D, such that AᵀA is the covariance to rounding.

    The Cholesky factor where there is one. A singular covariance has none; then A comes from the
    symmetric eigendecomposition, without the directions in which there is nothing but rounding:
    each of them would add the root of a rounding error, 10⁻⁸ rather than 10⁻¹⁶, to what is computed
    from A.

    Args:
        covariance: Symmetric float64 [D, D].

    Raises:
        ValueError: It has a clearly negative eigenvalue.
    """
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed) == 0:
        upper: Tensor = lower.T.contiguous()
        return upper
    values, vectors = torch.linalg.eigh(covariance)
    largest = float(values[-1])
    if float(values[0]) < -_INDEFINITE * max(largest, 0.0):
        raise ValueError(
            "A covariance must be positive semidefinite, but one has eigenvalues from "
            f"{float(values[0]):g} to {largest:g}."
        )
    # Rounding leaves eigenvalues of a few ε (measured: below 2 ε at D = 600) where there are none.
    noise = math.sqrt(len(values)) * torch.finfo(torch.float64).eps * largest
    kept = values > max(noise, 0.0)
    factor: Tensor = (vectors[:, kept] * values[kept].sqrt()).T.contiguous()
    return factor
