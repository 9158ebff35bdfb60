"""The plugin in the host: what it records, what it changes, and what it must not change."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from small_runs import fit, manager, points_config
from torch.utils.data import TensorDataset

from diagan_plugin import Dia
from diagan_plugin.dia import recorder
from diagan_plugin.dia.options import AUXILIARY, NAME, add_options
from diagan_plugin.dia.plugin import DIAGNOSIS_FILE, DiaPlugin
from diagan_plugin.recording.sweep import sweep
from diagan_plugin.report.chosen import add_choices
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.scoring.adaptive import choose_k
from gan_registry.config.load import apply_settings, validate_config
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.report.document import Report, Text
from gan_registry.report.write import build_report, summary, write_report
from gan_registry.training.plan import describe_plan
from gan_registry.training.trainer import open_run, train

TINY = {
    "DATA": {"name": "gmm25", "options": {"num_samples": 500}},
    "MODEL": {"backbone": "mlp", "hidden_dim": 16, "num_layers": 1, "z_dim": 4, "g_bn": False,
              "g_init": "default", "d_init": "default",
              "d_dropout": 0.2},
    "LOSS": {"adv_loss": "logistic"},
    "OPTIMIZATION": {"batch_size": 25, "d_updates_per_step": 1, "total_steps": 40, "g_lr": 1e-3,
                     "d_lr": 1e-3},
    "RUN": {"num_eval": 300, "print_freq": 5, "save_freq": 0},
    "PLUGINS": {"dia": {"record_every": 4, "window": 5}},
}  # fmt: skip


def managers() -> PluginManager:
    return manager(dia=DiaPlugin())


def run_tiny(folder: Path | None, *settings: str, plugins: PluginManager | None = None):
    config = validate_config(apply_settings(TINY, settings), "the test")
    plugins = plugins or managers()
    if NAME not in plugins.infos:
        config.PLUGINS = {}
    return train(config, folder, plugins, name="tiny", quiet=True)


def parameters(run) -> list[torch.Tensor]:
    networks = [run.generator, run.discriminator]
    networks += [a for a in run.additions.values() if isinstance(a, torch.nn.Module)]
    return [value for network in networks for value in network.state_dict().values()]


def assert_equal_networks(one, other) -> None:
    pairs = list(zip(parameters(one), parameters(other), strict=True))
    assert pairs
    assert all(torch.equal(a, b) for a, b in pairs)


def driver(run):
    (plugin,) = (p for p in run.plugins.hooks.get_plugins() if isinstance(p, DiaPlugin))
    return plugin.driver(run)


@pytest.mark.parametrize("record", ["sweep", "stream"])
@pytest.mark.parametrize("logits", ["eval", "train", "batchstat"])
def test_diagnosing_never_alters_training(record, logits):
    bn = "MODEL.d_bn=true"
    plain = run_tiny(None, bn, plugins=PluginManager(load_entry_points=False))
    diagnosed = run_tiny(
        None, bn, "PLUGINS.dia.diagnose=true", f"PLUGINS.dia.record={record}",
        f"PLUGINS.dia.logits={logits}",
    )  # fmt: skip
    assert_equal_networks(plain, diagnosed)
    # Five sweeps, or two epochs of training batches.
    assert (driver(diagnosed).diagnosis(diagnosed).count == (5 if record == "sweep" else 2)).all()


def test_weighted_run_is_the_uniform_one_until_phase_2():
    weighted = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.phase1=1.0")
    uniform = run_tiny(None)
    assert_equal_networks(weighted, uniform)
    changed = run_tiny(None, "RUN.sampler=dia")
    assert not all(map(torch.equal, parameters(changed), parameters(uniform)))


class ActiveWeights:
    """Notes the probabilities that the next batch is drawn by, after each step."""

    def __init__(self):
        self.after = {}

    @hookimpl(trylast=True)
    def gan_step_end(self, run):
        self.after[run.step] = run.sampler.probabilities_at(run.position)


def active_weights(ramp: str) -> dict[int, np.ndarray | None]:
    """Trains through the command line's own flags; phase 2 begins after step 20 of 40."""
    plugins, spy = managers(), ActiveWeights()
    plugins.register(spy, "spy")
    parser = argparse.ArgumentParser()
    add_options(parser)
    given = vars(parser.parse_args(["--dia-phase1", "0.5", "--dia-ramp", ramp]))
    settings = [f"PLUGINS.{name}={given[name]}" for name in ("dia.phase1", "dia.ramp")]
    run_tiny(None, "RUN.sampler=dia", *settings, plugins=plugins)
    return spy.after


