"""The post-processors in the host: by name, with their options, in result and report."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import fit, manager, points_config
from torch import Tensor, nn

from diagan_plugin.dia.options import AUXILIARY
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.postprocessing import calibrated
from diagan_plugin.postprocessing import judges as fresh
from diagan_plugin.postprocessing.calibrated import calibrate, real_samples
from diagan_plugin.postprocessing.judges import Judge, choose_judge
from diagan_plugin.postprocessing.options import PostOptions
from diagan_plugin.postprocessing.plugin import PostprocessingPlugin
from diagan_plugin.postprocessing.streaming import AcceptanceRateError
from gan_registry.backbones.base import Backbone
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.evaluation.sources import collect
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.report.write import write_report
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run

NAMES = (
    "drs", "drs_exact", "drs_fresh", "obrs", "mh", "mh_fresh", "threshold", "interpolation",
)  # fmt: skip
QUICK = {"mh_steps": 4, "fresh_steps": 5, "burn_in": 300}


class Joined(nn.Module):
    """A network of a sample (or latent) and its label, which it insists on."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size + 1, out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None
        joined: Tensor = self.linear(torch.cat([x, y[:, None].to(x) / 10], 1))
        return joined


class Conditional:
    """Brings a conditional backbone."""

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        def build(config: Any, sample_shape: Any, num_classes: int, seed: int) -> Backbone:
            return Backbone(
                partial(Joined, 2, 2), partial(Joined, 2, 1), z_dim=2, seed=seed,
                num_classes=num_classes, conditional=True,
            )  # fmt: skip

        catalogs.backbones.register("joined", build)


def managers() -> PluginManager:
    return manager(
        dia=DiaPlugin(), postprocessing=PostprocessingPlugin(), conditional=Conditional()
    )


def trained(
    folder: Path | None = None, *, dia: dict[str, Any] | None = None, **changes: Any
) -> Run:
    post = changes.pop("post", {})
    config = points_config(**changes)
    config.PLUGINS = {"postprocessing": {**QUICK, **post}, "dia": dia or {}}
    return fit(config, folder, managers())


def source(run: Run, name: str, seed: int = 0) -> Any:
    return run.plugins.catalogs.postprocessors[name](run, seed)


@pytest.fixture(scope="module")
def run() -> Run:
    return trained()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, logger="diagan_plugin.postprocessing"):
        yield caplog


# --- what every source owes ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_seed(run, name):
    state = torch.get_rng_state()
    modes = [module.training for module in run.discriminator.modules()]
    one, same, other = (source(run, name, seed) for seed in (1, 1, 2))
    first = collect(one, 70)
    assert first.shape == (70, 2)
    assert first.isfinite().all()
    assert torch.equal(first, collect(same, 70))
    assert not torch.equal(first, collect(other, 70))
    assert 0 < one.statistics()["acceptance_rate"] <= 1
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in run.discriminator.modules()] == modes


@pytest.mark.parametrize("name", NAMES)
def test_sources_stream(run, name):
    batch = next(iter(source(run, name).batches(10**12)))
    assert 0 < len(batch) <= 500


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_comes_with_its_latent_and_label(name):
    run = trained(MODEL__backbone="joined", MODEL__g_init="N02", MODEL__d_init="N02")
    batches = list(source(run, name).labelled_batches(60))
    assert sum(len(batch.x) for batch in batches) == 60
    for batch in batches:
        with torch.no_grad():
            torch.testing.assert_close(batch.x, run.generator.eval()(batch.z, batch.y))
    assert len(torch.cat([batch.y for batch in batches]).unique()) > 3


def test_evaluation_result_and_report(tmp_path):
    run = trained(tmp_path / "run")
    first = evaluate(run, 60, list(NAMES))
    for name in NAMES:
        assert first[f"metrics_{name}"]["acceptance_rate"] > 0
    assert set(first["calibration"]) == {"mh", "mh_fresh"}
    assert first["metrics_mh"]["calibration_z"] == first["calibration"]["mh"]["z_after"]
    opened = open_run(tmp_path / "run", managers())
    assert evaluate(opened, 60, list(NAMES)) == first
    text = write_report(opened).read_text(encoding="utf-8")
    assert 'id="calibration"' in text
    assert text.count("Calibration curve of") == 2
    stored = json.loads((tmp_path / "run" / "result.json").read_text())["calibration"]["mh"]
    assert sum(stored["after"]["count"]) == 200  # half of 200 real and of 200 generated samples
    evaluate(opened, 60, ["drs"])
    assert 'id="calibration"' not in write_report(opened).read_text(encoding="utf-8")


def test_without_the_plugin_drs_has_its_defaults():
    plugins = manager(dia=DiaPlugin())
    run = fit(points_config(), None, plugins)
    stream = source(run, "drs").stream
    assert (stream.percentile, stream.burn_in, stream.floor) == (80.0, 10_000, 1e-4)
    assert "mh" not in plugins.catalogs.postprocessors


