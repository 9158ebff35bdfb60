from __future__ import annotations

import json
import logging
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small_runs import (
    InstanceNoise,
    assert_equal_runs,
    digits_config,
    fit,
    manager,
    points_config,
    state_of,
)
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_registry import state_files
from gan_registry.backbones.assembly import assemble
from gan_registry.backbones.base import Backbone
from gan_registry.backbones.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.training.checkpoint import checkpoint_steps
from gan_registry.training.logs import Terminal, read_metrics
from gan_registry.training.run import Run
from gan_registry.training.trainer import Outputs, train


def stopping(step: int, how: type[BaseException] = KeyboardInterrupt) -> object:
    """A plugin that ends the process after a step, as a person or a power cut would."""

    class Stop:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == step:
                raise how("stopped")

    return Stop()


CASES: dict[str, Callable[..., Any]] = {
    # Batch norm, dropout, averaging, several updates, accumulation: all that has a state.
    "dcgan": lambda **c: digits_config(
        MODEL__apply_g_ema=True, MODEL__g_ema_decay=0.9, MODEL__apply_d_sn=True,
        OPTIMIZATION__d_updates_per_step=2, OPTIMIZATION__batch_size=16,
        OPTIMIZATION__acml_steps=2, RUN__save_freq=2, **c,
    ),
    "mlp": lambda **c: points_config(
        MODEL__d_dropout=0.3, OPTIMIZATION__d_first=False, RUN__save_freq=2, **c
    ),
    "workers": lambda **c: points_config(
        MODEL__d_dropout=0.3, RUN__num_workers=1, RUN__save_freq=2, **c
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_same_command_resumes_bit_equal(tmp_path: Path, case: str):
    config = CASES[case]()
    whole = fit(config, tmp_path / "whole")
    assert whole.step == 6
    with pytest.raises(KeyboardInterrupt):  # after step 5; the last checkpoint is of step 4
        fit(config, tmp_path / "parts", manager(stop=stopping(5)))
    assert checkpoint_steps(tmp_path / "parts") == [2, 4]
    resumed = fit(config, tmp_path / "parts")
    assert resumed.first_step == 4
    assert_equal_runs(whole, resumed)
    timing = ("seconds", "steps_per_second")
    lines = [
        [{k: v for k, v in line.items() if k not in timing} for line in read_metrics(tmp_path / n)]
        for n in ("whole", "parts")
    ]
    assert [line["step"] for line in lines[0]] == [1, 2, 3, 4, 5, 6]
    assert lines[0] == lines[1]


def test_workers_do_not_change_a_run_with_dropout():
    runs = [fit(points_config(MODEL__d_dropout=0.5, RUN__num_workers=n)) for n in (0, 2)]
    assert_equal_runs(*runs)


def test_killed_in_the_middle_of_a_checkpoint(tmp_path: Path, monkeypatch):
    config = CASES["mlp"]()
    whole = fit(config, tmp_path / "whole")
    real = state_files.write_tensors

    def die(path: Path, *rest: Any) -> None:
        if "step-00000004" in path.name:
            path.write_bytes(b"half of a checkpoint")
            os._exit(9)
        real(path, *rest)

    folder = tmp_path / "parts"
    child = os.fork()
    if child == 0:  # the child dies as if killed: no handler of its own runs
        monkeypatch.setattr(state_files, "write_tensors", die)
        fit(config, folder)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert checkpoint_steps(folder) == [2]
    assert list(folder.rglob(".*.tmp"))
    resumed = fit(config, folder)
    assert resumed.first_step == 2
    assert_equal_runs(whole, resumed)
    assert not list(folder.rglob(".*.tmp"))


def test_killed_before_anything_was_written(tmp_path: Path):
    (tmp_path / ".config.yaml.abc.tmp").write_text("half")
    assert fit(points_config(), tmp_path).step == 6


def test_more_steps_continue_a_finished_run_bit_equal(tmp_path: Path):
    whole = fit(points_config(), tmp_path / "whole")
    fit(points_config(OPTIMIZATION__total_steps=4), tmp_path / "parts")
    assert_equal_runs(whole, fit(points_config(), tmp_path / "parts"))
    assert [line["step"] for line in read_metrics(tmp_path / "parts")] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, capsys):
    first = fit(points_config(), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    again = train(points_config(), tmp_path, manager())
    assert_equal_runs(first, again)
    assert again.seconds == first.seconds
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert "complete after 6 steps" in capsys.readouterr().err


def test_fewer_steps_than_were_trained_are_refused(tmp_path: Path):
    fit(points_config(), tmp_path)
    with pytest.raises(UserError, match=r"trained for 6 steps already, more than --steps 4"):
        fit(points_config(OPTIMIZATION__total_steps=4), tmp_path)


def test_a_plugin_can_stop_a_run_for_good(tmp_path: Path):
    class Enough:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == 3:
                run.stop("good enough")

    run = fit(points_config(), tmp_path, manager(p=Enough()))
    assert (run.step, run.stopped) == (3, "good enough")
    assert fit(points_config(), tmp_path).step == 3, "the same command continues nothing"
    assert fit(points_config(OPTIMIZATION__total_steps=8), tmp_path).step == 8


@pytest.mark.parametrize("adv_loss", ["logistic", "hinge"])
def test_one_batch_of_64_equals_four_of_16(tmp_path: Path, adv_loss: str):
    whole, parts = (
        fit(
            points_config(
                OPTIMIZATION__batch_size=64 // n, OPTIMIZATION__acml_steps=n,
                OPTIMIZATION__total_steps=3, LOSS__adv_loss=adv_loss,
            ),
            tmp_path / str(n),
        )
        for n in (1, 4)
    )  # fmt: skip
    one, four = state_of(whole), state_of(parts)
    for name in one:
        if "exp_avg" not in name:
            assert torch.allclose(one[name], four[name], rtol=1e-4, atol=1e-5), name
    # also what is logged is the loss of the whole update
    for first, second in zip(
        read_metrics(tmp_path / "1"), read_metrics(tmp_path / "4"), strict=True
    ):
        for name in ("loss/discriminator", "loss/generator"):
            assert first[name] == pytest.approx(second[name], rel=1e-4)


class Events:
    """Notes in what order the networks were updated."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @hookimpl
    def gan_discriminator_updated(self, batches: Any) -> None:
        self.seen.append(f"D{len(batches)}")

    @hookimpl
    def gan_generator_weights(self, run: Run) -> None:
        self.seen.append("G")

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        self.seen.append(f"end {run.step}")


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, ["D1", "G"]),
        ({"d_updates_per_step": 3}, ["D1", "D1", "D1", "G"]),
        ({"d_first": False, "g_updates_per_step": 2}, ["G", "G", "D1"]),
        ({"acml_steps": 2}, ["D2", "G", "G"]),  # G's weights are asked for once a micro-batch
    ],
)
def test_a_step_is_so_many_updates_in_this_order(changes, step):
    events = Events()
    config = points_config(
        OPTIMIZATION__total_steps=2, **{f"OPTIMIZATION__{k}": v for k, v in changes.items()}
    )
    run = fit(config, None, manager(p=events))
    assert events.seen == [*step, "end 1", *step, "end 2"]
    d_updates = changes.get("d_updates_per_step", 1) * changes.get("acml_steps", 1)
    assert run.position == 2 * run.samples_per_step == 2 * 16 * d_updates
    adam = {name: next(iter(o.state.values()))["step"] for name, o in run.optimizers.items()}
    assert adam["discriminator"] == 2 * changes.get("d_updates_per_step", 1)
    assert adam["generator"] == 2 * changes.get("g_updates_per_step", 1)


class Named(NamedTuple):
    """What a discriminator may return."""

    logit: Tensor
    embed: Tensor


class NamedOutput(nn.Module):
    """Returns a named tuple."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, y: Tensor | None = None) -> Named:
        return Named(self.inner(x), x)


def test_a_discriminator_may_return_a_named_tuple():
    class Naming:
        seen: Any = None

        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.discriminator = NamedOutput(run.discriminator)

        @hookimpl
        def gan_discriminator_updated(self, batches: Any) -> None:
            self.seen = batches[0].real_out

    plugin = Naming()
    fit(points_config(), None, manager(naming=plugin))
    assert type(plugin.seen) is Named
    assert not plugin.seen.logit.requires_grad


def test_the_home_folder_is_found_in_a_configuration(tmp_path: Path, monkeypatch):
    np.savez(tmp_path / "points.npz", x=np.random.default_rng(0).normal(size=(20, 2)))
    monkeypatch.setenv("HOME", str(tmp_path))
    data = {"DATA__name": "arrays_file", "DATA__path": "~/points.npz", "DATA__options": {}}
    assert len(fit(points_config(**data)).dataset) == 20
    data["DATA__path"] = "~/none.npz"
    with pytest.raises(UserError, match=str(tmp_path / "none.npz")):
        fit(points_config(**data))


def test_the_moving_average_is_what_the_formula_says():
    seen: list[dict[str, torch.Tensor]] = []

    class Watch:
        @hookimpl
        def gan_train_start(self, run: Run) -> None:
            seen.append({k: v.clone() for k, v in run.generator.state_dict().items()})

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            seen.append({k: v.clone() for k, v in run.generator.state_dict().items()})

    config = points_config(
        MODEL__apply_g_ema=True, MODEL__g_ema_decay=0.7, MODEL__g_ema_start=2, MODEL__g_bn=True
    )
    run = fit(config, None, manager(p=Watch()))
    assert run.average is not None
    parameters = dict(run.generator.named_parameters())
    for name, value in run.average.average.state_dict().items():
        if name not in parameters:  # batch-norm statistics
            assert torch.equal(value, seen[6][name])
            continue
        expected = seen[2][name].double()  # until step 2 the average is the network itself
        for step in range(3, 7):
            expected = 0.7 * expected + 0.3 * seen[step][name].double()
        assert torch.allclose(value.double(), expected, atol=1e-6), name
    assert run.sampling_generator is run.average.average


class Weights:
    """Weights that depend on the samples, and a constant penalty."""

    @staticmethod
    def of(x: torch.Tensor) -> torch.Tensor:
        return 1.5 + x[:, 0].detach().sin()

    @hookimpl
    def gan_discriminator_weights(self, real: Any, fake: Any) -> Any:
        return self.of(real.x), self.of(fake.x)

    @hookimpl
    def gan_generator_weights(self, fake: Any) -> Any:
        return self.of(fake.x)

    @hookimpl
    def gan_discriminator_penalty(self, run: Run, real_out: Any) -> Any:
        return 0.1 * real_out.square().mean()

    @hookimpl
    def gan_generator_penalty(self, run: Run, fake: Any) -> Any:
        return 0.2 * fake.x.square().mean()


def test_losses_are_means_of_weight_times_term_never_renormalised(tmp_path: Path):
    """One step with weights and penalties, against the same step written out by hand."""
    made: list[tuple[nn.Module, nn.Module]] = []

    class Twins:
        @hookimpl
        def gan_train_start(self, run: Run) -> None:
            twins = run.backbone.build("generator"), run.backbone.build("discriminator")
            twins[0].load_state_dict(run.generator.state_dict())
            twins[1].load_state_dict(run.discriminator.state_dict())
            made.append(twins)

    config = points_config(OPTIMIZATION__total_steps=1)
    run = fit(config, tmp_path, manager(weights=Weights(), twins=Twins()))

    ((generator, discriminator),) = made
    settings = {"lr": 1e-3, "betas": (0.5, 0.999)}
    g_adam = torch.optim.Adam(generator.parameters(), **settings)
    d_adam = torch.optim.Adam(discriminator.parameters(), **settings)
    x, _ = run.dataset.__getitems__(run.sampler.draw(0, 16))
    fake = generator(run.latents(16, "discriminator", 0, 0)).detach()
    v_real, v_fake = discriminator(x)[:, 0], discriminator(fake)[:, 0]
    of_real, of_fake = Weights.of(x), Weights.of(fake)
    assert abs(float(of_real.mean()) - 1) > 0.05, "else renormalising would go unnoticed"
    d_loss = (of_real * softplus(-v_real)).sum() / 16 + (of_fake * softplus(v_fake)).sum() / 16
    d_loss = d_loss + 0.1 * v_real.square().mean()
    d_adam.zero_grad()
    d_loss.backward()
    d_adam.step()
    fake = generator(run.latents(16, "generator", 0, 0))
    g_terms = softplus(-discriminator(fake)[:, 0])
    g_loss = (Weights.of(fake) * g_terms).sum() / 16 + 0.2 * fake.square().mean()
    g_adam.zero_grad()
    g_loss.backward()
    g_adam.step()

    (line,) = read_metrics(tmp_path)
    assert line["loss/discriminator"] == pytest.approx(d_loss.item(), rel=1e-5)
    assert line["loss/generator"] == pytest.approx(g_loss.item(), rel=1e-5)
    for twin, network in ((generator, run.generator), (discriminator, run.discriminator)):
        for one, other in zip(twin.parameters(), network.parameters(), strict=True):
            assert torch.allclose(one, other, atol=1e-6)


def test_an_unrelated_plugin_trains_through_public_hooks_only():
    def run_with(**options: float) -> Run:
        plugins = manager(noise=InstanceNoise())
        return fit(points_config(PLUGINS__noise=options), None, plugins)

    plain = fit(points_config())
    assert_equal_runs(plain, run_with())  # installed but idle: as if it were not there
    penalised, weighted = run_with(penalty=5.0), run_with(share=0.25)
    for other in (penalised, weighted):
        assert not torch.equal(*(next(iter(r.generator.parameters())) for r in (plain, other)))
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=rng).requires_grad_(True)
    norms = []
    for strength in (0.0, 50.0):
        run = fit(
            points_config(PLUGINS__noise={"penalty": strength}, OPTIMIZATION__total_steps=60),
            None,
            manager(noise=InstanceNoise()),
        )
        (gradient,) = torch.autograd.grad(run.discriminator(x).sum(), x)
        norms.append(gradient.norm(dim=1).mean().item())
    assert norms[1] < 0.5 * norms[0], "a gradient penalty that takes effect flattens D"


class Adds:
    """Adds a network and an optimiser of its own, which the host saves and restores."""

    @hookimpl
    def gan_models_ready(self, run: Run) -> None:
        run.add("p.network", run.build("discriminator"))
        network = run.additions["p.network"]
        assert isinstance(network, nn.Module)
        run.add("p.optimizer", torch.optim.Adam(network.parameters(), lr=0.01))

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
        network, adam = run.additions["p.network"], run.additions["p.optimizer"]
        assert isinstance(adam, torch.optim.Optimizer)
        fake = run.generate(8)
        adam.zero_grad()
        network(fake.x).square().mean().backward()
        adam.step()


def test_added_networks_resume_with_the_run(tmp_path: Path):
    config = points_config(RUN__save_freq=3)
    whole = fit(config, None, manager(p=Adds()))
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, manager(p=Adds(), stop=stopping(4)))
    resumed = fit(config, tmp_path, manager(p=Adds()))
    assert resumed.first_step == 3
    assert_equal_runs(whole, resumed)
    assert any(name.startswith("p.network") for name in state_of(whole))