def test_a_ramp_draws_by_a_growing_part_of_the_weights():
    full = active_weights("0")
    assert {step for step in full if full[step] is None} == set(range(1, 20))
    weights = full[20]
    assert all(np.array_equal(full[step], weights) for step in range(20, 41))
    assert np.abs(weights - 1 / 500).max() > 1e-4
    ramped = active_weights("8")
    for step in range(20, 41):
        part = min((step - 19) / 8, 1.0)  # 1/8 at once, and 1/8 more after each step
        expected = (1 - part) / 500 + part * weights
        np.testing.assert_allclose(ramped[step], expected, rtol=1e-12)
    assert all(ramped[step] is None for step in range(1, 20))


def test_plugin_that_is_not_asked_for_does_nothing():
    with_it, without = run_tiny(None), run_tiny(None, plugins=PluginManager(False))
    assert_equal_networks(with_it, without)
    assert driver(with_it) is None


def test_sweep_statistics_equal_recorded_logits():
    class Witness:
        """Reads the logits of the whole dataset itself, with D in eval mode."""

        rows: list[np.ndarray] = []  # noqa: RUF012

        @hookimpl
        def gan_step_end(self, run):
            x, _ = run.dataset.__getitems__(range(len(run.dataset)))
            run.discriminator.eval()
            with torch.no_grad():
                self.rows.append(run.logits(x).double().numpy())
            run.discriminator.train()

    plugins = managers()
    plugins.register(Witness(), "witness")
    run = run_tiny(None, "PLUGINS.dia.diagnose=true", "PLUGINS.dia.logits=eval", plugins=plugins)
    kept = np.stack(Witness.rows)[[23, 27, 31, 35, 39]]  # steps 24, 28, …, 40
    diagnosis = driver(run).diagnosis(run)
    np.testing.assert_allclose(diagnosis.ldrm, kept.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diagnosis.ldrv, kept.var(0, ddof=1), rtol=1e-3, atol=1e-9)


@pytest.fixture(
    scope="module",
    params=[
        [],
        ["PLUGINS.dia.record=stream", "DATA.options={num_samples: 250}"],
        ["PLUGINS.dia.refresh=3", "PLUGINS.dia.ramp=6"],
        ["PLUGINS.dia.aux=importance", "PLUGINS.dia.aux_every=2", "PLUGINS.dia.ramp=6"],
        ["PLUGINS.dia.preset=paper-code"],
    ],
)
def whole(request, tmp_path_factory):
    """A run that was never interrupted, with its folder and its settings; to be read only."""
    settings = ["RUN.sampler=dia", "RUN.save_freq=4", "RUN.keep_checkpoints=20", *request.param]
    folder = tmp_path_factory.mktemp("whole") / "run"
    return run_tiny(folder, *settings), folder, settings


