"""`--dia-rule feedback` in a run: who is asked, when, and what is set."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import fit, manager, points_config

from diagan_plugin import Dia
from diagan_plugin.dia.centring import as_a_ratio
from diagan_plugin.dia.feedback import Feedback
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.own_loop.keys import StreamKeys
from diagan_plugin.scoring.feedback import FeedbackRule, FeedbackWeights
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

OPTIONS = {"rule": "feedback", "record_every": 1, "window": 3, "phase1": 0.5}
# In these few steps little is missed; the rule is to act all the same.
RULE = FeedbackRule(healthy=0.0)


def act_by(monkeypatch, rule):
    weights = functools.partial(FeedbackWeights, rule=rule)
    monkeypatch.setattr("diagan_plugin.dia.feedback.FeedbackWeights", weights)


@pytest.fixture(autouse=True)
def _a_rule_that_acts(monkeypatch):
    act_by(monkeypatch, RULE)


class Seen:
    """Notes the weights in force after each step, and what the auxiliary D says of all samples."""

    def __init__(self, dia):
        self.dia, self.weights, self.ratios, self.scores = dia, {}, {}, None

    @hookimpl(trylast=True)
    def gan_step_end(self, run):
        driver = self.dia.driver(run)
        if driver.phase == 1:
            return
        self.weights[run.step] = driver.acting_weights(run)
        self.scores = driver.weights.probabilities, driver.recorder.moments()[0]
        network = driver.auxiliary.discriminator.eval()
        with torch.no_grad():
            x = torch.stack([run.dataset[i][0] for i in range(len(run.dataset))])
            self.ratios[run.step] = as_a_ratio(network(x, None).reshape(-1))
        network.train()


def trained(steps=12, folder=None, options=None, **config):
    dia = DiaPlugin()
    seen = Seen(dia)
    plugins = manager(dia=dia, seen=seen)
    settings = points_config(RUN__sampler="dia", OPTIMIZATION__total_steps=steps, **config)
    resolved = plugins.options.resolve({"dia": {**OPTIONS, **(options or {})}})
    run = fit(settings, folder, plugins, **resolved)
    return run, dia.driver(run), seen


def test_the_weights_follow_the_auxiliary_discriminator_from_step_to_step() -> None:
    _, driver, seen = trained(DATA__options={"num_samples": 32})
    p, ldrm = seen.scores
    loop = FeedbackWeights(p, as_a_ratio(torch.from_numpy(ldrm)), RULE)
    began = loop.weights / loop.weights.sum()  # those of the scores, as far as something is missed
    np.testing.assert_allclose(seen.weights[6], began)
    for step in range(7, 12):
        loop.update(seen.ratios[step], (step - 6) / 6)
        np.testing.assert_allclose(seen.weights[step], loop.weights / loop.weights.sum(), rtol=1e-5)
    assert abs(seen.weights[11] / began - 1).max() > 1e-5  # little was missed
    np.testing.assert_array_equal(seen.weights[12], seen.weights[11])  # no step is left to weigh
    assert driver.weights.feedback.mean_ratio == pytest.approx(
        np.average(loop.ratio, weights=loop.weights), rel=1e-4
    )


def test_a_long_phase_2_is_followed_a_hundred_times_at_a_bounded_cost() -> None:
    long = SimpleNamespace(total_steps=1000, samples_per_step=16, dataset=range(4000), seed=0)
    loop = Feedback(long, np.full(4000, 1 / 4000), np.zeros(4000), 500)
    due = [step for step in range(1001) if loop.due(step)]
    assert due == list(range(505, 1000, 5))
    long.step = 505
    asked = loop._indices(long)
    # 2 × 16 samples a step, over 500 of them.
    assert len(asked) == 160
    long.step = 510
    assert set(asked) != set(loop._indices(long))
    run, driver, _ = trained(4, DATA__options={"num_samples": 4000})
    loop = driver.weights.feedback
    assert loop._every == 1
    # 2 × 16 samples a step, of 4,000.
    indices = loop._indices(run)
    assert len(indices) == 32
    assert len(set(indices)) == 32
    known = np.isfinite(loop.weights.ratio)
    assert known.sum() in range(32, 65)
    assert loop.mean_ratio == pytest.approx(
        np.average(loop.weights.ratio[known], weights=loop.weights.weights[known])
    )


def test_the_result_says_what_was_found(tmp_path) -> None:
    run, driver, _ = trained(folder=tmp_path)
    loop = driver.weights.feedback
    assert driver.result(run)["feedback"] == {
        "aim": loop.weights.aim,
        "strength": loop.weights.strength,
        "released_at": loop.released_at,
        "mean_log_ratio": pytest.approx(loop.mean_ratio),
    }
    assert loop.released_at in range(7, 10)  # at the latest where the aim begins to fall
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-2])
    assert {"weights/mean_log_ratio", "weights/ess_share"} <= set(line)


@pytest.mark.parametrize("aux", ["uniform", "importance"])
def test_a_healthy_generator_is_trained_as_without_dia_bit_for_bit(aux, monkeypatch) -> None:
    act_by(monkeypatch, FeedbackRule(healthy=5.0, missed=6.0))
    run, driver, seen = trained(options={"aux": aux})
    plain = fit(points_config(OPTIMIZATION__total_steps=12), None, manager())
    for name, value in plain.generator.state_dict().items():
        torch.testing.assert_close(run.generator.state_dict()[name], value, rtol=0, atol=0)
    np.testing.assert_array_equal(seen.weights[12], 1 / len(run.dataset))
    assert driver.auxiliary.discriminator is not None  # which corrects the samples, if asked for
    found = driver.result(run)["feedback"]
    assert (found["strength"], found["released_at"]) == (0.0, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aux": "none"}, "--dia-aux uniform"),
        ({"refresh": 2}, "--dia-refresh 2"),
        ({"ramp": 2}, "--dia-ramp 2"),
    ],
)
def test_what_would_leave_the_loop_open_is_refused(options, said) -> None:
    with pytest.raises(UserError, match=said):
        trained(options=options)
    # A run that only diagnoses has no phase 2.
    plugins = manager(dia=DiaPlugin())
    resolved = plugins.options.resolve({"dia": {**OPTIONS, **options, "diagnose": True}})
    fit(points_config(), None, plugins, **resolved)


def test_a_loop_of_ones_own_is_steered_too() -> None:
    data, generator = torch.randn(64, 2), torch.nn.Linear(2, 2)
    discriminator = torch.nn.Linear(2, 1)
    dia = Dia(
        data, total_steps=12, batch_size=16, rule="feedback", aux="uniform", record_every=1,
        phase1=0.5,
    )  # fmt: skip
    optimizer = torch.optim.Adam(discriminator.parameters(), 0.05)
    loader = torch.utils.data.DataLoader(dia.dataset, 16, sampler=dia.sampler)
    seen = []
    for _ in range(3):
        for x, indices in loader:
            fake = generator(torch.randn(16, 2)).detach()
            optimizer.zero_grad()
            softplus = torch.nn.functional.softplus
            (softplus(-discriminator(x)).mean() + softplus(discriminator(fake)).mean()).backward()
            optimizer.step()
            dia.update(discriminator, optimizer, indices, fake)
            dia.step()
            if dia.phase == 2:
                seen.append(dia.sampler.probabilities_at(dia.sampler.position))
    assert len(seen) == 7
    np.testing.assert_array_equal(seen[0], seen[1])  # pressed
    assert (seen[-2] != seen[0]).any()


def test_a_stream_has_no_data_to_ask_about() -> None:
    with pytest.raises(UserError, match=r'use rule="paper"'):
        Dia(StreamKeys(64), total_steps=12, batch_size=16, rule="feedback", aux="uniform")