def test_one_plugins_draws_do_not_shift_anothers():
    """Another plugin that generates and builds leaves this one's samples and networks alone."""

    class Curious(Adds):
        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.build("discriminator")

        @hookimpl
        def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
            run.generate(5)

    config = points_config()
    alone = fit(config, None, manager(p=Adds()))
    assert_equal_runs(alone, fit(config, None, manager(a=Curious(), p=Adds(), z=Curious())))


def test_draws_differ_between_calls_hooks_and_steps():
    latents: list[tuple[float, ...]] = []

    class Draws:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            latents.extend(tuple(run.generate(1).z[0].tolist()) for _ in range(2))

        @hookimpl
        def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
            latents.append(tuple(run.generate(1).z[0].tolist()))

    fit(points_config(), None, manager(p=Draws()))
    assert len(set(latents)) == len(latents) == 18


def test_a_run_depends_on_its_seed_alone_and_leaves_global_randomness_alone():
    first = fit(digits_config(OPTIMIZATION__total_steps=3))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    second = fit(digits_config(OPTIMIZATION__total_steps=3))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]
    assert_equal_runs(first, second)
    third = fit(digits_config(OPTIMIZATION__total_steps=3, RUN__seed=1))
    assert not torch.equal(*(next(iter(r.generator.parameters())) for r in (first, third)))