@pytest.mark.parametrize("stop", [20, 36])
def test_resumes_bit_for_bit(tmp_path, stop, whole):
    run, folder, settings = whole
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)
    for path in (killed / "checkpoints").iterdir():  # as if it had been killed after `stop`
        if int(path.stem.removeprefix("step-")) > stop:
            path.unlink()
    resumed = run_tiny(killed, *settings)
    assert resumed.first_step == stop
    assert len(resumed.additions) == 2
    assert_equal_networks(run, resumed)
    one, other = (Diagnosis.load(path / DIAGNOSIS_FILE) for path in (folder, killed))
    for name in ("ldrm", "ldrv", "score", "probability", "count", "history"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(driver(run).draws, driver(resumed).draws)


def test_extended_in_phase_1_equals_a_longer_run(tmp_path):
    settings = ["RUN.sampler=dia"]
    short = tmp_path / "short"
    run_tiny(short, *settings, "OPTIMIZATION.total_steps=40", "PLUGINS.dia.phase1=1.0")
    # Phase 1 takes all 40 steps; of 80 it takes 80, and the window lies at their end.
    extended = run_tiny(short, *settings, "OPTIMIZATION.total_steps=80", "PLUGINS.dia.phase1=1.0")
    longer = run_tiny(None, *settings, "OPTIMIZATION.total_steps=80", "PLUGINS.dia.phase1=1.0")
    assert_equal_networks(extended, longer)
    one, other = driver(extended).diagnosis(extended), driver(longer).diagnosis(longer)
    np.testing.assert_array_equal(one.score, other.score)


def test_extended_in_phase_2_keeps_its_beginning(tmp_path):
    run_tiny(tmp_path / "run", "RUN.sampler=dia")
    extended = run_tiny(tmp_path / "run", "RUN.sampler=dia", "OPTIMIZATION.total_steps=60")
    assert driver(extended).schedule.phase1_end == 32
    assert driver(extended).draws.sum() == (60 - 32) * 25


def test_draws_of_phase_2_follow_the_weights(tmp_path):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia", "OPTIMIZATION.total_steps=240",
                   "PLUGINS.dia.phase1=0.5")  # fmt: skip
    diagnosis = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE)
    drawn = driver(run).draws
    assert drawn.sum() == 120 * 25
    # Six systematic epochs: each count is within 1 of its expectation in every epoch.
    np.testing.assert_allclose(drawn, 6 * 500 * diagnosis.probability, atol=6)


def test_independent_draws_scatter_as_such(tmp_path):
    settings = ["RUN.sampler=dia", "OPTIMIZATION.total_steps=240", "PLUGINS.dia.phase1=0.5"]
    run = run_tiny(tmp_path / "run", *settings, "PLUGINS.dia.draws=iid")
    p = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE).probability
    drawn, n = driver(run).draws, 120 * 25
    # Pearson's statistic is χ² with 499 degrees of freedom; of systematic draws it is near 0.
    statistic = ((drawn - n * p) ** 2 / (n * p)).sum()
    assert stats.chi2.ppf(1e-4, 499) < statistic < stats.chi2.ppf(1 - 1e-4, 499)


def test_a_loop_of_ones_own_draws_as_asked():
    data = TensorDataset(torch.zeros(500, 2))
    for options, method in (({}, "systematic"), ({"draws": "iid"}, "iid")):
        dia = Dia(data, total_steps=40, batch_size=25, record_every=4, **options)
        assert dia.sampler.method == method


@pytest.mark.parametrize(
    ("last", "steps"),
    [("through-end", [16, 20, 24, 28, 32]), ("before-end", [12, 16, 20, 24, 28])],
)
def test_the_end_of_phase_1_may_be_left_out_of_the_records(last, steps):
    run = run_tiny(None, "RUN.sampler=dia", f"PLUGINS.dia.last_record={last}")
    assert driver(run).schedule.phase1_end == 32
    assert driver(run).recorder.steps == steps


