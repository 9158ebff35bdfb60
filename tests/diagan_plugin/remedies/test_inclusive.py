from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from settings import DIA
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import Tensor, nn

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.inclusive import matching, nearest
from diagan_plugin.remedies.inclusive.matching import LatentMatching, imle_term, nearby_latents
from diagan_plugin.remedies.inclusive.nearest import NearestSearch
from diagan_plugin.remedies.inclusive.plugin import InclusivePlugin
from diagan_plugin.remedies.mixtures.mix_gan import MixGanPlugin
from diagan_plugin.remedies.pacgan.plugin import PacGanPlugin
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.training.run import Run

DATA = {"num_samples": 32}


def config(options: dict[str, Any] | None = None, **changes: Any) -> Any:
    made = points_config(**{"DATA__options": DATA, **changes})
    made.PLUGINS = {"inclusive": {"weight": 0.1, "candidates": 3, "refresh": 1, **(options or {})}}
    return made


def trained(options: dict[str, Any] | None = None, **changes: Any) -> tuple[Run, LatentMatching]:
    plugin = InclusivePlugin()
    run = fit(config(options, **changes), plugins=manager(inclusive=plugin))
    found = plugin.matching(run)
    assert found is not None
    return run, found


def test_a_batch_by_hand() -> None:
    generated = torch.tensor([[1.0, 2.0], [0.0, -1.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [3.0, -1.0]], requires_grad=True)
    term = imle_term(generated, targets)  # squares 0, 4, 9, 0
    assert term.item() == pytest.approx(3.25)
    term.backward()
    assert generated.grad is not None
    assert generated.grad.tolist() == [[0.0, 1.0], [-1.5, 0.0]]
    assert targets.grad is None
    for one, other in ((torch.zeros(0, 2), torch.zeros(0, 2)), (generated, generated[:1])):
        with pytest.raises(ValueError, match="at least one sample"):
            imle_term(one, other)
    half = imle_term(torch.full((2, 2), 1000.0).half(), torch.full((2, 2), 500.0).half())
    assert half.item() == 250_000.0  # beyond float16


def brute(queries: Tensor, candidates: Tensor) -> tuple[np.ndarray, np.ndarray]:
    a, b = queries.double().numpy(), candidates.double().numpy()
    squared = ((a[:, None] - b[None]) ** 2).sum(2)
    squared[:, ~np.isfinite(b).all(1)] = np.inf
    return squared.argmin(1), squared.min(1)


def in_batches(search: NearestSearch, candidates: Tensor, size: int, queries: int) -> Tensor:
    found = torch.full((queries,), -1)
    for start in range(0, len(candidates), size):
        nearer, which = search.add(candidates[start : start + size])
        found[nearer] = which + start
    return found


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize(("offset", "width"), [(0.0, 3), (1000.0, 40)])
def test_neighbours_are_exact(
    backend: str, offset: float, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "faiss":
        pytest.importorskip("faiss")
    monkeypatch.setattr(nearest, "_TILE", 64)
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        queries = torch.randn(37, width, generator=rng) + offset
        candidates = torch.randn(53, width, generator=rng) + offset
        candidates[20:30] = candidates[:10]  # ties: the first counts
        candidates[40] = float("nan")
        candidates[41, 0] = float("inf")
        expected, squared = brute(queries, candidates)
        for size in (1, 9, 53):
            search = NearestSearch(queries, backend)
            found = in_batches(search, candidates, size, 37)
            np.testing.assert_array_equal(found.numpy(), expected)
            np.testing.assert_allclose(search.squared.numpy(), squared, rtol=1e-6)


def test_searches_at_the_edge() -> None:
    search = NearestSearch(torch.zeros(0, 3))
    assert [len(part) for part in search.add(torch.zeros(4, 3))] == [0, 0]
    search = NearestSearch(torch.zeros(2, 3))
    assert [len(part) for part in search.add(torch.zeros(0, 3))] == [0, 0]
    assert [len(part) for part in search.add(torch.full((4, 3), float("nan")))] == [0, 0]
    assert search.squared.tolist() == [float("inf")] * 2
    assert search.add(torch.ones(1, 3).half())[1].tolist() == [0, 0]
    assert search.squared.tolist() == [3.0, 3.0]
    for call in (
        lambda: NearestSearch(torch.zeros(3)),
        lambda: NearestSearch(torch.zeros(3, 2), "tree"),
        lambda: search.add(torch.zeros(2, 2)),
    ):
        with pytest.raises(ValueError, match="Argument"):
            call()


def test_a_minority_is_covered_that_the_game_alone_drops() -> None:
    """A generator of two points, z > 0 and z ≤ 0, both of which the game draws to the mode at 1.

    The data also have a sample at −1. The nearest candidate's latent is made to reach it.
    """
    data = torch.tensor([[1.0], [1.0], [1.0], [-1.0]])

    def covered(weight: float) -> float:
        places = torch.tensor([0.3, -0.3], requires_grad=True)

        def generate(z: Tensor) -> Tensor:
            return torch.where(z > 0, places[0], places[1])

        rng = torch.Generator().manual_seed(0)
        for step in range(100):
            candidates = torch.randn(20, 1, generator=rng)
            if step % 10 == 0:
                search = NearestSearch(data)
                nearer, which = search.add(generate(candidates).detach())
                latents = torch.zeros(4, 1)
                latents[nearer] = candidates[which]
            game = (generate(candidates) - 1).square().mean()
            loss = game + weight * imle_term(generate(latents), data)
            (gradient,) = torch.autograd.grad(loss, places)
            places = (places - 0.05 * gradient).detach().requires_grad_()
        return float((places.detach() + 1).abs().min())  # from the minority to the nearest sample

    assert covered(0.0) > 1.9
    assert covered(20.0) < 0.3


@pytest.mark.parametrize(("prior", "std"), [("gaussian", 1.0), ("uniform", 1 / 3**0.5)])
def test_moved_latents_stay_of_the_prior(prior: str, std: float) -> None:
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 2, generator=rng)
    if prior == "uniform":
        z = torch.rand(4000, 2, generator=rng) * 2 - 1
    assert torch.equal(nearby_latents(z, 0.0, prior, rng), z)
    near, other = nearby_latents(z, 0.1, prior, rng), nearby_latents(z, 1.0, prior, rng)
    assert 0 < (near - z).abs().mean() < 0.12
    assert abs(float((other * z).mean())) < 0.05
    assert float(other.std()) == pytest.approx(std, abs=0.02)
    assert prior == "gaussian" or float(near.abs().max()) <= 1
    assert prior == "uniform" or float(near.std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("features", ["raw", "discriminator"])
def test_the_latents_are_those_of_the_nearest_candidates(
    features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found = trained({"features": features})
    before = {name: value.clone() for name, value in run.discriminator.state_dict().items()}
    for queries in (2**27, 20):  # in one piece, and in several
        monkeypatch.setattr(matching, "_QUERIES", queries)
        found.searches = 5
        found.search(run)
        with torch.no_grad():
            z = run.latents(96, "inclusive", 5, 0)
            x, candidates = run.dataset.__getitems__(range(32))[0], run.generator.eval()(z)
            if features == "discriminator":
                x, candidates = run.backbone.features(x), run.backbone.features(candidates)
        index, squared = brute(x, candidates)
        assert torch.equal(found.latents, z[torch.from_numpy(index)])
        assert found.distance == pytest.approx(squared.mean(), rel=1e-6)
    for name, value in run.discriminator.state_dict().items():
        assert torch.equal(value, before[name])


def test_every_sample_comes_once_an_epoch() -> None:
    run, found = trained({"noise": 0.0})
    batches = [found.batch(run, number) for number in (4, 5)]  # an epoch has two
    x = torch.cat([x for x, _ in batches])
    z = torch.cat([z for _, z in batches])
    data = run.dataset.__getitems__(range(32))[0]
    rows = [int((data == row).all(1).nonzero()[0, 0]) for row in x]
    assert sorted(rows) == list(range(32))
    assert torch.equal(z, found.latents[rows])


def test_searches_become_rarer() -> None:
    run, found = trained({"refresh": 1, "growth": 2.0}, OPTIMIZATION__total_steps=14)
    # Epochs have two steps: searches at epochs 0, 1, 3 and 7.
    assert (found.searches, found.next_epoch) == (4, 15)
    assert evaluate(run)["inclusive"]["searches"] == 4
    _, steady = trained({"refresh": 1, "growth": 1.0}, OPTIMIZATION__total_steps=6)
    assert (steady.searches, steady.next_epoch) == (4, 4)


def test_two_updates_a_step_see_two_batches() -> None:
    plugin = InclusivePlugin()
    run: Any = SimpleNamespace(
        step=3, config=SimpleNamespace(OPTIMIZATION=SimpleNamespace(
            g_updates_per_step=2, acml_steps=2)))  # fmt: skip

    class Key(SimpleNamespace):
        __hash__ = object.__hash__

    run = Key(**vars(run))
    assert [plugin._number(run) for _ in range(4)] == [12, 13, 14, 15]
    run.step = 4
    assert plugin._number(run) == 16


def test_with_dia_and_features_and_packs(tmp_path: Any) -> None:
    made = config({"features": "discriminator"}, RUN__sampler="dia", OPTIMIZATION__total_steps=8)
    made.PLUGINS["dia"] = DIA
    run = fit(made, plugins=manager(inclusive=InclusivePlugin(), dia=DiaPlugin()))
    assert "dia.auxiliary" in run.additions
    made = config(OPTIMIZATION__total_steps=3, RUN__mixed_precision="bf16")
    made.PLUGINS["pacgan"] = {"size": 2}
    one, other = (
        fit(made, plugins=manager(inclusive=InclusivePlugin(), pacgan=PacGanPlugin()))
        for _ in range(2)
    )
    assert_equal_runs(one, other)


@pytest.mark.parametrize(
    ("options", "beside", "message"),
    [
        ({"noise": 1.5}, {}, "at most 1"),
        ({}, {"mix_gan": {"generators": 2}}, "takes another generator"),
        ({"features": "discriminator"}, {"pacgan": {"size": 2}}, "use --inclusive-features raw"),
    ],
)
def test_what_cannot_work_is_refused(
    options: dict[str, Any], beside: dict[str, Any], message: str
) -> None:
    made = config(options)
    made.PLUGINS |= beside
    plugins = {"mix_gan": MixGanPlugin(), "pacgan": PacGanPlugin()}
    with pytest.raises(UserError, match=message):
        fit(made, plugins=manager(inclusive=InclusivePlugin(), **plugins))


def test_a_conditional_generator_and_a_missing_faiss_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run: Any = SimpleNamespace(
        options={"inclusive": {"weight": 1.0}}, backbone=SimpleNamespace(conditional=True)
    )
    with pytest.raises(UserError, match="all classes"):
        InclusivePlugin().gan_models_ready(run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install faiss-cpu"):
        NearestSearch(torch.zeros(2, 2), "faiss")


class NoFeatures(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x[:, 0]


def test_a_discriminator_without_features_is_refused() -> None:
    class Strip:
        from gan_registry.hookspecs import hookimpl

        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.discriminator = NoFeatures()

    made = config({"features": "discriminator"})
    with pytest.raises(UserError, match=r"gives none .*: use raw"):
        fit(made, plugins=manager(inclusive=InclusivePlugin(), a=Strip()))