@pytest.mark.parametrize("workers", [0, 1])
def test_new_weights_hold_from_the_very_next_batch(workers: int):
    from diagan_plugin.sampling.sampler import DiaSampler

    drawn: list[list[int]] = []

    class OneOnly:
        @hookimpl
        def gan_register(self, catalogs: Any) -> None:
            catalogs.samplers.register("w", lambda run: DiaSampler(len(run.dataset), run.seed))

        @hookimpl
        def gan_real_logits(self, run: Run, real: Any) -> None:
            drawn.append(real.indices.tolist())

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == 3:
                run.set_weights(np.eye(len(run.dataset))[7])

    config = points_config(RUN__sampler="w", RUN__num_workers=workers)
    fit(config, None, manager(p=OneOnly()))
    assert [set(batch) == {7} for batch in drawn] == [False] * 3 + [True] * 3


class Poison:
    """Spoils the samples by an objective of its own, as networks that diverge do."""

    @hookimpl
    def gan_train_start(self, run: Run) -> None:
        update = run.objective.update_generator

        def poisoned(number: int) -> None:
            update(number)
            if run.step == 2:
                run.log({"loss/generator": torch.tensor(float("nan"))})

        run.objective.update_generator = poisoned  # type: ignore[method-assign]


@pytest.mark.parametrize("print_freq", [1, 100])
def test_a_diverged_loss_is_one_clear_line_and_never_kept(tmp_path: Path, print_freq: int):
    config = points_config(RUN__print_freq=print_freq, RUN__save_freq=1)
    with pytest.raises(UserError, match=r"loss/generator is nan at step 3.*diverged.*g_lr") as e:
        fit(config, tmp_path, manager(p=Poison()))
    assert "\n" not in str(e.value)
    assert str(e.value).endswith("with --out. The checkpoint of step 2 is kept.")
    assert checkpoint_steps(tmp_path) == [1, 2]


