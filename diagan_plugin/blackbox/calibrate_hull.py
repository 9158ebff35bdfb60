"""Algorithm 2 of the paper: latents in the hull of a dense mode's latents are thinned out.

The latents of a mode's neighbours span a convex hull. A latent drawn from the prior is kept with
probability p if it falls into the hull, and always if not; p is the number of neighbours of a
typical sample over that of the mode, so that the mode ends as dense as the rest. (The paper takes
one random sample for typical; this takes the median anchor, to be spared the luck.) A latent in
several hulls is kept with the smallest of their p, as neighbouring modes mostly are one.

In many dimensions a hull is nearly empty: of as many standard normal points as dimensions, or a few
times as many, none lies in the hull of the others, and nothing would ever be thinned out. So the
hull may be taken of the latents' projection on a few directions, those in which the mode's latents
differ most from the prior's; projected or not, membership is decided by linear programming. By
default the number of directions is the one for which hull and mode overlap best among latents that
were held back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.blackbox.convex_hull import in_hull
from diagan_plugin.blackbox.latent_sampler import BLOCK, CalibratedLatents, Prior, draw_prior
from gan_registry.errors import UserError

Floats = npt.NDArray[np.float64]

VERTICES = 1000
TRIED = (1, 2, 3, 4, 6, 8)
"""Numbers of directions among which the best is chosen."""

MIN_NEIGHBORS = 10
MIN_ACCEPTANCE = 0.01
_HELD_BACK = 100  # of the mode, and as many of the others: linear programs take a while
_STD: dict[str, float] = {"gaussian": 1.0, "uniform": 3.0**-0.5}


@dataclass(frozen=True)
class Hull:
    """The region of one dense mode.

    Attributes:
        vertices: float64 [h, k], latents of the mode's neighbours, in the directions.
        directions: float64 [k, z_dim], orthonormal rows; None if the hull is of the latents as they
            are.
        keep: p, the share of the latents in the hull that is kept, in [0, 1].
    """

    vertices: Floats
    directions: Floats | None
    keep: float

    def contains(self, latents: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tells which latents [n, z_dim] lie in it, bool [n]."""
        z = np.asarray(latents, np.float64)
        return in_hull(z if self.directions is None else z @ self.directions.T, self.vertices)


class HullLatents(CalibratedLatents):
    """Latents of the prior, of which those in some hulls are thinned out; see the base class.

    Attributes:
        hulls: The regions.
        acceptance_rate: Share of the prior's latents that were kept in the last draw; NaN before.
    """

    method: ClassVar[str] = "hull"

    def __init__(
        self,
        hulls: Sequence[Hull],
        z_dim: int,
        prior: Prior = "gaussian",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(z_dim, prior, about)
        for hull in hulls:
            width = hull.vertices.shape[1] if hull.directions is None else hull.directions.shape[1]
            if width != z_dim or not 0.0 <= hull.keep <= 1.0:
                raise ValueError(
                    f"Argument `hulls` must be of latents of {z_dim} numbers and keep a share of "
                    f"[0, 1], but got {width} numbers and {hull.keep}."
                )
        self.hulls = tuple(hulls)
        self.acceptance_rate = float("nan")
        self._kept = 0

    def keep_probability(self, latents: npt.ArrayLike) -> Floats:
        """Computes with which probability each latent [n, z_dim] is kept, float64 [n]."""
        keep = np.ones(len(np.asarray(latents)))
        for hull in self.hulls:
            keep = np.minimum(keep, np.where(hull.contains(latents), hull.keep, 1.0))
        return keep

    def _block(self, rng: torch.Generator) -> Tensor:
        z = draw_prior(BLOCK, self.z_dim, self.prior, rng)
        chance = torch.rand(BLOCK, generator=rng, dtype=torch.float64)
        return z[chance < torch.from_numpy(self.keep_probability(z.numpy()))]

    def _watch(self, blocks: int, drawn: int) -> None:
        self._kept = drawn if blocks == 1 else self._kept + drawn
        self.acceptance_rate = self._kept / (blocks * BLOCK)
        if self.acceptance_rate < MIN_ACCEPTANCE:
            raise UserError(
                f"The calibrated sampler keeps only {self.acceptance_rate:.2%} of the latents: its "
                "hull covers nearly all of them. Calibrate with another --hull-dimensions or with "
                "--method mixture."
            )

    def tensors(self) -> dict[str, Tensor]:
        """Returns what the file holds."""
        held = {"keep": torch.tensor([hull.keep for hull in self.hulls], dtype=torch.float64)}
        for number, hull in enumerate(self.hulls):
            held[f"vertices.{number}"] = torch.from_numpy(hull.vertices)
            if hull.directions is not None:
                held[f"directions.{number}"] = torch.from_numpy(hull.directions)
        return held

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], z_dim: int, prior: Prior, about: Mapping[str, Any]
    ) -> HullLatents:
        """Makes one of what a file held."""
        hulls = []
        for number, keep in enumerate(tensors["keep"].tolist()):
            directions = tensors.get(f"directions.{number}")
            hulls.append(
                Hull(
                    tensors[f"vertices.{number}"].numpy(),
                    None if directions is None else directions.numpy(),
                    keep,
                )
            )
        return cls(hulls, z_dim, prior, about)


