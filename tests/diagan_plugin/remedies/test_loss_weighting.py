from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import DIA
from small_runs import fit, manager, points_config
from torch.nn.functional import softplus

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.postprocessing.judges import choose_judge
from diagan_plugin.postprocessing.options import PostOptions
from diagan_plugin.remedies.loss_weighting.driver import WeightingDriver
from diagan_plugin.remedies.loss_weighting.plugin import LossWeightingPlugin
from diagan_plugin.remedies.loss_weighting.weights import loss_weights
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate


def test_a_batch_by_hand() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    weights = loss_weights(probabilities, torch.tensor([3, 0, 0]))
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx([1.6, 0.4, 0.4])


def test_the_expected_loss_is_that_of_weighted_sampling() -> None:
    rng = np.random.default_rng(0)
    probabilities, terms = rng.dirichlet(np.ones(50)), rng.normal(size=50)
    weights = loss_weights(torch.from_numpy(probabilities), torch.arange(50)).numpy()
    assert weights.mean() == pytest.approx(1.0, rel=1e-6)
    assert (weights * terms).mean() == pytest.approx(probabilities @ terms, rel=1e-5)


def test_other_shapes_are_told() -> None:
    assert loss_weights(torch.ones(3) / 3, torch.empty(0, dtype=torch.int64)).shape == (0,)
    for probabilities, indices in (
        (torch.ones(2, 2), torch.zeros(1)),
        (torch.ones(2), torch.ones(1, 1)),
    ):
        with pytest.raises(ValueError, match="must be one-dimensional"):
            loss_weights(probabilities, indices.long())


def test_d_comes_to_favour_what_has_the_larger_weight() -> None:
    """A free logit for each of two kinds of samples, equally common among data and fakes.

    D's optimum is log(N · P), the ratio of the emphasised data to the fakes.
    """
    probabilities = torch.tensor([0.2, 0.8])
    logits = torch.zeros(2, requires_grad=True)
    weights = loss_weights(probabilities, torch.arange(2))
    for _ in range(300):
        loss = (weights * softplus(-logits)).mean() + softplus(logits).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert logits.tolist() == pytest.approx([np.log(0.4), np.log(1.6)], abs=1e-4)


def settled(
    plugin: LossWeightingPlugin,
    folder: Path | None = None,
    beside: dict[str, Any] | None = None,
    **dia: Any,
) -> Any:
    config = points_config(OPTIMIZATION__total_steps=8, **(beside or {}))
    config.PLUGINS = {"loss_weighting": {"by": "ldr"}, "dia": {**DIA, **dia}}
    return fit(config, folder, manager(loss_weighting=plugin, dia=DiaPlugin()))


def test_it_scores_as_dia_does_at_the_same_step_and_draws_uniformly() -> None:
    plugin, other = LossWeightingPlugin(), DiaPlugin()
    run = settled(plugin)
    config = points_config(OPTIMIZATION__total_steps=8, RUN__sampler="dia")
    config.PLUGINS = {"dia": DIA}
    dia_run = fit(config, plugins=manager(dia=other))
    driver, dia = plugin.driver(run), other.driver(dia_run)
    assert driver is not None
    assert dia is not None
    np.testing.assert_array_equal(driver.weights.probabilities, dia.weights.probabilities)
    assert driver.active_probabilities.double().numpy() == pytest.approx(dia.weights.probabilities)
    assert driver.draws.sum() == dia.draws.sum() == 4 * 16
    assert driver.draws.max() == 1  # the first epoch is not over


def test_a_ramp_and_the_auxiliary_discriminator_are_dias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = LossWeightingPlugin()
    active: dict[int, torch.Tensor | None] = {}
    set_weights = WeightingDriver._set_weights

    def noted(driver: WeightingDriver, run: Any) -> None:
        set_weights(driver, run)
        assert driver.active_probabilities is not None
        active[run.step] = driver.active_probabilities.double()

    monkeypatch.setattr(WeightingDriver, "_set_weights", noted)
    run = settled(plugin, tmp_path, ramp=4)
    full = torch.from_numpy(plugin.driver(run).weights.probabilities)
    # Phase 2 begins after step 4 of 8: a quarter of the way at once, and one more after each step.
    assert list(active) == [4, 5, 6, 7]
    for step, weights in active.items():
        part = (step - 3) / 4
        torch.testing.assert_close(
            weights, (1 - part) / len(full) + part * full, rtol=1e-5, atol=0.0
        )
    assert (full - 1 / len(full)).abs().max() > 1e-4
    assert "dia.auxiliary" in run.additions
    assert run.postprocessors == ["drs"]
    result = evaluate(run)
    assert "metrics_drs" in result
    assert result["weights"]["ess_share"] > 0


@pytest.mark.parametrize(
    ("dia", "message"),
    [
        ({"aux": "importance"}, "use --dia-aux uniform or none"),
        ({"record_every": 5}, "records"),
        ({"diagnose": True, "aux_ratio": True}, "leave one of the two out"),
    ],
)
def test_what_cannot_work_is_refused(dia: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settled(LossWeightingPlugin(), **dia)


def test_without_dia_it_is_refused() -> None:
    config = points_config()
    config.PLUGINS = {"loss_weighting": {"by": "ldr"}}
    with pytest.raises(UserError, match="needs the plugin 'dia'"):
        fit(config, plugins=manager(loss_weighting=LossWeightingPlugin()))


def test_with_diagnose_both_report(tmp_path: Path) -> None:
    plugin = LossWeightingPlugin()
    run = settled(plugin, tmp_path, {"DATA__holdout": 0.25}, diagnose=True, k="auto")
    result = evaluate(run)
    assert "weights" in result
    assert "ldrm" in next(iter(result["groups"].values()))
    assert result["holdout"]["samples"] == len(run.holdout)
    # Of both choices of k the one that weights.
    assert result["chosen"] == plugin.driver(run).choices.result()


def test_a_discriminator_of_weighted_terms_is_no_silent_judge(
    caplog: pytest.LogCaptureFixture,
) -> None:
    choose_judge(settled(LossWeightingPlugin()), PostOptions())  # the auxiliary one
    assert "The discriminator saw" not in caplog.text
    choose_judge(settled(LossWeightingPlugin(), aux="none"), PostOptions())
    assert "The discriminator saw samples weighted by their score" in caplog.text