class Logs:
    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        if run.step == 3:
            run.log({
                "a": torch.tensor(1.5), "b": np.float32(0.5), "c": float("nan"), "d": np.int64(3),
            })  # fmt: skip


def test_a_log_step_is_one_json_line_without_nan(tmp_path: Path):
    fit(points_config(RUN__print_freq=2), tmp_path, manager(p=Logs()))
    text = (tmp_path / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert {k: lines[1][k] for k in "abcd"} == {"a": 1.5, "b": 0.5, "c": None, "d": 3}
    assert "a" not in lines[2]


def test_what_was_noted_between_two_log_lines_survives_a_resume(tmp_path: Path):
    config = points_config(RUN__print_freq=4, RUN__save_freq=3)
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, manager(p=Logs_plain(), stop=stopping(4)))
    fit(config, tmp_path, manager(p=Logs_plain()))
    assert read_metrics(tmp_path)[0]["a"] == 1.5


def Logs_plain() -> object:  # noqa: N802
    class Plain:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == 3:
                run.log({"a": torch.tensor(1.5)})

    return Plain()


def test_what_cannot_be_logged_names_the_value(tmp_path: Path):
    class Bad:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            run.log({"what": object()})

    with pytest.raises(PluginError, match=r"run\.log"):
        fit(points_config(), tmp_path, manager(p=Bad()))