def test_run_folder_holds_the_diagnosis_and_the_result(tmp_path):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia")
    evaluate(run)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["sampler"] == "dia"
    assert {"metrics", "metrics_drs", "groups", "weights"} <= set(result)
    assert 0 < result["metrics_drs"]["acceptance_rate"] <= 1
    diagnosis = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE)
    mode = result["groups"]["mode 7"]
    inside = diagnosis.group == 7
    assert mode["ldrm"] == pytest.approx(diagnosis.ldrm[inside].mean())
    assert mode["ldrv"] == pytest.approx(diagnosis.ldrv[inside].mean())
    assert mode["score"] == pytest.approx(diagnosis.score[inside].mean())
    assert mode["share_data"] == pytest.approx(inside.mean())
    assert sum(g["share_drawn"] for g in result["groups"].values()) == pytest.approx(1.0)
    np.testing.assert_allclose(
        diagnosis.score, diagnosis.ldrm + 1.0 * np.sqrt(diagnosis.ldrv), rtol=1e-12
    )
    assert diagnosis.metadata["fingerprint"] == run.dataset.fingerprint()
    assert diagnosis.metadata["phase_boundary"] == "33"


def test_the_report_compares_ldrm_with_what_is_generated_of_each_mode(tmp_path):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia")
    evaluate(run)
    page = write_report(run).read_text(encoding="utf-8")
    assert "LDRM and generated samples by group" in page
    assert "of 300 generated samples" in page


def test_the_report_looks_closer_and_lists_what_is_broken(tmp_path, monkeypatch):
    from diagan_plugin.rarity import sections

    seen = []
    inner = sections.look_closer

    def spy(dataset, diagnosis, extractor, **given):
        seen.append((extractor.identity, given["generated"].shape))
        found = inner(dataset, diagnosis, extractor, **given)
        found.judged.likely[:3] = 2
        return found

    monkeypatch.setattr(sections, "look_closer", spy)
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia")
    evaluate(run)
    page = write_report(run).read_text(encoding="utf-8")
    assert seen == [("raw 1", (300, 2))]
    assert "Rare or broken?" in page
    assert "Groups without labels" in page
    listed = (tmp_path / "run" / "broken.txt").read_text().splitlines()
    assert {"0", "1", "2"} <= set(listed)
    stored = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE)
    assert stored.likely[:3].tolist() == [2, 2, 2]
    assert stored.cluster.size == stored.num_samples
    # Writing it anew gives the same page: nothing random is left.
    again = write_report(open_run(tmp_path / "run", managers())).read_text(encoding="utf-8")
    assert again == page


def test_opened_run_gives_the_same_result_and_samples(tmp_path):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia")
    first = evaluate(run)
    opened = open_run(tmp_path / "run", managers())
    second = evaluate(opened)
    assert first == second
    assert AUXILIARY in opened.additions
    factory = opened.plugins.catalogs.postprocessors["drs"]
    one, other, third = (torch.cat(list(factory(opened, seed).batches(70))) for seed in (1, 1, 2))
    assert one.shape == (70, 2)
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_auxiliary_discriminator_trains_on_its_own():
    run = run_tiny(None, "RUN.sampler=dia")
    off = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.aux=none")
    assert AUXILIARY not in off.additions
    # It changes nothing about G and D, and differs from D.
    assert all(torch.equal(a, b) for a, b in zip(parameters(off), parameters(run), strict=False))
    own, auxiliary = run.discriminator.state_dict(), run.additions[AUXILIARY].state_dict()
    assert any(not torch.equal(own[name], auxiliary[name]) for name in own)


def test_a_warning_is_said_once_however_often_scores_are_computed(caplog):
    nearly = "PLUGINS.dia.max_ratio=1.01"
    run = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.refresh=1", nearly)
    assert run.total_steps - driver(run).schedule.phase1_end > 5  # scorings
    said = [text for text in caplog.messages if "nearly uniform" in text]
    assert len(said) == 1
    assert any("nearly uniform" in text for text in driver(run).weights.warnings)


