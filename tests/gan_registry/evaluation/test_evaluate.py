from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.linalg
import torch
from small_runs import digits_config, fit, manager, points_config
from torch import Tensor

from gan_registry.catalogs import Catalogs
from gan_registry.cli.main import main
from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation import joined_metrics
from gan_registry.evaluation.evaluate import evaluate, is_evaluated
from gan_registry.evaluation.metric_choice import choose_indices, standard_metrics
from gan_registry.evaluation.metric_suite import MetricSuite
from gan_registry.evaluation.sample_files import write_samples
from gan_registry.evaluation.sample_tally import Tally
from gan_registry.features.base import Features
from gan_registry.features.raw import Raw
from gan_registry.hookspecs import hookimpl
from gan_registry.metrics.base import Batch, Metric, MetricContext
from gan_registry.metrics.frechet import fid
from gan_registry.training.build import build_data
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run

STANDARD = [
    "fid", "kid", "precision", "recall", "density", "coverage", "partial_recall", "group_precision",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory) -> Path:
    """One cache for all tests here: the classifier is trained once."""
    folder = tmp_path_factory.getbasetemp() / "evaluation-cache"
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(folder))
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "dia")  # the host alone
    return folder


class Shown:
    """A source that shows given samples, over and over."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def batches(self, n: int) -> Iterator[Tensor]:
        for start in range(0, n, 300):
            yield self.x[torch.arange(start, min(start + 300, n)) % len(self.x)]

    def statistics(self) -> dict[str, float]:
        return {}


def everything(run: Run) -> Tensor:
    return run.dataset.__getitems__(np.arange(len(run.dataset)))[0]


class Sources:
    """Generators whose metrics are known."""

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        def register(name: str, choose: Any) -> None:
            catalogs.postprocessors.register(name, lambda run, seed: Shown(choose(run)))

        register("copy", everything)
        register("collapsed", lambda run: everything(run)[:1])
        register("red", lambda run: everything(run)[run.dataset.groups == 0])
        register("broken", lambda run: everything(run)[:1] * float("nan"))


def test_known_answers(warned):
    run = fit(digits_config(), None, manager(sources=Sources()))
    count, quick = len(run.dataset), [name for name in STANDARD if name != "kid"]
    result = evaluate(run, count, ["copy", "collapsed", "red"], metrics=quick)
    copy, collapsed, red = (result[f"metrics_{name}"] for name in ("copy", "collapsed", "red"))
    green = result["groups"]["green"]
    assert copy["fid"] == pytest.approx(0.0, abs=1e-6)
    assert (copy["precision"], copy["recall"], copy["coverage"]) == (1.0, 1.0, 1.0)
    assert green["partial_recall_copy"] == green["precision_copy"] == 1.0
    # one real sample over and over: all of it looks real, and nothing else is made
    assert collapsed["precision"] == 1.0
    assert collapsed["recall"] == 0.0
    assert collapsed["coverage"] < 0.01
    assert collapsed["fid"] > red["fid"] > copy["fid"]
    # red digits only: the minority is missed, and overall recall hardly shows it
    assert green["partial_recall_red"] < 0.05
    assert result["groups"]["red"]["partial_recall_red"] == 1.0
    assert red["recall"] > 0.9
    assert "precision_red" not in green, "no green sample was generated"
    assert result["directions"]["fid"] == "down"
    assert result["directions"]["partial_recall"] == "up"
    assert result["features"]["name"] == "classifier"
    assert result["num_real"] == count
    assert [text for text in warned() if "FID" in text] == []


def test_twice_gives_the_same_and_reads_no_data_again(tmp_path: Path, monkeypatch):
    fit(digits_config(), tmp_path)
    first = evaluate(open_run(tmp_path, manager()), 150, metrics=["fid", "recall"])

    def no_reading(*_: object) -> None:
        raise AssertionError("read the dataset")

    monkeypatch.setattr("gan_registry.datasets.fetching.fetch_batch", no_reading)
    again = evaluate(open_run(tmp_path, manager()), 150, metrics=["fid", "recall"])
    assert again["metrics"] == first["metrics"]
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == again["metrics"]


def test_no_square_root_of_scipy_is_taken(monkeypatch):
    """SciPy 1.18 dropped `disp`, at which older implementations of the FID fail."""

    def sqrtm(matrix: object) -> None:
        raise TypeError("sqrtm() got an unexpected keyword argument 'disp'")

    monkeypatch.setattr(scipy.linalg, "sqrtm", sqrtm)
    run = fit(points_config(), None, manager(sources=Sources()))
    result = evaluate(run, 200, ["copy"], metrics=["fid"])
    assert result["metrics_copy"]["fid"] == pytest.approx(0.0, abs=1e-9)
    assert result["metrics"]["fid"] > 0.1


def test_a_streamed_metric_is_that_of_all_features_at_once():
    run = fit(points_config(), None, manager(sources=Sources()))
    result = evaluate(run, 150, ["collapsed"], metrics=["fid"], num_real=120)
    real = everything(run)[torch.from_numpy(choose_indices(200, 120))]
    expected = fid(real, everything(run)[:1].expand(150, 2))
    assert result["metrics_collapsed"]["fid"] == pytest.approx(expected, rel=1e-9)
    assert result["num_real"] == 120


def test_joined_metrics_are_those_of_each_alone():
    rng = np.random.default_rng(0)
    real, fake = (torch.from_numpy(rng.normal(size=(n, 3))).float() for n in (90, 70))
    groups = [torch.from_numpy(rng.integers(-1, 2, n)) for n in (90, 70)]
    context = MetricContext((3,), group_names=("a", "b"))

    def compute(metric: Metric) -> dict[str, Any]:
        for _ in range(2):  # forgetting is part of it
            if _ == 0:
                metric.update_real(Batch(features=real, groups=groups[0]))
            metric.reset_fake()
            metric.update_fake(Batch(features=fake, groups=groups[1]))
        return metric.compute()

    names = [name for name in joined_metrics.METRICS if name != "prdc"]
    alone = [compute(joined_metrics.METRICS[name](context)) for name in names]
    joined = compute(joined_metrics.join(names)(context))
    expected: dict[str, Any] = {}
    for found in alone:
        for group, values in found.pop("groups", {}).items():
            expected.setdefault("groups", {}).setdefault(group, {}).update(values)
        expected.update(found)
    assert joined == expected
    assert set(joined) == {"precision", "recall", "density", "coverage", "groups"}
    assert joined["groups"]["a"].keys() == {"partial_recall", "precision"}
    only = compute(joined_metrics.join(["partial_recall"])(context))
    assert only.keys() == {"groups"}
    with pytest.raises(UserError, match="no groups"):
        joined_metrics.join(["recall", "partial_recall"])(MetricContext((3,)))


def test_what_was_asked_for_is_noticed(tmp_path: Path):
    config = points_config(RUN__eval_metrics=["fid"])
    fit(config, tmp_path)
    evaluate(fit(config, tmp_path))
    assert is_evaluated(fit(config, tmp_path))
    assert json.loads((tmp_path / "result.json").read_text())["eval_metrics"] == ["fid"]
    for changes in ({"eval_metrics": ["fid", "recall"]}, {"eval_features": "classifier"}):
        other = points_config(RUN__eval_metrics=["fid"])
        for key, value in changes.items():
            setattr(other.RUN, key, value)
        assert not is_evaluated(fit(other, tmp_path)), changes
    run = fit(config, tmp_path)
    evaluate(run, metrics=["fid", "kid"])
    assert is_evaluated(run), "more than was asked for"
    evaluate(run, metrics=["fid"], num_real=100)
    assert not is_evaluated(run)
    evaluate(run, metrics=[])
    assert not is_evaluated(run)


def test_what_cannot_be_measured_is_left_out_at_the_end_and_refused_on_demand(warned):
    run = fit(points_config(), None, manager(sources=Sources()))
    result = evaluate(run, 3, metrics=["recall", "fid"])
    assert "fid" in result["metrics"]
    assert "recall" not in result["metrics"]
    assert any("at least 4 generated samples" in text for text in warned())
    with pytest.raises(UserError, match="at least 4 generated samples"):
        evaluate(run, 3, metrics=["recall"], strict=True)
    result = evaluate(run, 20, ["broken"], metrics=["fid"])
    assert result["metrics_broken"]["non_finite"] == 1.0
    assert "fid" not in result["metrics_broken"]
    with pytest.raises(UserError, match="not finite"):
        evaluate(run, 20, ["broken"], metrics=["fid"], strict=True)
    with pytest.raises(UserError, match="Did you mean 'fid'"):
        evaluate(run, 20, metrics=["fidd"])


def plain_data(groups: bool = False, labels: bool = False) -> ArrayDataset:
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    return ArrayDataset(
        "plain",
        x,
        np.arange(60) % 2 if labels else None,
        num_classes=2 if labels else 1,
        groups=np.arange(60) % 2 if groups else None,
        group_names=("a", "b") if groups else (),
    )


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["partial_recall"], "no groups"),
        (["occurrence"], "groups"),
        (["inception_score"], "'inception_score' needs class probabilities.*'raw'"),
        (["prdc", "fid", "no"], "Unknown metric 'no'"),
    ],
)
def test_a_metric_that_lacks_what_it_needs_is_refused(names, text):
    with pytest.raises(UserError, match=text):
        MetricSuite(names, Catalogs(), plain_data()).read_real()


def test_metrics_refused_for_want_of_groups_take_no_others_with_them(warned):
    data = plain_data()
    suite = MetricSuite(["recall", "partial_recall"], Catalogs(), data, strict=False)
    suite.read_real()
    suite.start()
    suite.update(torch.from_numpy(np.random.default_rng(1).normal(size=(30, 2))))
    overall, groups = suite.compute()
    assert overall.keys() == {"recall"}
    assert groups == {}
    assert any("no groups" in text for text in warned())
    suite = MetricSuite(["precision", "group_precision"], Catalogs(), plain_data(groups=True))
    suite.read_real()
    suite.start()
    with pytest.raises(UserError, match="the group of each generated sample"):
        suite.update(torch.zeros(4, 2))


@pytest.mark.parametrize("holdout", [0.0, 0.1])
@pytest.mark.parametrize(("config", "kept"), [(digits_config, 256), (points_config, 600)])
def test_all_samples_are_held_only_where_the_dataset_measures_them(config, kept, holdout):
    run = Run(config(DATA__holdout=holdout), manager(), {})
    build_data(run)
    tally = Tally(run, 600)
    for _ in range(3):
        tally.add(torch.zeros(200, *run.dataset.sample_shape))
    assert sum(map(len, tally._batches)) == kept
    assert ("high_quality" in tally.metrics(run)) == (config is points_config)


def test_images_that_no_png_holds_are_written_to_an_npz_alone(tmp_path: Path):
    dataset = ArrayDataset("x", np.zeros((1, 4, 8, 8), np.uint8))
    source = Shown(torch.zeros(1, 4, 8, 8))
    with pytest.raises(UserError, match=r"is no \.npz file; images of 4 channels need one"):
        write_samples(source, 1, tmp_path / "out", dataset)
    write_samples(source, 1, tmp_path / "out.npz", dataset)
    assert np.load(tmp_path / "out.npz")["x"].shape == (1, 4, 8, 8)


def test_the_standard_set_fits_the_data():
    assert standard_metrics(fit(digits_config()).dataset) == STANDARD
    assert standard_metrics(plain_data()) == STANDARD[:6]
    assert standard_metrics(plain_data(groups=True)) == STANDARD[:7]


def test_the_choice_of_real_samples_is_fixed_and_whole_where_it_can_be():
    assert choose_indices(5, 9).tolist() == [0, 1, 2, 3, 4]
    chosen = choose_indices(1000, 100)
    assert np.array_equal(chosen, choose_indices(1000, 100))
    assert len(np.unique(chosen)) == 100
    assert (np.diff(chosen) > 0).all()
    assert 400 < chosen.mean() < 600


class Mean(Metric):
    """The distance of the means, as a third party would write it."""

    needs = frozenset({"samples", "labels"})
    directions: ClassVar = {"mean_gap": "down"}

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.seen: dict[str, list[Batch]] = {"real": [], "fake": []}

    def update_real(self, batch: Batch) -> None:
        self.seen["real"].append(batch)

    def update_fake(self, batch: Batch) -> None:
        self.seen["fake"].append(batch)

    def reset_fake(self) -> None:
        self.seen["fake"] = []

    def compute(self) -> dict[str, Any]:
        means = [torch.cat([b.samples for b in part]).mean(0) for part in self.seen.values()]
        assert all(b.labels is not None for part in self.seen.values() for b in part)
        return {"mean_gap": float((means[0] - means[1]).norm())}


def third_party(**entries: Any) -> object:
    class Plugin:
        @hookimpl
        def gan_register(self, catalogs: Catalogs) -> None:
            for kind, components in entries.items():
                for name, factory in components.items():
                    getattr(catalogs, kind).register(name, factory)

    return Plugin()


class Doubled(Raw):
    identity = "doubled 1"

    def __call__(self, samples: Tensor) -> Features:
        return Features(2.0 * super().__call__(samples).features)


def catalogs_with(**entries: Any) -> Catalogs:
    return manager(other=third_party(**entries)).catalogs


def measured(names: list[str], catalogs: Catalogs, **options: Any) -> dict[str, Any]:
    data = plain_data(labels=True)
    suite = MetricSuite(names, catalogs, data, **options)
    suite.read_real()
    for shift in (5.0, 1.0):
        suite.start()
        x, y = data.__getitems__(np.arange(60))
        suite.update(x + shift, y)
    return suite.compute()[0]


def test_metrics_and_features_of_third_parties():
    catalogs = catalogs_with(metrics={"mean": Mean}, features={"doubled": Doubled})
    assert measured(["mean"], catalogs)["mean_gap"] == pytest.approx(2**0.5, rel=1e-5)
    one, two = (measured(["fid"], catalogs, features=f)["fid"] for f in ("raw", "doubled"))
    assert one == pytest.approx(2.0, rel=1e-4)
    assert two == pytest.approx(4 * one, rel=1e-6)


def raising(method: str) -> type[Mean]:
    def fail(self: Any, *_: object) -> None:
        raise ZeroDivisionError("oh no")

    return type("Raising", (Mean,), {method: fail})


@pytest.mark.parametrize(
    "method", ["__init__", "update_real", "update_fake", "reset_fake", "compute"]
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_third_party_metric_that_fails_is_named(method, strict):
    catalogs = catalogs_with(metrics={"bad": raising(method)})
    with pytest.raises(PluginError, match=r"metric 'bad' of 'other' failed in .*ZeroDivision"):
        measured(["bad"], catalogs, strict=strict)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1], "returned list as its results"),
        ({"a": "x"}, "returned str as 'a'"),
        ({"a": torch.zeros(2)}, "returned Tensor as 'a'"),
        ({"groups": [1]}, "returned list as groups"),
        ({"groups": {"g": 1.0}}, "returned float as group 'g'"),
    ],
)
def test_a_third_party_metric_that_returns_nonsense_is_named(values, text):
    class Nonsense(Mean):
        directions: ClassVar = {}

        def compute(self) -> Any:
            return values

    with pytest.raises(PluginError, match=f"'bad' of 'other' {text}"):
        measured(["fid", "bad"], catalogs_with(metrics={"bad": Nonsense}))


def test_metrics_that_give_the_same_result_are_not_asked_for_together(warned):
    rivals = ["epsilon_ball", "epsilon_ball_plain"]
    with pytest.raises(UserError, match="epsilon_ball' both give 'epsilon_precision'"):
        measured(rivals, Catalogs())
    alone = measured(rivals[:1], Catalogs())
    assert measured(rivals, Catalogs(), strict=False) == alone
    assert any("both give" in text for text in warned())


@pytest.mark.parametrize(
    "rivals",
    [
        ["occurrence", "occurrence_classifier"],
        ["reconstruction_error", "reconstruction_error_published"],
        ["epsilon_ball", "fid", "epsilon_ball_plain"],
    ],
)
def test_rivals_are_refused_before_any_sample_is_generated(rivals):
    data = ArrayDataset(
        "d", np.zeros((6, 1, 8, 8), np.uint8), groups=np.arange(6) % 2, group_names=("a", "b")
    )
    with pytest.raises(UserError, match=f"metric '{rivals[0]}' both give"):
        MetricSuite(rivals, Catalogs(), data, features="raw", knows_groups=True)
    # These share a direction, but not a place in the result.
    friends = ["precision", "group_precision", "recall", "partial_recall", "prdc"]
    MetricSuite(friends, Catalogs(), data, features="raw", knows_groups=True)


def test_what_is_no_metric_or_fails_as_an_extractor_is_named():
    with pytest.raises(PluginError, match="'bad' of 'other' is a list"):
        measured(["bad"], catalogs_with(metrics={"bad": lambda context: []}))

    class Failing(Raw):
        def __call__(self, samples: Tensor) -> Features:
            raise KeyError("oh no")

    for factory in (Failing, lambda context: 1 / 0):
        with pytest.raises(PluginError, match="extractor 'bad' of 'other' failed"):
            measured(["fid"], catalogs_with(features={"bad": factory}), features="bad")


# ------------------------------------------------------------------ command line


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    fit(points_config(), folder)
    return folder


def output(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_measures_what_it_is_asked(finished: Path, capsys):
    def metrics(*arguments: str) -> dict[str, Any]:
        command = ["evaluate", "--run", str(finished), "--num", "60", "--json", *arguments]
        code, out, err = output(capsys, *command)
        assert (code, err) == (0, "")
        result: dict[str, Any] = json.loads(out)
        return result

    standard = metrics()
    assert standard["eval_metrics"] == STANDARD
    own = {"modes_covered", "high_quality", "other", "non_finite"}
    assert standard["metrics"].keys() - own == {*STANDARD[:6], "kid_std"}
    assert metrics("--metrics", "none")["metrics"].keys() == own
    asked = metrics("--metrics", "fid, epsilon_ball", "--metrics", "fid", "--num-real", "150")
    assert asked["eval_metrics"] == ["fid", "epsilon_ball"]
    assert asked["num_real"] == 150
    code, out, _ = output(capsys, "evaluate", "--run", str(finished), "--num", "60")
    assert code == 0
    assert "partial_recall ↑" in out
    assert "\nfid ↓ " in out
    assert "(60 generated samples against 200 real ones, by the features raw)" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--metrics", "fidd"], "Did you mean 'fid'"),
        (["--metrics", "none,fid"], "none alone"),
        (["--metrics", ","], "--metrics takes names"),
        (["--features", "nope"], "Unknown feature extractor 'nope'"),
        (["--features", "nope.pt"], "no file nope.pt"),
        (["--features", "classifier"], "choose the features 'raw'"),
        (["--num-real", "0"], "--num-real is 0"),
        (["--num-real", "3", "--metrics", "precision"], "at least 4 real samples"),
        (["--num", "1", "--metrics", "fid"], "at least 2 generated samples"),
        (["--metrics", "inception_score"], "needs class probabilities"),
        (["--skip-corrupt"], "--skip-corrupt has no meaning with --run"),
        (["--images", "a", "b"], "not allowed with argument"),
    ],
)
def test_mistakes_are_one_line(finished: Path, capsys, arguments, text):
    code, _, err = output(capsys, "evaluate", "--run", str(finished), *arguments)
    assert code == 2, err
    assert len(err.splitlines()) == 1
    assert text in err