def test_a_line_cut_short_is_left_out(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": 2}\n{"step": 2, "a"')
    assert read_metrics(tmp_path) == [{"step": 1, "a": 2}]
    assert read_metrics(tmp_path / "nowhere") == []


def test_train_end_is_told_of_an_exception_and_does_not_hide_it(tmp_path: Path):
    ended = []

    class Ends:
        @hookimpl
        def gan_train_end(self, run: Run) -> None:
            ended.append(run.step)
            raise ValueError("the second mishap")

    with pytest.raises(KeyboardInterrupt):
        fit(points_config(), tmp_path, manager(p=Ends(), stop=stopping(2)))
    assert ended == [2]


def test_a_hook_that_fails_stops_a_run_that_asked_for_it_and_no_other(warned):
    class Fails:
        @hookimpl
        def gan_add_options(self, parser: Any) -> None:
            parser.add_argument("--bad-size", dest="bad.size", type=int, default=0)

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            raise RuntimeError("oops")

    plugins = manager(bad=Fails())
    plugins.infos["bad"].given = False  # as if it had been found among the installed ones
    run = fit(points_config(), None, plugins)
    assert run.step == 6
    assert any("'bad' failed in gan_step_end" in text for text in warned())
    with pytest.raises(RuntimeError, match="'bad' failed in gan_step_end"):
        fit(points_config(PLUGINS__bad={"size": 1}), None, plugins)


def test_a_network_that_a_plugin_replaces_is_the_one_that_trains():
    class Wraps:
        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.discriminator = Scaled(run.discriminator)

    class Scaled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.scale = inner, nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor, y: Any = None) -> torch.Tensor:
            return self.inner(x, y) * self.scale

    run = fit(points_config(), None, manager(p=Wraps()))
    assert isinstance(run.discriminator, Scaled)
    assert run.discriminator.scale.item() != 1.0