def test_hinge_loss_is_told_apart_once(caplog):
    with caplog.at_level("WARNING"):
        run_tiny(None, "LOSS.adv_loss=hinge", "PLUGINS.dia.diagnose=true")
    assert sum("surrogate" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("PLUGINS.dia.record=stream", "at least 40 steps in phase 1"),
        ("PLUGINS.dia.record_fraction=0.1", "--dia-record-fraction"),
    ],
)
def test_recording_that_sees_samples_less_than_twice_is_refused(setting, remedy):
    with pytest.raises(UserError, match="a variance takes 2") as caught:
        run_tiny(None, "RUN.sampler=dia", setting)
    assert remedy in str(caught.value)


def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path):
    settings = ["RUN.sampler=dia", "PLUGINS.dia.record_fraction=0.1"]
    config = validate_config(apply_settings(TINY, settings), "the test")
    plugins = managers()
    with pytest.raises(UserError, match="a variance takes 2"):
        describe_plan(config, plugins, plugins.options.resolve(config.PLUGINS), "tiny", tmp_path)


def test_the_report_of_a_run_whose_diagnosis_is_gone_takes_it_from_the_checkpoint(tmp_path):
    evaluate(run_tiny(tmp_path / "run", "RUN.sampler=dia"))
    whole = write_report(open_run(tmp_path / "run", managers())).read_text()
    (tmp_path / "run" / DIAGNOSIS_FILE).unlink()
    assert write_report(open_run(tmp_path / "run", managers())).read_text() == whole


def test_sweeps_of_a_share_of_the_samples(tmp_path):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia", "PLUGINS.dia.record_fraction=0.5")
    count = driver(run).diagnosis(run).count
    assert count.sum() == 5 * 250
    assert 0 <= count.min() < count.max() <= 5
    assert np.isfinite(driver(run).weights.probabilities).all()


def test_importance_with_batch_norm_is_refused_in_one_line():
    with pytest.raises(UserError, match="batch norm") as caught:
        run_tiny(None, "RUN.sampler=dia", "MODEL.d_bn=true", "PLUGINS.dia.aux=importance")
    assert "--dia-aux uniform" in str(caught.value)


def test_nan_logits_are_counted_and_do_no_harm():
    run = run_tiny(None, "PLUGINS.dia.diagnose=true")
    values = torch.zeros(500)
    values[3] = float("nan")
    driver(run).recorder.tracker.record_all(values)
    driver(run)._score(run)
    assert any("NaN" in warning and "3" in warning for warning in driver(run).weights.warnings)
    assert np.isfinite(driver(run).weights.probabilities).all()


def test_the_ratio_layer_is_recorded_resumed_and_leaves_d_alone(tmp_path):
    settings = ("LOSS.adv_loss=hinge", "PLUGINS.dia.aux=none", "RUN.sampler=dia")
    ratio = (*settings, "PLUGINS.dia.aux_ratio=true")
    plain = run_tiny(None, *settings, "PLUGINS.dia.phase1=1.0")
    measured = run_tiny(None, *ratio, "PLUGINS.dia.phase1=1.0")
    # Phase 1 only: the layer watches, so that G and D are the same to the last bit.
    for one, other in zip(
        plain.discriminator.parameters(), measured.discriminator.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    mine, theirs = (driver(run).diagnosis(run) for run in (measured, plain))
    assert mine.metadata["is_density_ratio"] == "True"
    assert theirs.metadata["is_density_ratio"] == "False"
    assert not np.allclose(mine.ldrm, theirs.ldrm)

    whole = run_tiny(tmp_path / "whole", *ratio)
    run_tiny(tmp_path / "parts", *ratio, "RUN.save_freq=10", "OPTIMIZATION.total_steps=40")
    last = sorted((tmp_path / "parts" / "checkpoints").iterdir())[-1]
    last.unlink()
    resumed = run_tiny(tmp_path / "parts", *ratio, "RUN.save_freq=10")
    assert resumed.first_step == 30
    one, other = whole.additions["dia.ratio_head"], resumed.additions["dia.ratio_head"]
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_without_a_ratio_the_run_says_so_once(caplog):
    run_tiny(None, "LOSS.adv_loss=hinge", "PLUGINS.dia.diagnose=true")
    assert caplog.text.count("has no density ratio") == 1
    caplog.clear()
    run_tiny(None, "LOSS.adv_loss=hinge", "PLUGINS.dia.diagnose=true", "PLUGINS.dia.aux_ratio=true")
    assert "has no density ratio" not in caplog.text


def test_within_class_needs_classes_and_keeps_their_shares():
    with pytest.raises(UserError, match="needs classes"):
        run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.within_class=true",
                 "DATA.name=gaussian", "DATA.options={}")  # fmt: skip
    run = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.within_class=true")
    labels = run.dataset.labels
    shares = np.bincount(labels, weights=driver(run).weights.probabilities)
    np.testing.assert_allclose(shares, np.bincount(labels) / len(labels))


