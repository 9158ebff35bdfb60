"""Nearest neighbours among candidates that come batch by batch and are never held together."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.distances import squared_distances

__all__ = ["BACKENDS", "NearestSearch"]

BACKENDS = ("auto", "torch", "faiss")

_TILE = 2**22  # distances held at a time (float32: 16 MB)
_SPARE = 4  # candidates compared exactly, as products in float32 may order close ones wrongly


class NearestSearch:
    """Finds each query's nearest candidate in Euclidean distance.

    All pairs are compared, by products in float32; the four best of each batch then by their
    differences in float64. Only candidates whose distances agree to the precision of float32 can be
    mistaken for each other. Of equally near ones the first counts. Candidates with NaN or infinite
    values are passed over.

    Args:
        queries: Finite features [n, F], float32, on the device where all work is done.
        backend: "torch", "faiss" (its exact index, on the CPU), or "auto": faiss if it is installed
            and the queries are on the CPU.

    Attributes:
        squared: Squared distance of each query's nearest candidate so far, float64 [n]; inf before
            any.

    Raises:
        ValueError: `queries` is no matrix, or `backend` is unknown.
        UserError: faiss is asked for and not installed.
    """

    def __init__(self, queries: Tensor, backend: str = "auto") -> None:
        if queries.ndim != 2:
            raise ValueError(f"Argument `queries` must be [n, F], but got {list(queries.shape)}.")
        if backend not in BACKENDS:
            raise ValueError(f"Argument `backend` must be one of {BACKENDS}, but got {backend!r}.")
        installed = importlib.util.find_spec("faiss") is not None
        if backend == "faiss" and not installed:
            raise UserError("faiss is not installed: pip install faiss-cpu, or search with torch.")
        if queries.device.type == "mps":  # it has no float64
            queries = queries.cpu()
        self._queries = queries.float()
        self._centre = self._queries.mean(0) if len(queries) else self._queries.new_zeros(1)
        on_cpu = queries.device.type == "cpu"
        self._faiss = backend == "faiss" or (backend == "auto" and installed and on_cpu)
        self.squared = torch.full(
            (len(queries),), float("inf"), dtype=torch.float64, device=self._queries.device
        )

    def add(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Compares the queries with a batch of candidates [m, F].

        Returns:
            The queries that have found something nearer, int64 [k], and what: int64 [k], rows of
            `candidates`.

        Raises:
            ValueError: `candidates` are not of the queries' dimension.
        """
        if candidates.ndim != 2 or candidates.shape[1] != self._queries.shape[1]:
            raise ValueError(
                f"Argument `candidates` must be [m, {self._queries.shape[1]}], "
                f"but got {list(candidates.shape)}."
            )
        candidates = candidates.to(self._queries)
        rows = candidates.isfinite().all(1).nonzero()[:, 0]
        nothing = rows[:0]
        if not len(rows) or not len(self._queries):
            return nothing, nothing
        finite = candidates[rows]
        found = self._by_faiss(finite) if self._faiss else self._by_products(finite)
        of = torch.arange(len(self._queries), device=found.device).repeat_interleave(found.shape[1])
        exact = squared_distances(self._queries, of, finite, found.flatten()).view(found.shape)
        # Ascending numbers and the first minimum: ties go to the candidate that came first.
        squared, place = exact.min(1)
        nearer = (squared < self.squared).nonzero()[:, 0]
        self.squared[nearer] = squared[nearer]
        return nearer, rows[found[nearer, place[nearer]]]

    def _by_products(self, candidates: Tensor) -> Tensor:
        """Returns for each query the nearest few of the candidates, ascending, int64 [n, ≤ 4]."""
        centred = candidates - self._centre
        norms = centred.square().sum(1)
        step = max(1, _TILE // len(candidates))
        width = min(_SPARE, len(candidates))
        parts = []
        for start in range(0, len(self._queries), step):
            queries = self._queries[start : start + step] - self._centre
            # The query's own norm changes nothing about the order.
            tile = torch.addmm(norms, queries, centred.T, alpha=-2)
            parts.append(tile.topk(width, 1, largest=False).indices)
        return torch.cat(parts).sort(1).values

    def _by_faiss(self, candidates: Tensor) -> Tensor:
        import faiss  # type: ignore[import-not-found,unused-ignore]

        index: Any = faiss.IndexFlatL2(candidates.shape[1])
        index.add((candidates - self._centre).cpu().numpy())
        width = min(_SPARE, len(candidates))
        _, found = index.search((self._queries - self._centre).cpu().numpy(), width)
        return torch.from_numpy(found).to(self._queries.device).sort(1).values
