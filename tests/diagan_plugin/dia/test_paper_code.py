"""`--dia-preset paper-code`: all that the published code does otherwise, in three plugins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import fit, manager, points_config

from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.postprocessing.plugin import PostprocessingPlugin
from diagan_plugin.remedies.top_k import TopKPlugin
from gan_registry.errors import UserError
from gan_registry.training.run import Run

DIA = {"record_every": 1, "window": 2, "phase1": 0.5}
SAMPLES = 32
TOP_K = {"enabled": True, "gamma": 0.5, "nu": 0.01}


def trained(dia: dict[str, Any] | None = None, *, sampler: str = "dia", **plugins: Any) -> Run:
    """Runs 6 steps, of 5 batches of 16 samples for D and one for G each."""
    config = points_config(
        RUN__sampler=sampler, DATA__options={"num_samples": SAMPLES},
        OPTIMIZATION__d_updates_per_step=5,
    )  # fmt: skip
    post = {"burn_in": 300, **plugins.get("postprocessing", {})}
    config.PLUGINS = {
        "dia": {**DIA, **(dia or {})},
        "postprocessing": post,
        "top_k": {**TOP_K, **plugins.get("top_k", {})},
    }
    loaded = manager(dia=DiaPlugin(), postprocessing=PostprocessingPlugin(), top_k=TopKPlugin())
    return fit(config, None, loaded)


def taken_per_batch(run: Run, name: str = "drs") -> bool:
    """Whether γ is taken within each batch: by name, and by what sampling leaves behind."""
    stream = run.plugins.catalogs.postprocessors[name](run, 0).stream
    assert sum(len(batch.x) for batch in stream.sample(20)) == 20
    assert stream.per_batch == (stream.gamma is None)
    return bool(stream.per_batch)


def shares(run: Run) -> list[int]:
    """Of 16 samples how many count after so many steps."""
    found = []
    for step in (0, 1, 2, 4, 6):
        run.step = step
        (weights,) = run.plugins.hooks.hook.gan_generator_weights(
            run=run, fake=None, logits=torch.arange(16.0), fake_out=None
        )
        found.append(int(weights.count_nonzero()))
    return found


BY_D = [16, 4, 1, 1, 1]  # 2.5 epochs a step, halved in each
BY_G = [16, 16, 8, 4, 2]  # half an epoch a step


def test_the_preset_sets_all_four() -> None:
    run = trained({"preset": "paper-code"})
    options = DiaOptions(**run.options["dia"])
    assert (options.draws, options.last_record) == ("iid", "before-end")
    assert run.sampler.method == "iid"
    assert taken_per_batch(run)
    assert taken_per_batch(run, "drs_fresh")
    assert shares(run) == BY_G


@pytest.mark.parametrize("preset", ["paper", "replication"])
def test_without_it_all_four_are_the_defaults(preset: str) -> None:
    run = trained({"preset": preset})
    assert run.sampler.method == "systematic"
    assert run.options["dia"]["last_record"] == "through-end"
    assert not taken_per_batch(run)
    assert shares(run) == BY_D


def test_what_is_given_explicitly_wins_over_it() -> None:
    run = trained(
        {"preset": "paper-code", "draws": "systematic", "last_record": "through-end"},
        postprocessing={"drs_gamma_over": "burn-in"},
        top_k={"epochs": "discriminator"},
    )
    assert run.sampler.method == "systematic"
    assert run.options["dia"]["last_record"] == "through-end"
    assert not taken_per_batch(run)
    assert shares(run) == BY_D


def test_each_of_another_plugin_stands_alone() -> None:
    run = trained(postprocessing={"drs_gamma_over": "batch"}, top_k={"epochs": "generator"})
    assert run.sampler.method == "systematic"
    assert taken_per_batch(run)
    assert shares(run) == BY_G


def test_a_baseline_follows_it_too() -> None:
    run = trained({"preset": "paper-code"}, sampler="uniform")
    assert taken_per_batch(run)
    assert shares(run) == BY_G


def test_plugins_without_dia_keep_their_defaults() -> None:
    config = points_config(DATA__options={"num_samples": SAMPLES})
    config.PLUGINS = {"top_k": TOP_K}
    run = fit(config, None, manager(top_k=TopKPlugin()))
    assert shares(run) == BY_G  # one batch each: the two are alike
    assert run.options["top_k"]["epochs"] == "auto"


def test_no_gamma_has_no_percentile() -> None:
    with pytest.raises(UserError, match=r"--drs-gamma-over batch .* leave one of them out"):
        trained(postprocessing={"drs_gamma": "exact", "drs_gamma_over": "batch"})
    # The preset asks for a percentile where there is one.
    run = trained({"preset": "paper-code"}, postprocessing={"drs_gamma": "exact"})
    assert run.plugins.catalogs.postprocessors["drs"](run, 0).stream.gamma == 0.0