def test_the_replications_schedule_refreshes_each_epoch():
    run = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.preset=replication")
    assert driver(run).schedule.phase1_end == 36
    assert driver(run).options.refresh == driver(run).options.ramp == 20  # 500 samples by 25


# ------------------------------------------------------------------ what the run chooses itself

AUTO = ("RUN.sampler=dia", "PLUGINS.dia.phase1=auto", "PLUGINS.dia.window=2")
"""Windows end at 12, 16, …; they are compared at 20, 24, …, 36."""


def settle(monkeypatch, threshold: float) -> None:
    monkeypatch.setattr("diagan_plugin.dia.decisions.SETTLED", threshold)


def test_phase_1_ends_when_the_ranking_has_settled(tmp_path, monkeypatch):
    settle(monkeypatch, -1.0)
    run = run_tiny(tmp_path / "run", *AUTO)
    result = driver(run).result(run)
    chosen = result["chosen"]["phase1"]
    ((step, correlation),) = chosen["rank_correlations"]
    assert (chosen["end"], chosen["settled"], step) == (20, True, 20)
    assert "step 20" in chosen["why"]
    assert "has settled" in chosen["why"]
    assert f"{correlation:.3f}" in chosen["why"]
    # T is the last window before the end that was found, as if that had been asked for.
    fixed = run_tiny(None, *AUTO, "PLUGINS.dia.phase1=0.5")
    assert_equal_networks(run, fixed)
    one, other = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE), driver(fixed).diagnosis(fixed)
    for name in ("ldrm", "ldrv", "score", "count"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.first_step, one.last_step, one.phase_boundary) == (16, 20, 21)
    assert driver(run).draws.sum() == 20 * 25
    # The window before it, T = {8, 12}, is that of a run with a phase 1 of 12 steps.
    before = run_tiny(None, *AUTO, "PLUGINS.dia.phase1=0.3")
    scores = one.score, driver(before).diagnosis(before).score
    assert correlation == pytest.approx(stats.spearmanr(*scores).statistic, abs=1e-5)
    report = Report("A run", "")
    add_choices(report, json.loads(json.dumps(result)))
    (text,) = (block.text for block in report.sections[0].blocks if isinstance(block, Text))
    assert text == chosen["why"]
    add_choices(report, {"chosen": {}})
    assert len(report.sections) == 1
    opened = open_run(tmp_path / "run", managers())
    assert driver(opened).result(opened) == result


def test_phase_1_that_never_settles_ends_at_the_latest(monkeypatch):
    settle(monkeypatch, 2.0)
    run = run_tiny(None, *AUTO)
    chosen = driver(run).result(run)["chosen"]["phase1"]
    assert (chosen["end"], chosen["settled"]) == (36, False)
    assert [step for step, _ in chosen["rank_correlations"]] == [20, 24, 28, 32, 36]
    assert "has not settled" in chosen["why"]
    fixed = run_tiny(None, *AUTO, "PLUGINS.dia.phase1=0.9")
    assert_equal_networks(run, fixed)
    assert "chosen" not in driver(fixed).result(fixed)