# --- options ------------------------------------------------------------------------------------


def test_options_reach_the_samplers():
    post = {"drs_gamma": 60, "floor": 0.01, "mh_steps": 3, "threshold_percentile": 20}
    run = trained(post=post)
    drs, exact, mh, threshold = (
        source(run, name).stream for name in ("drs", "drs_exact", "mh", "threshold")
    )
    assert (drs.gamma, drs.percentile, drs.floor, drs.burn_in) == (None, 60.0, 0.01, 300)
    assert exact.gamma == 0.0
    assert (mh.steps, mh.floor) == (3, 0.01)
    assert (threshold.threshold, threshold.percentile) == (None, 20.0)
    run = trained(post={"drs_gamma": "exact", "threshold_score": 0.75})
    assert source(run, "drs").stream.gamma == 0.0
    assert source(run, "threshold").stream.threshold == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("post", "words"),
    [
        ({"drs_gamma": "most"}, "a percentile from 0 to 100, or 'exact'"),
        ({"drs_gamma": 101}, "a percentile from 0 to 100, or 'exact'"),
        ({"obrs_budget": 0}, "a share above 0 and at most 1"),
        ({"obrs_budget": 1.01}, "a share above 0 and at most 1"),
        ({"obrs_budget": "nan"}, "a share above 0 and at most 1"),
        ({"mh_steps": 0}, "a whole number of at least 1"),
        ({"mh_steps": 2.5}, "a whole number"),
        ({"mh_calibration": "beta"}, "isotonic, none, platt"),
        ({"floor": 1}, "a rate of at least 0 and below 1"),
        ({"threshold_percentile": 100}, "a percentage of at least 0 and below 100"),
        ({"threshold_score": 0}, "a number above 0 and below 1"),
        ({"threshold_score": "nan"}, "a number above 0 and below 1"),
        ({"holdout": "split"}, "KEY=VALUE"),
        ({"judge": "jury"}, "auto, auxiliary, fresh, own"),
    ],
)
def test_bad_options_are_refused(post, words):
    with pytest.raises(UserError, match=f"postprocessing.{next(iter(post))}") as caught:
        managers().options.resolve({"postprocessing": post})
    assert words in str(caught.value)


# --- which discriminator ------------------------------------------------------------------------


def test_the_auxiliary_discriminator_is_preferred_where_there_is_one(run, quiet):
    weighted = trained(RUN__sampler="dia", OPTIMIZATION__total_steps=20, dia={"record_every": 4})
    options = PostOptions.of(weighted)
    auxiliary = weighted.additions[AUXILIARY]
    assert choose_judge(weighted, options).network is auxiliary
    assert choose_judge(run, options).network is run.discriminator
    assert not quiet.records
    own = choose_judge(weighted, PostOptions(judge="own"))
    assert own.network is weighted.discriminator
    assert "draws of the sampler 'dia'" in quiet.records[-1].getMessage()
    with pytest.raises(UserError, match="no auxiliary discriminator"):
        choose_judge(run, PostOptions(judge="auxiliary"))


def test_budgeted_rejection_has_its_options_and_the_judges_of_drs(quiet):
    run = trained(post={"obrs_budget": 0.3, "floor": 0.01}, LOSS__adv_loss="hinge")
    budgeted = source(run, "obrs").stream
    assert (budgeted.budget, budgeted.burn_in, budgeted.floor) == (0.3, 300, 0.01)
    assert "'hinge' has no density ratio" in quiet.records[-1].getMessage()
    count = len(quiet.records)
    run = trained(post={"judge": "fresh"}, LOSS__adv_loss="hinge")
    assert len(collect(source(run, "obrs"), 20)) == 20
    assert len(quiet.records) == count


def test_a_loss_without_a_ratio_is_warned_of_and_a_fresh_discriminator_has_one(quiet):
    run = trained(LOSS__adv_loss="hinge")
    assert not choose_judge(run, PostOptions()).is_density_ratio
    assert "'hinge' has no density ratio" in quiet.records[-1].getMessage()
    count = len(quiet.records)
    choose_judge(run, PostOptions(), needs_ratio=False)
    judge = choose_judge(run, PostOptions(judge="fresh", fresh_steps=3))
    assert judge.is_density_ratio
    assert len(quiet.records) == count
    x = torch.randn(4, 2)
    with torch.no_grad():
        want = run.backbone.realness(judge.network(x))
    assert torch.equal(judge.logits(x), want)


def test_a_fresh_discriminator_is_trained_once_and_not_on_all_samples(run, monkeypatch):
    one = fresh.fresh_judge(run, 3)
    assert fresh.fresh_judge(run, 3) is one
    assert len(one.unseen) == 20
    seen = []
    original = fresh.fetch_to

    def fetch_to(dataset, indices, device):
        seen.append(indices)
        return original(dataset, indices, device)

    monkeypatch.setattr(fresh, "fetch_to", fetch_to)
    other = fresh.fresh_judge(run, 60)
    held_out, *drawn = seen
    assert set(held_out) == set(other.unseen)
    assert set(np.concatenate(drawn)) == set(range(200)) - set(other.unseen)
    assert other.network is not run.discriminator