def test_grids_are_drawn_for_images_and_points(tmp_path: Path):
    fit(digits_config(OPTIMIZATION__total_steps=4, RUN__sample_freq=3), tmp_path / "a")
    fit(points_config(OPTIMIZATION__total_steps=2), tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a" / "samples").iterdir())
    assert names == ["step-00000003.png", "step-00000004.png"]
    for path in (*tmp_path.rglob("*.png"),):
        assert path.read_bytes().startswith(b"\x89PNG")


class PartlyFrozen(nn.Module):
    """A generator with a part that is never in training mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.noise = inner, nn.Dropout(0.5).eval()

    def forward(self, z: Tensor, y: Any = None) -> Any:
        return self.inner(self.noise(z), y)


def test_how_often_a_grid_is_drawn_changes_no_training(tmp_path: Path):
    class Freezes:
        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.generator = PartlyFrozen(run.generator)

    often, once = (
        fit(points_config(RUN__sample_freq=freq), tmp_path / f"{freq}", manager(p=Freezes()))
        for freq in (1, 6)
    )
    assert_equal_runs(often, once)


def test_what_cannot_be_drawn_is_trained_all_the_same(tmp_path: Path):
    data = {"DATA__name": "given", "DATA__options": {}, "RUN__sample_freq": 1}
    shapes = {"line": (40, 1), "pair": (40, 2, 8, 8), "four": (40, 4, 8, 8)}
    for name, shape in shapes.items():
        kind = np.float32 if name == "line" else np.uint8
        dataset = ArrayDataset("given", np.ones(shape, kind))
        plugins = manager()
        plugins.catalogs.datasets.register("given", lambda *_, dataset=dataset: dataset)
        if name == "line":
            fit(points_config(**data), tmp_path / name, plugins)
            assert not (tmp_path / name / "samples").exists()
        else:
            config = digits_config(**data, MODEL__backbone="small")
            plugins.catalogs.backbones.register("small", build_any_channels)
            fit(config, tmp_path / name, plugins)
            assert len(list((tmp_path / name / "samples").iterdir())) == 6


def build_any_channels(
    config: Any, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """As `dcgan`, which takes one or three channels."""
    return assemble(
        Backbone,
        partial(DCGANGenerator, image_size=8),
        partial(DCGANDiscriminator, image_size=8),
        config,
        sample_shape[0],
        seed,
    )


class Screen:
    def __init__(self, tty: bool) -> None:
        self.tty, self.text = tty, ""

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("tty", [False, True])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(tty: bool, monkeypatch):
    screen = Screen(tty)
    monkeypatch.setattr(sys, "stderr", screen)
    handlers = list(logging.getLogger().handlers)
    terminal = Terminal(0, 40)
    for step in range(1, 41):
        terminal.advance(step)
        terminal.show(step, {"loss/generator": 0.5}, eta=90.0)
    if tty:
        logging.getLogger("somebody").warning("something odd")
        assert "\nsomething odd\n" in screen.text.replace("\r", "\n")  # a line of its own
    terminal.close()
    assert logging.getLogger().handlers == handlers
    if tty:
        assert "\r" in screen.text
        assert "40/40" in screen.text
    else:
        lines = screen.text.splitlines()
        assert lines[0] == "step 1/40  generator 0.500  (1 min 30 s left)"
        assert lines[-1].startswith("step 40/40")
        assert 15 <= len(lines) <= 25
        assert "\r" not in screen.text


def test_a_log_that_cannot_be_opened_leaves_the_terminal_alone(tmp_path: Path, monkeypatch):
    (tmp_path / "metrics.jsonl").mkdir()
    monkeypatch.setattr(sys, "stderr", Screen(tty=True))
    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        with pytest.raises(UserError, match=r"Cannot write .*metrics"):
            Outputs.open(Run(points_config(), manager(), {}, tmp_path), quiet=False)
        assert handler in logging.root.handlers
    finally:
        logging.root.removeHandler(handler)


def test_tensorboard_is_optional_and_a_broken_one_is_left_out(tmp_path: Path, monkeypatch, warned):
    import builtins

    real = builtins.__import__
    for error in (ImportError("no tensorboard"), TypeError("Descriptors cannot be created")):

        def broken(name: str, *args: Any, error: Exception = error, **kwargs: Any) -> Any:
            if name == "tensorboard.compat.proto":
                raise error
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", broken)
        folder = tmp_path / type(error).__name__
        assert fit(points_config(OPTIMIZATION__total_steps=1), folder).step == 1
        assert not (folder / "tensorboard").exists()
    monkeypatch.undo()
    assert [text for text in warned() if "TensorBoard" in text] == [
        "TensorBoard cannot be used: Descriptors cannot be created"
    ]


def test_tensorboard_has_every_number_once_after_a_resume(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = points_config(RUN__save_freq=2)
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, manager(stop=stopping(5)))
    fit(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("loss/generator")] == [1, 2, 3, 4, 5, 6]