@pytest.mark.parametrize(("stop", "end"), [(16, 20), (28, 36)])
def test_automatic_choices_resume_bit_for_bit(tmp_path, monkeypatch, stop, end):
    settle(monkeypatch, -1.0 if end == 20 else 2.0)
    settings = [*AUTO, "PLUGINS.dia.k=auto", "RUN.save_freq=4", "RUN.keep_checkpoints=20"]
    whole = run_tiny(tmp_path / "run", *settings)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.stem.removeprefix("step-")) > stop:
            path.unlink()
    resumed = run_tiny(tmp_path / "run", *settings)
    assert resumed.first_step == stop
    assert driver(resumed).schedule.phase1_end == end
    assert_equal_networks(whole, resumed)
    np.testing.assert_array_equal(driver(whole).weights.score, driver(resumed).weights.score)
    assert driver(whole).result(whole) == driver(resumed).result(resumed)


def test_an_automatic_end_is_kept_when_the_run_is_extended(tmp_path, monkeypatch):
    settle(monkeypatch, -1.0)
    run_tiny(tmp_path / "run", *AUTO)
    extended = run_tiny(tmp_path / "run", *AUTO, "OPTIMIZATION.total_steps=60")
    assert driver(extended).result(extended)["chosen"]["phase1"]["end"] == 20
    assert driver(extended).draws.sum() == (60 - 20) * 25


def test_an_automatic_k_is_that_of_the_same_run_with_it():
    refresh = "PLUGINS.dia.refresh=4"
    run = run_tiny(None, "RUN.sampler=dia", "PLUGINS.dia.k=auto", refresh)
    chosen = driver(run).result(run)["chosen"]
    assert set(chosen) == {"k"}
    k = chosen["k"]["value"]
    assert f"k = {k:g}" in chosen["k"]["why"]
    assert driver(run).diagnosis(run).metadata["k"] == str(k)
    same = run_tiny(None, "RUN.sampler=dia", f"PLUGINS.dia.k={k}", refresh)
    assert_equal_networks(run, same)
    np.testing.assert_array_equal(driver(run).weights.score, driver(same).weights.score)


def test_a_run_that_only_diagnoses_chooses_k_at_its_end(tmp_path):
    run = run_tiny(
        tmp_path / "run", "PLUGINS.dia.diagnose=true", "PLUGINS.dia.k=auto",
        "PLUGINS.dia.phase1=auto",
    )  # fmt: skip
    diagnosis = Diagnosis.load(tmp_path / "run" / DIAGNOSIS_FILE)
    k = choose_k(diagnosis.ldrm, diagnosis.ldrv, diagnosis.count).value
    assert diagnosis.metadata["k"] == str(k)
    np.testing.assert_allclose(diagnosis.score, diagnosis.ldrm + k * np.sqrt(diagnosis.ldrv))
    assert set(driver(run).result(run)["chosen"]) == {"k"}


def test_a_dry_run_says_what_will_be_chosen(tmp_path):
    config = validate_config(apply_settings(TINY, [*AUTO, "PLUGINS.dia.k=auto"]), "the test")
    plugins = managers()
    text = describe_plan(config, plugins, plugins.options.resolve(config.PLUGINS), "tiny", tmp_path)
    assert "until the ranking of the scores has settled, after step 20 to 36" in text
    assert "k = auto" in text


def test_a_loop_of_ones_own_takes_automatic_choices(monkeypatch):
    settle(monkeypatch, -1.0)
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    dia = Dia(
        TensorDataset(points), total_steps=20, batch_size=20, record_every=1, window=3,
        k="auto", phase1="auto",
    )  # fmt: skip
    network = torch.nn.Linear(2, 1)
    for step in range(1, 21):
        torch.nn.init.normal_(network.weight, generator=torch.Generator().manual_seed(step))
        dia.sweep(network)
        dia.step()
        assert dia.phase == (1 if step < 10 else 2)
    assert dia.logged["chosen/phase1_end"] == 10
    assert -1 <= dia.logged["chosen/rank_correlation"] <= 1
    assert str(dia.logged["chosen/k"]) == dia.diagnosis().metadata["k"]


