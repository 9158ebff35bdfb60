"""Hulls, mixtures, and the sampler that is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import minimize
from scipy.spatial import Delaunay
from scipy.stats import kstest

from diagan_plugin.blackbox.calibrate_hull import Hull, HullLatents, fit_hull, ranked_directions
from diagan_plugin.blackbox.calibrate_mixture import MixtureLatents, fit_mixture, lowered_weights
from diagan_plugin.blackbox.convex_hull import in_hull
from diagan_plugin.blackbox.latent_sampler import CalibratedLatents
from gan_registry.errors import UserError
from gan_registry.state_files import write_named

# ----------------------------------------------------------------- convex hull


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_hull_agrees_with_a_triangulation(k):
    rng = np.random.default_rng(k)
    hull = rng.normal(size=(40, k)) * 3 + 5
    points = rng.normal(size=(200, k)) * 3 + 5
    if k == 1:
        want = (points[:, 0] >= hull.min()) & (points[:, 0] <= hull.max())
    else:
        want = Delaunay(hull).find_simplex(points) >= 0
    np.testing.assert_array_equal(in_hull(points, hull), want)


def test_hull_in_512_dimensions():
    rng = np.random.default_rng(0)
    hull = rng.normal(size=(60, 512))
    inside = rng.dirichlet(np.ones(60) * 0.3, size=4) @ hull
    outside = inside + 0.01 * rng.normal(size=inside.shape)
    assert in_hull(inside, hull).all()
    assert not in_hull(outside, hull).any()


def test_hull_edges():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = [[0.5, 0.0], [1.0, 1.0], [1.0 + 1e-5, 0.5], [0.3, 0.3]]
    assert in_hull(points, square).tolist() == [True, True, False, True]
    assert in_hull([[1.0, 2.0], [1.0, 2.1]], [[1.0, 2.0]]).tolist() == [True, False]  # one vertex
    line = [[0.0, 0.0], [2.0, 2.0]]  # flat
    assert in_hull([[1.0, 1.0], [1.0, 1.2]], line).tolist() == [True, False]
    assert in_hull(np.empty((0, 2)), square).shape == (0,)
    for points, vertices in (([[0.0]], square), ([[0.0, np.nan]], square), ([[0.0]], [])):
        with pytest.raises(ValueError, match="points"):
            in_hull(points, vertices)


# ----------------------------------------------------------------------- hulls


def ball(n: int, z_dim: int, seed: int):
    """Latents, and their distances to a mode that is a cap of the first direction."""
    z = np.random.default_rng(seed).normal(size=(n, z_dim))
    return z, np.clip(1.0 - z[:, 0] / 4.0, 0.0, 1.0)  # within 0.5: the first number is 2 or more


@pytest.mark.parametrize(("z_dim", "directions"), [(2, None), (2, 0), (64, 0), (512, 1)])
def test_hull_thins_a_mode_out(z_dim, directions):
    z, far = ball(4000, z_dim, 0)
    share = (far <= 0.5).mean()
    hull = fit_hull(z, far, 0.5, share / 4, directions=directions, rng=np.random.default_rng(0))
    assert hull.keep == pytest.approx(0.25)
    latents = HullLatents([hull], z_dim)
    drawn = latents.sample(6000, 1)[:, 0]
    left = float((drawn >= 2.0).float().mean())
    assert left < 0.55 * share
    assert latents.acceptance_rate < 1.0
    # Elsewhere nothing changes.
    rest = drawn[drawn < 1.5].numpy()
    other = torch.randn(6000, generator=torch.Generator().manual_seed(5))
    assert kstest(rest, other[other < 1.5].numpy()).pvalue > 0.001


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("kind", "z_dim"), [("cap", 8), ("ball", 4)])
def test_the_number_of_directions_is_one_whose_hull_is_the_mode(kind, z_dim, seed):
    """A cap needs few directions, and in many its hull is empty; a ball needs all."""

    def distances(z):
        if kind == "cap":
            return np.clip(1.0 - z[:, 0] / 4.0, 0.0, 1.0)
        return np.linalg.norm(z - 1.2 * np.eye(z_dim)[0], axis=1) / 2.0

    rng = np.random.default_rng(seed)
    z, fresh = rng.normal(size=(5000, z_dim)), rng.normal(size=(1500, z_dim))
    near = distances(fresh) <= 0.5

    def overlap(directions):
        hull = fit_hull(z, distances(z), 0.5, 0.01, directions=directions, rng=rng)
        found = hull.contains(fresh)
        return len(hull.directions), 2 * (found & near).sum() / (found.sum() + near.sum())

    number, chosen = overlap(0)
    others = {k: overlap(k)[1] for k in (1, z_dim // 2, z_dim)}
    assert chosen > max(others.values()) - 0.1
    assert max(others.values()) - min(others.values()) > 0.4
    assert number == z_dim if kind == "ball" else number <= 4


@pytest.mark.parametrize("keep", [-0.01, 1.01, float("nan")])
def test_a_share_to_keep_is_one(keep):
    corner = np.array([[0.0, 0.0]])
    assert HullLatents([Hull(corner, None, 1.0), Hull(corner, None, 0.0)], 2).sample(3).shape
    with pytest.raises(ValueError, match=r"keep a share of \[0, 1\]"):
        HullLatents([Hull(corner, None, keep)], 2)
    with pytest.raises(ValueError, match="latents of 3 numbers"):
        HullLatents([Hull(corner, None, 0.5)], 3)


def test_keep_probability_is_the_smallest_of_all_hulls():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    latents = HullLatents([Hull(square, None, 0.2), Hull(square + 0.5, None, 0.5)], 2)
    keep = latents.keep_probability([[0.2, 0.2], [0.7, 0.7], [1.2, 1.2], [3.0, 3.0]])
    assert keep.tolist() == [0.2, 0.2, 0.5, 1.0]


def test_the_first_direction_is_that_of_the_mean():
    z = np.random.default_rng(0).normal(size=(300, 10))
    z[:, 3] = 2.0 + 0.1 * z[:, 3]
    z[:, 7] *= 0.2  # of a divergence of 1.1
    z[:, 5] *= 2.0  # of one of 0.8
    basis = ranked_directions(z)
    np.testing.assert_allclose(basis @ basis.T, np.eye(10), atol=1e-8)
    for place, direction in enumerate((3, 7, 5)):
        assert abs(basis[place, direction]) > 0.9
    # What counts is how they differ from the prior, whatever its spread.
    np.testing.assert_allclose(ranked_directions(z / 4, 0.25), basis, atol=1e-8)


def test_the_nearest_latents_span_the_hull():
    z, _ = ball(100, 2, 0)
    far = np.random.default_rng(1).permutation(100) / 100
    rng = np.random.default_rng(0)
    hull = fit_hull(z, far, 0.25, 0.13, directions=None, vertices=5, rng=rng)
    np.testing.assert_array_equal(hull.vertices, z[np.argsort(far)[:5]])
    assert hull.keep == pytest.approx(0.5)  # of 26 neighbours, one at the radius itself
    assert fit_hull(z, far, 0.25, 0.4, directions=None, rng=rng).keep == 1.0
    assert len(fit_hull(z, far, 0.09, 0.1, directions=None, rng=rng).vertices) == 10
    with pytest.raises(UserError, match="only 9 of 100"):
        fit_hull(z, far, 0.08, 0.1, directions=None, rng=rng)


def test_a_hull_over_everything_is_refused_when_drawn():
    box = np.array([[-9.0], [9.0]])
    latents = HullLatents([Hull(box, None, 0.0)], 1)
    with pytest.raises(UserError, match=r"keeps only 0\.00%"):
        latents.sample(1)
    z, far = ball(100, 2, 0)
    with pytest.raises(UserError, match="only 0 of 100"):
        fit_hull(z, far, 0.0, 0.01, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="directions"):
        fit_hull(z, far, 0.9, 0.01, directions=3, rng=np.random.default_rng(0))


# -------------------------------------------------------------------- mixtures


def test_weights_meet_the_share_and_change_the_least():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(6))
    rates = np.array([0.9, 0.5, 0.1, 0.0, 0.0, 0.02])
    target = 0.4 * shares @ rates
    least = lowered_weights(shares, rates, target)
    inverse = lowered_weights(shares, rates, target, "inverse")
    for weights in (least, inverse):
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ rates == pytest.approx(target, rel=1e-6)
        # The order of the change is that of the rates.
        assert (np.diff((weights / shares)[np.argsort(rates)]) <= 1e-12).all()

    def divergence(w):
        return float(np.sum(w * np.log(w / shares)))

    best = minimize(
        divergence, inverse, method="SLSQP", bounds=[(1e-9, 1)] * 6,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1.0},
            {"type": "eq", "fun": lambda w: w @ rates - target},
        ],
    )  # fmt: skip
    np.testing.assert_allclose(least, best.x, atol=2e-3)
    assert divergence(least) < divergence(inverse)


def test_weights_at_the_limits():
    shares, rates = np.array([0.5, 0.5]), np.array([0.4, 0.2])
    np.testing.assert_allclose(lowered_weights(shares, rates, 0.3), shares)  # dense enough already
    # The lowest there is: nothing but the sparser cluster.
    assert lowered_weights(shares, rates, 0.1)[1] == pytest.approx(1.0)
    equal = np.array([0.3, 0.3])
    np.testing.assert_allclose(lowered_weights(shares, equal, 0.0), shares)
    # As the paper has it: without a cluster that has none, 1/c, in the limit.
    got = lowered_weights(shares, rates, 2 / (1 / 0.4 + 1 / 0.2), "inverse")
    np.testing.assert_allclose(got, [1 / 3, 2 / 3], atol=1e-6)
    with pytest.raises(ValueError, match="rule"):
        lowered_weights(shares, rates, 0.1, "other")  # type: ignore[arg-type]


def test_mixture_is_the_prior_where_nothing_is_dense():
    z, _ = ball(4000, 3, 0)
    drawn = fit_mixture(z, np.zeros((4000, 1)), 0.01, clusters=30).sample(8000).double().numpy()
    np.testing.assert_allclose(drawn.mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.08)


@pytest.mark.parametrize("rule", ["least", "inverse"])
def test_mixture_lowers_a_mode(rule):
    z, far = ball(4000, 3, 0)
    near = (far <= 0.5)[:, None]
    drawn = fit_mixture(z, near, near.mean() / 4, clusters=80, rule=rule).sample(6000)
    assert float((drawn[:, 0] >= 2.0).float().mean()) < 0.6 * near.mean()
    assert float(drawn[:, 1].std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("rule", ["least", "inverse"])
def test_several_modes_are_lowered_to_their_share_together(rule):
    """With a cluster for each latent the weights are those of single latents, and exact."""
    z = np.random.default_rng(1).normal(size=(60, 2))
    near = np.stack([z[:, 0] > 0.3, z[:, 0] < -0.5, z[:, 1] > 1.0], 1)
    assert near.any(0).all()
    assert (near.sum(1) > 1).any()  # some are near two modes
    target = 0.1
    mixture = fit_mixture(z, near, target, clusters=60, rule=rule)
    of_cluster = np.abs(mixture.means.numpy()[:, None] - z[None]).sum(2).argmin(1)
    assert sorted(of_cluster) == list(range(60))
    weights = np.empty(60)
    weights[of_cluster] = mixture.weights.numpy()
    # What a typical sample has as neighbours, once for each mode.
    assert (weights @ near).sum() == pytest.approx(3 * target, abs=1e-6)
    # Each mode alone is lowered, and how far depends only on how many modes a latent is near.
    assert (weights @ near < near.mean(0)).all()
    of_hits = [weights[near.sum(1) == hits] for hits in range(3)]
    assert all(np.ptp(group) < 1e-9 for group in of_hits)
    assert of_hits[0][0] > of_hits[1][0] > of_hits[2][0]


def test_mixture_of_one_cluster_per_latent_and_bad_input():
    z = np.random.default_rng(0).normal(size=(5, 2))
    drawn = fit_mixture(z, np.zeros((5, 1)), 0.1, clusters=5).sample(50)
    assert torch.isfinite(drawn).all()
    with pytest.raises(ValueError, match="clusters"):
        fit_mixture(z, np.zeros((5, 1)), 0.1, clusters=6)
    with pytest.raises(ValueError, match="near"):
        fit_mixture(z, np.zeros((4, 1)), 0.1)
    with pytest.raises(ValueError, match="weights"):
        MixtureLatents(torch.tensor([0.5, 0.6]), torch.zeros(2, 2), torch.eye(2))


# --------------------------------------------------------------------- sampler


def samplers():
    z, far = ball(1000, 3, 0)
    near = (far <= 0.5)[:, None]
    hulls = [
        fit_hull(z, far, 0.5, 0.005, directions=k, rng=np.random.default_rng(0)) for k in (None, 1)
    ]
    return [fit_mixture(z, near, 0.005, clusters=10), HullLatents(hulls, 3, "gaussian")]


@pytest.mark.parametrize("number", [0, 1])
def test_saved_and_loaded_it_draws_the_same(tmp_path, number):
    latents = samplers()[number]
    latents.about = {"generator": "one"}
    latents.save(tmp_path / "deep" / "s.safetensors")
    loaded = CalibratedLatents.load(tmp_path / "deep" / "s.safetensors")
    assert type(loaded) is type(latents)
    assert loaded.about == {"generator": "one"}
    state = torch.get_rng_state()
    drawn = loaded.sample(1500, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert drawn.shape == (1500, 3)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, latents.sample(1500, seed=4))
    assert torch.equal(drawn[:7], latents.sample(7, seed=4))
    assert not torch.equal(drawn[:7], latents.sample(7, seed=5))
    assert loaded.sample(0).shape == (0, 3)
    batches = list(loaded.batches(2500))
    assert len(batches) >= 3
    assert all(0 < len(batch) <= 1000 for batch in batches)
    assert torch.equal(torch.cat(batches), loaded.sample(2500))


def test_uniform_latents_stay_within_their_range():
    latents = HullLatents(
        [Hull(np.array([[0.5], [1.0]]), np.array([[1.0, 0.0]]), 0.0)], 2, "uniform"
    )
    drawn = latents.sample(3000)
    assert drawn.abs().max() <= 1.0
    assert drawn[:, 0].max() < 0.5
    assert latents.acceptance_rate == pytest.approx(0.75, abs=0.03)


def test_refuses_other_files(tmp_path):
    path = tmp_path / "s.safetensors"
    with pytest.raises(UserError, match="There is no file"):
        CalibratedLatents.load(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        CalibratedLatents.load(path)
    save_file({"x": torch.zeros(1)}, path, {"format": "calibrated latents 1"})
    with pytest.raises(UserError, match="carries no checksum"):
        CalibratedLatents.load(path)
    write_named(path, {"x": torch.zeros(1)}, {"format": "else"})
    with pytest.raises(UserError, match="no calibrated sampler"):
        CalibratedLatents.load(path)
    metadata = {
        "format": "calibrated latents 1", "method": "mixture", "z_dim": "3", "prior": "gaussian",
        "about": json.dumps({}),
    }  # fmt: skip
    write_named(path, {"x": torch.zeros(1)}, metadata)
    with pytest.raises(UserError, match="weights"):
        CalibratedLatents.load(path)
    write_named(path, {"x": torch.zeros(1)}, {**metadata, "method": "other"})
    with pytest.raises(UserError, match="other"):
        CalibratedLatents.load(path)