def fit_hull(
    latents: npt.ArrayLike,
    distances: npt.ArrayLike,
    radius: float,
    target: float,
    *,
    directions: int | None = 0,
    vertices: int = VERTICES,
    prior: Prior = "gaussian",
    rng: np.random.Generator,
) -> Hull:
    """Fits the hull of one dense mode (algorithm 2).

    Args:
        latents: [n, z_dim], drawn from the prior.
        distances: [n], from each latent's sample to the mode.
        radius: r, within which a sample is the mode's neighbour.
        target: Share of the samples that are neighbours of a typical sample.
        directions: In how many directions to take the hull; None takes the latents as they are
            (the paper's form); 0 chooses by the overlap (see the head of the module).
        vertices: Latents of so many neighbours, the nearest, span the hull (the paper takes 100 of
            a million samples).
        prior: The prior.
        rng: Where the randomness of the choice comes from.

    Raises:
        ValueError: Shapes do not fit, or an argument is out of its range.
        UserError: The mode has fewer than 10 neighbours.
    """
    z, far = np.asarray(latents, np.float64), np.asarray(distances, np.float64)
    if z.ndim != 2 or far.shape != (len(z),):
        raise ValueError(
            "Arguments `latents` and `distances` must be [n, z_dim] and [n], but got "
            f"{list(z.shape)} and {list(far.shape)}."
        )
    z_dim = z.shape[1]
    if directions is not None and not 0 <= directions <= z_dim:
        raise ValueError(
            f"Argument `directions` must be None or from 0 to {z_dim}, but got {directions}."
        )
    near = far <= radius
    count = int(near.sum())
    if count < MIN_NEIGHBORS:
        raise UserError(
            f"A dense mode has only {count} of {len(z)} samples as neighbours, too few for a hull; "
            "take more samples (--num) or a larger --radius."
        )
    closest = np.flatnonzero(near)[np.argsort(far[near], kind="stable")][: max(vertices, 1)]
    keep = min(1.0, target * len(z) / count)
    if directions is None:
        return Hull(z[closest], None, keep)
    if directions == 0:
        directions = _best_number(z, near, prior, vertices, rng)
    basis = ranked_directions(z[near], _STD[prior])[:directions]
    return Hull(z[closest] @ basis.T, basis, keep)


def ranked_directions(latents: Floats, std: float = 1.0) -> Floats:
    """Orders directions by how much a mode's latents differ from the prior's in them.

    The first is that of their mean. The others, orthogonal to it, are principal directions, ordered
    by the Kullback–Leibler divergence of the normal distributions along them, (λ − 1 − ln λ)/2 for
    a variance of λ, that of the prior being 1. Variances of few latents are drawn towards 1.

    Args:
        latents: [h, z_dim] of the mode, of a prior with mean 0.
        std: The prior's standard deviation.

    Returns:
        float64 [z_dim, z_dim], orthonormal rows.
    """
    z = latents / std
    count, z_dim = z.shape
    mean = z.mean(0)
    length = float(np.linalg.norm(mean))
    first = mean / length if length > 0 else np.eye(z_dim)[0]
    centred = z - mean
    centred -= np.outer(centred @ first, first)
    covariance = (centred.T @ centred + z_dim * np.eye(z_dim)) / (count + z_dim)
    # The first direction is set apart from all others by a variance that none of them has.
    covariance += np.outer(first, first) * (np.trace(covariance) + 1.0)
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[:-1], vectors[:, :-1]
    order = np.argsort(-(variances - 1.0 - np.log(variances)), kind="stable")
    return np.vstack([first[None], vectors.T[order]])


def _best_number(
    z: Floats,
    near: npt.NDArray[np.bool_],
    prior: Prior,
    vertices: int,
    rng: np.random.Generator,
) -> int:
    """Returns the number of directions whose hull overlaps best with latents held back (F₁)."""
    mode = rng.permutation(np.flatnonzero(near))
    held = mode[: min(_HELD_BACK, len(mode) // 3)]
    spanning = z[mode[len(held) :]]
    others = rng.permutation(np.flatnonzero(~near))[:_HELD_BACK]
    basis = ranked_directions(spanning, _STD[prior])
    best, number = -1.0, 1
    for tried in (count for count in TRIED if count <= z.shape[1]):
        hull = spanning[:vertices] @ basis[:tried].T
        found = in_hull(z[held] @ basis[:tried].T, hull).mean()
        wrong = in_hull(z[others] @ basis[:tried].T, hull).mean() if len(others) else 0.0
        # As shares of all latents, not of those looked at.
        hit, false = found * near.mean(), wrong * (~near).mean()
        overlap = 2.0 * hit / (hit + false + near.mean())
        if overlap > best:
            best, number = float(overlap), tried
    return number