def test_the_generator_before_phase_2_is_measured_and_the_verdict_tells_both(tmp_path, capsys):
    run = run_tiny(tmp_path / "run", "RUN.sampler=dia", "RUN.eval_metrics=[fid]")
    result = evaluate(run)
    assert result["kept"]["phase1"]["step"] == 32
    assert result["kept"]["phase1"]["metrics"]["fid"] != result["metrics"]["fid"]
    report = build_report(run)
    before, after = result["kept"]["phase1"]["metrics"]["fid"], result["metrics"]["fid"]
    # So short a run has other things to be said of it first.
    assert f"FID {before:.3g} → {after:.3g}" in report.html()
    assert summary(report).startswith(f"verdict  {report.verdict.headline}".replace("\xa0", " "))
    assert len(summary(report).splitlines()) in (2, 3)


def test_the_beginning_of_phase_2_is_said_once(capsys):
    config = validate_config(apply_settings(TINY, ["RUN.sampler=dia"]), "the test")
    train(config, None, managers(), name="tiny")
    assert capsys.readouterr().err.count("phase 2 begins at step 32") == 1


class Stop:
    """Ends a run at a step, as a crash would."""

    @hookimpl(trylast=True)
    def gan_step_end(self, run):
        if run.step == 24:
            raise KeyboardInterrupt


@pytest.mark.parametrize("phase1", [0.5, 0.8])
def test_an_unfinished_run_has_a_report_with_a_verdict(tmp_path, phase1):
    plugins = managers()
    plugins.register(Stop(), "stop")
    settings = ("RUN.sampler=dia", "RUN.save_freq=20", f"PLUGINS.dia.phase1={phase1}")
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path / "run", *settings, plugins=plugins)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    told = [line["verdict"] for line in lines if "verdict" in line]
    assert told
    assert all(text.startswith("So far (step ") and " of 40): " in text for text in told)
    run = open_run(tmp_path / "run", PluginManager())  # with all that are installed
    report = build_report(run)
    assert "unfinished" in report.subtitle
    assert report.verdict.headline.startswith(f"So far (step {run.step} of 40): ")
    assert report.result["num_generated"] == 1000
    assert not (tmp_path / "run" / "result.json").exists()
    # Finished, it is as if it had never been looked at.
    run_tiny(tmp_path / "run", *settings)
    evaluate(open_run(tmp_path / "run", managers()))
    assert "So far" not in build_report(open_run(tmp_path / "run", managers())).html()


def test_tensorboard_shows_the_verdict_as_text(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_tiny(tmp_path, "PLUGINS.dia.diagnose=true")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (last,) = [e for e in events.Tensors("verdict") if e.step == 35]
    assert last.tensor_proto.string_val[0].decode().startswith("So far (step 32 of 40): ")


def test_a_sweep_of_all_samples_serves_the_heat_map_too(monkeypatch):
    steps = []

    def counted(*args, **options):
        steps.append(options["step"])
        return sweep(*args, **options)

    monkeypatch.setattr(recorder, "sweep", counted)
    plugin = DiaPlugin()
    run = fit(
        points_config(RUN__sampler="dia", OPTIMIZATION__total_steps=12), None,
        manager(dia=plugin), dia={"record_every": 2, "window": 3, "phase1": 0.5},
    )  # fmt: skip
    # One at each step for the heat map, among them those of the records at 2, 4 and 6.
    assert sorted(steps) == list(range(13))
    driver = plugin.driver(run)
    mean = torch.stack([driver.recorder.history[step] for step in (2, 4, 6)]).double().mean(0)
    torch.testing.assert_close(torch.from_numpy(driver.recorder.moments()[0]), mean.cpu())