def test_a_discriminator_of_packs_is_refused(run):
    class Packed(nn.Module):
        def forward(self, x, y=None):
            return x.reshape(-1, 4)[:, :1]

    judge = Judge(run, Packed())
    with pytest.raises(UserError, match=r"5 answers for 10 samples.*--post-judge fresh"):
        judge.logits(torch.randn(10, 2))


# --- calibration --------------------------------------------------------------------------------


def test_calibration_uses_what_d_has_not_seen(run, quiet):
    fresh_one = fresh.fresh_judge(run, 3)
    samples = real_samples(run, fresh_one, PostOptions())
    assert samples.unseen
    assert set(samples.indices) == set(fresh_one.unseen)
    own = Judge(run, run.discriminator)
    samples = real_samples(run, own, PostOptions(calibration_samples=50))
    assert not samples.unseen
    assert len(set(samples.indices)) == 50
    calibrate(run, own, PostOptions(), "mh")
    assert "on training samples" in quiet.records[-1].getMessage()
    calibrated.take_calibrations(run)


def test_holdout_gives_other_data(run, quiet):
    own = Judge(run, run.discriminator)
    samples = real_samples(run, own, PostOptions(holdout="num_samples=80"))
    assert samples.unseen
    assert len(samples.dataset) == len(samples.indices) == 80
    assert samples.dataset.fingerprint() != run.fingerprint
    calibrate(run, own, PostOptions(holdout="num_samples=80", mh_calibration="platt"), "mh")
    assert calibrated.take_calibrations(run)["mh"]["num_real"] == 80
    assert not quiet.records
    with pytest.raises(UserError, match="gives the training data themselves"):
        real_samples(run, own, PostOptions(holdout="num_samples=200"))
    with pytest.raises(UserError, match=r"--post-holdout num_sample=1: .*num_sample"):
        real_samples(run, own, PostOptions(holdout="num_sample=1"))


@pytest.mark.parametrize(
    ("post", "changes", "words"),
    [
        ({"judge": "auxiliary"}, {"RUN__samples": "obrs"}, "no auxiliary discriminator will be"),
        ({"judge": "auxiliary"}, {"RUN__samples": "mh"}, "no auxiliary discriminator will be"),
        ({"judge": "auxiliary"}, {"RUN__samples": "drs", "RUN__sampler": "dia",
                                  "dia": {"record_every": 1, "aux": "none"}}, "--dia-aux is none"),
        ({"holdout": "num_sample=1"}, {"RUN__samples": "mh"}, "--post-holdout num_sample=1: "),
        ({"holdout": "num_samples=200"}, {"RUN__samples": "mh_fresh"}, "training data themselves"),
    ],
)  # fmt: skip
def test_what_could_only_fail_after_the_training_is_refused_before_it(post, changes, words):
    class Never:
        @hookimpl
        def gan_train_start(self, run: Run) -> None:
            raise AssertionError("the training began")

    dia = changes.pop("dia", {})
    config = points_config(**changes)
    config.PLUGINS = {"postprocessing": {**QUICK, **post}, "dia": dia}
    plugins = managers()
    plugins.register(Never(), "never")
    with pytest.raises(UserError, match=words):
        fit(config, plugins=plugins)


def test_the_auxiliary_discriminator_may_be_asked_for_where_there_will_be_one():
    run = trained(
        post={"judge": "auxiliary"}, dia={"record_every": 1, "phase1": 0.5}, RUN__samples="drs",
        RUN__sampler="dia",
    )  # fmt: skip
    assert isinstance(run.additions[AUXILIARY], nn.Module)


def test_a_discriminator_that_diverged_is_refused():
    run = trained()
    with torch.no_grad():
        for parameter in run.discriminator.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(UserError, match=r"mh cannot calibrate .* diverge"):
        source(run, "mh")
    for name in ("drs", "threshold"):
        with pytest.raises(AcceptanceRateError, match="no finite logit"):
            next(source(run, name).batches(1))


def test_a_fixed_score_of_a_loss_without_a_level_is_refused_before_the_training():
    post, pairs = {"threshold_score": 0.5}, "relativistic"
    with pytest.raises(UserError, match=r"--threshold-score 0\.5: under the loss 'relativistic'"):
        trained(post=post, LOSS__adv_loss=pairs, RUN__samples="threshold")
    # What judges is another discriminator then.
    trained(post={**post, "judge": "fresh"}, LOSS__adv_loss=pairs, RUN__samples="threshold")


def test_the_floor_stops_a_source():
    run = trained(post={"floor": 0.2, "threshold_score": 0.99})
    with pytest.raises(UserError, match=r"Threshold rejection accepted 0 of .* floor of 0.2"):
        next(source(run, "threshold").batches(1))
