"""Algorithm 1 of the paper: the latent distribution as a mixture of Gaussians, with new weights.

Latents drawn from the prior are clustered by K-means; each cluster becomes a Gaussian around its
centre, all with the pooled covariance within clusters, so that with the clusters' own shares as
weights the mixture has the prior's mean and covariance. Then the weights of clusters near the dense
modes are lowered.

The paper's weights are 1/cₖ, with cₖ the neighbours of the modes in cluster k. Most clusters have
none, so these are undefined, and they ignore how large a cluster is and how far to go. With

    πₖ = nₖ/n,   ρₖ = cₖ/nₖ,   and λ such that Σ wₖ ρₖ is a typical sample's share of neighbours

there are two rules instead:

- "least": wₖ ∝ πₖ exp(−λ ρₖ), the weights nearest to πₖ (in Kullback–Leibler divergence) of all
  that meet the share; the default, as it changes the least beside the mode.
- "inverse": wₖ ∝ πₖ / (1 + λ ρₖ), for equal clusters the paper's 1/cₖ with a pseudo-count.

Gaussians overlap, so that some of the mode's latents come back from clusters beside it, and
K-means in many dimensions finds clusters that have nothing to do with the mode: look at what the
calibration measures afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from sklearn.cluster import KMeans
from torch import Tensor

from diagan_plugin.blackbox.latent_sampler import BLOCK, CalibratedLatents, Prior
from gan_registry.seeding import derive_seed

Rule = Literal["least", "inverse"]
RULES: tuple[Rule, ...] = ("least", "inverse")
CLUSTERS = 500
_MEMBERS = 20  # samples a cluster should have on average, for its share of neighbours to mean much
_LARGEST = {"least": 1e4, "inverse": 1e9}  # λ beyond which nothing changes


class MixtureLatents(CalibratedLatents):
    """Latents from a mixture of Gaussians with one covariance.

    Args:
        weights: [K], at least 0, sum 1.
        means: [K, z_dim].
        factor: [z_dim, z_dim], lower triangular L with covariance L Lᵀ.
        about: See :class:`CalibratedLatents`.

    Raises:
        ValueError: Shapes do not fit, or the weights are no probabilities.
    """

    method: ClassVar[str] = "mixture"

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        factor: Tensor,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        clusters, z_dim = means.shape
        if weights.shape != (clusters,) or factor.shape != (z_dim, z_dim):
            raise ValueError(
                f"Arguments `weights` and `factor` must be [{clusters}] and [{z_dim}, {z_dim}], "
                f"but got {list(weights.shape)} and {list(factor.shape)}."
            )
        if bool((weights < 0).any()) or abs(float(weights.sum()) - 1.0) > 1e-4:
            raise ValueError("Argument `weights` must be at least 0 and sum to 1.")
        super().__init__(z_dim, "gaussian", about)
        self.weights = weights.double()
        self.means = means.float()
        self.factor = factor.float()

    def _block(self, rng: torch.Generator) -> Tensor:
        chosen = torch.multinomial(self.weights, BLOCK, replacement=True, generator=rng)
        noise = torch.randn(BLOCK, self.z_dim, generator=rng)
        return self.means[chosen] + noise @ self.factor.T

    def tensors(self) -> dict[str, Tensor]:
        """Returns what the file holds."""
        return {"weights": self.weights, "means": self.means, "factor": self.factor}

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], z_dim: int, prior: Prior, about: Mapping[str, Any]
    ) -> MixtureLatents:
        """Makes one of what a file held."""
        latents = cls(tensors["weights"], tensors["means"], tensors["factor"], about)
        if latents.z_dim != z_dim:
            raise ValueError(f"its means have {latents.z_dim} numbers instead of {z_dim}.")
        return latents


def fit_mixture(
    latents: npt.ArrayLike,
    near: npt.ArrayLike,
    target: float,
    *,
    clusters: int | None = None,
    rule: Rule = "least",
    seed: int = 0,
) -> MixtureLatents:
    """Fits the calibrated mixture (algorithm 1).

    Args:
        latents: [n, z_dim], drawn from a standard normal.
        near: bool [n, m], whether each latent's sample is a neighbour of each dense mode.
        target: Share of the samples that are neighbours of a typical sample; the modes shall have
            m times that in all.
        clusters: K; 500 by default, or n/20 if that is less.
        rule: How weights are lowered, "least" or "inverse".
        seed: What K-means starts from.

    Raises:
        ValueError: Shapes do not fit, or there are fewer latents than clusters.
    """
    z = np.asarray(latents, np.float64)
    hits = np.asarray(near, bool)
    if z.ndim != 2 or hits.ndim != 2 or len(hits) != len(z) or not hits.shape[1]:
        raise ValueError(
            "Arguments `latents` and `near` must be [n, z_dim] and [n, m], but got "
            f"{list(z.shape)} and {list(hits.shape)}."
        )
    count = min(CLUSTERS, max(len(z) // _MEMBERS, 1)) if clusters is None else clusters
    if not 1 <= count <= len(z):
        raise ValueError(
            f"Argument `clusters` must be from 1 to {len(z)} latents, but got {count}."
        )
    means_of = KMeans(count, n_init=1, random_state=derive_seed(seed, "k-means") % 2**32)
    member = means_of.fit_predict(z)
    # K-means stops a little before its centres are those of their members.
    sizes = np.bincount(member, minlength=count)
    means = np.zeros((count, z.shape[1]))
    np.add.at(means, member, z)
    means /= np.maximum(sizes, 1)[:, None]
    inside = z - means[member]
    covariance = inside.T @ inside / len(z)
    counts = np.zeros((count, hits.shape[1]))
    np.add.at(counts, member, hits)
    rates = counts.sum(1) / np.maximum(sizes, 1)
    weights = lowered_weights(sizes / len(z), rates, target * hits.shape[1], rule)
    return MixtureLatents(
        torch.from_numpy(weights),
        torch.from_numpy(means).float(),
        torch.from_numpy(_factor(covariance)).float(),
    )


def lowered_weights(
    shares: npt.NDArray[np.float64],
    rates: npt.NDArray[np.float64],
    target: float,
    rule: Rule = "least",
) -> npt.NDArray[np.float64]:
    """Lowers the weights of clusters where neighbours of the modes are frequent.

    Args:
        shares: πₖ [K], sum 1.
        rates: ρₖ [K], at least 0.
        target: What Σ wₖ ρₖ shall be.
        rule: "least" or "inverse".

    Returns:
        wₖ [K], sum 1: the shares where they meet the target already, and the lowest that there is
        where none meets it.

    Raises:
        ValueError: There is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"Argument `rule` must be one of {RULES}, but got {rule!r}.")

    def weights(strength: float) -> npt.NDArray[np.float64]:
        factors: npt.NDArray[np.float64]
        if rule == "inverse":
            factors = 1.0 / (1.0 + strength * rates)
        else:  # the smallest rate is taken off, so that no strength turns all weights to 0
            factors = np.exp(-strength * (rates - rates.min()))
        lowered = shares * factors
        normalised: npt.NDArray[np.float64] = lowered / lowered.sum()
        return normalised

    def excess(log_strength: float) -> float:
        return float(weights(np.expm1(log_strength)) @ rates) - target

    if excess(0.0) <= 0.0:
        return weights(0.0)
    highest = float(np.log1p(_LARGEST[rule]))
    if excess(highest) >= 0.0:
        return weights(_LARGEST[rule])
    return weights(float(np.expm1(brentq(excess, 0.0, highest, xtol=1e-9))))


def _factor(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns L with L Lᵀ the covariance, which may be singular (clusters of one latent each)."""
    size = len(covariance)
    jitter = 1e-10 * max(float(np.trace(covariance)) / size, 1e-10)
    return np.asarray(np.linalg.cholesky(covariance + jitter * np.eye(size)), np.float64)
