"""`diagan studiogan` on the miniature, and unchanged on the checkout that STUDIOGAN_ROOT names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from studiogan_hosts import MINIATURE, ROOT, RUNNER, Host, install_probe, make_data

from diagan_plugin.hosts.kit.state import read_file
from diagan_plugin.hosts.studiogan.evaluation import Evaluation
from diagan_plugin.hosts.studiogan.session import Session

pytest.importorskip("torchvision", reason="StudioGAN needs torchvision")

HOSTS = [
    pytest.param((MINIATURE, False), id="miniature"),
    pytest.param(
        (Path(ROOT or "."), True), id="checkout",
        marks=pytest.mark.skipif(
            not ROOT or not (RUNNER or torch.cuda.is_available()),
            reason="set STUDIOGAN_ROOT (and STUDIOGAN_CPU_RUNNER where there is no GPU)",
        ),
    ),
]  # fmt: skip
MH = {"loss": "MH", "d_cond": "MH", "more_loss": ", mh_lambda: 1.0"}
DIA = ("--sampler", "dia", "--dia-record-every", "1", "--dia-phase1", "0.5", "--dia-k", "3")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studiogan")
    make_data(folder / "data")
    install_probe(folder)
    return folder


@pytest.fixture(params=HOSTS)
def host(request, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    checkout, real = request.param
    (tmp_path / "data").symlink_to(material / "data")
    shutil.copytree(material / "site", tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return Host(checkout, tmp_path, real)


def test_uniform_sampling_leaves_every_loss_as_it_is(host: Host) -> None:
    host.plain(*host.arguments(out="plain"))
    flags = ("--sampler", "uniform", "--diagnose", "--dia-record-every", "1", "--probe")
    code, text = host.diagan(*flags, studiogan=host.arguments(out="ours"))
    assert code == 0, text
    assert host.losses("ours") == host.losses("plain")
    assert len(host.losses("ours")["gen_loss"]) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "logistic", "acml": 2, "d_first": "false"},
        {**MH, "more_loss": f"{MH['more_loss']}, apply_fm: true, fm_lambda: 1.0"},
    ],
    ids=["hinge", "logistic accumulated", "multi-hinge with feature matching"],
)  # fmt: skip
def test_hooks_receive_what_discriminator_and_generator_saw(host: Host, changes: dict) -> None:
    arguments = host.arguments(**changes)
    code, text = host.diagan(
        "--sampler", "probe", "--probe", "--probe-even-from", "3", studiogan=arguments
    )
    assert code == 0, text
    seen = host.probe()
    acml = changes.get("acml", 1)
    assert seen["steps"] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in seen["shown"]] == [s for s in range(6) for _ in range(2 * acml)]
    assert [step for step, _, _ in seen["updates"]] == [s for s in range(6) for _ in range(2)]
    baskets = 2 if "apply_fm" in changes.get("more_loss", "") else 1
    ends = [(s * 2 * baskets + u + 1) * 8 * acml for s in range(6) for u in range(2)]
    assert [position for _, position, _ in seen["updates"]] == ends
    late = torch.cat([indices for step, indices in seen["shown"] if step >= 3])
    early = torch.cat([indices for step, indices in seen["shown"] if step < 3])
    assert (late % 2 == 0).all()
    assert (early % 2 == 1).any()


def test_batches_read_ahead_under_old_weights_are_dropped(host: Host) -> None:
    arguments = host.arguments()
    arguments[arguments.index("--num_workers") + 1] = "2"
    code, text = host.diagan(
        "--sampler", "probe", "--probe", "--probe-even-from", "2", studiogan=arguments
    )
    assert code == 0, text
    late = torch.cat([indices for step, indices in host.probe()["shown"] if step >= 2])
    assert len(late) == 4 * 16
    assert (late % 2 == 0).all()


@pytest.mark.parametrize("loss", ["logistic", "MH"])
def test_weights_and_penalties_enter_the_losses(host: Host, loss: str) -> None:
    changes = {"steps": 1, **(MH if loss == "MH" else {"loss": loss})}
    flags = ("--sampler", "probe", "--probe")

    def losses(out: str, *more: str) -> tuple[float, float]:
        code, text = host.diagan(
            *flags, *more, "--fresh", studiogan=host.arguments(out=out, **changes)
        )
        assert code == 0, text
        found = host.losses(out)
        return found["dis_loss"][0], found["gen_loss"][0]

    # Two updates of D: under weights of 0 the first one changes nothing.
    ones = losses("ones", "--probe-real", "1", "--probe-fake", "1", "--probe-generator", "1")
    plain = losses("plain")
    assert ones == pytest.approx(plain, rel=1e-5)
    nothing = losses("nothing", "--probe-real", "0", "--probe-fake", "0", "--probe-generator", "0")
    assert nothing == (0.0, 0.0)
    penalised = losses("penalised", "--probe-penalty", "100")
    assert penalised[0] == pytest.approx(plain[0] + 100, rel=1e-5)
    assert penalised[1] == pytest.approx(plain[1] + 100, rel=1e-5)


def test_dia_records_weights_and_leaves_its_files(host: Host) -> None:
    code, text = host.diagan(*DIA, studiogan=host.arguments(loss="logistic"))
    assert code == 0, text
    folder = host.checkpoints()
    assert {path.name for path in folder.glob("*DIA*")} == {
        "model=DIA-current-weights-step=4.safetensors", "model=DIA-run.json",
    }  # fmt: skip
    state = read_file(folder / "model=DIA-current-weights-step=4.safetensors", "")
    assert state["plugins"]["dia"]["phase"] == 2
    assert state["position"] == 4 * 16
    assert state["plugins"]["dia"]["draws"].sum() == 2 * 16  # phase 1 is 2 of 5 steps
    assert {"dia.auxiliary", "dia.auxiliary_optimizer"} <= set(state["additions"])
    assert "loss/auxiliary discriminator" in text
    result = json.loads((folder / "result.json").read_text())
    assert set(result["groups"]) == {"left", "right"}
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "diagnosis.safetensors").exists()


def test_stylegan_with_minibatch_deviation(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_CPU_sg_channels", "8")
    changes = {
        "backbone": "stylegan2", "g_cond": "cAdaIN", "d_cond": "SPD", "loss": "logistic",
        "d_first": "false", "steps": 3,
        "model": '  g_act_fn: "Auto"\n  d_act_fn: "Auto"\n  z_prior: "gaussian"\n  z_dim: 8\n'
        '  w_dim: 8\n  g_conv_dim: "N/A"\n  d_conv_dim: "N/A"\n  apply_g_ema: true\n'
        "STYLEGAN:\n  g_reg_interval: 4\n  d_reg_interval: 16\n  mapping_network: 2\n"
        "  style_mixing_p: 0.0\n  g_ema_kimg: 1\n  g_ema_rampup: 0.05\n  apply_pl_reg: false\n"
        '  pl_weight: 0\n  d_architecture: "orig"\n  d_epilogue_mbstd_group_size: 4',
    }  # fmt: skip
    if not host.real:
        changes["model"] = changes["model"].replace("z_dim: 8\n  w_dim: 8", "z_dim: 8")
    code, text = host.diagan(*DIA, "--probe", studiogan=host.arguments(**changes))
    assert code == 0, text
    assert host.probe()["steps"] == [1, 2, 3, 4]


def test_interrupted_run_is_continued_by_the_same_command(host: Host) -> None:
    flags = (*DIA, "--probe", "--probe-fail-at", "6")
    arguments = host.arguments(steps=7)
    code, text = host.diagan(*flags, studiogan=arguments)
    assert code == 1, text
    assert "Plugin 'probe' failed in gan_step_end: RuntimeError: the probe fails" in text
    folder = host.checkpoints()
    before = read_file(folder / "model=DIA-current-weights-step=4.safetensors", "")
    assert host.probe()["steps"] == [1, 2, 3, 4, 5, 6]
    # The probe fails again at step 6, so that what step 5 left can be compared.
    (folder / "probe-0.pt").unlink()
    code, text = host.diagan(*flags, studiogan=arguments)
    assert code == 1, text
    assert f"continuing {folder} from step 4" in text
    seen = host.probe()
    assert seen["loaded"] == 4
    assert seen["steps"] == [5, 6]
    assert seen["updates"][0][1] == before["position"] + 8
    # Another command is another run.
    code, text = host.diagan(*DIA, studiogan=arguments)
    assert code == 0, text
    assert "continuing" not in text
    assert len(list((host.folder / "out" / "checkpoints").iterdir())) == 2


def test_a_finished_run_is_not_continued(host: Host) -> None:
    for _ in range(2):
        code, text = host.diagan(
            "--sampler", "probe", "--probe", studiogan=host.arguments("--save_freq", "3")
        )
        assert code == 0, text
        assert "continuing" not in text


def test_stop_ends_the_training_in_good_order(host: Host) -> None:
    flags = ("--sampler", "probe", "--probe", "--probe-stop-at", "3")
    code, text = host.diagan(*flags, studiogan=host.arguments(steps=50))
    assert code == 0, text
    assert host.probe()["steps"] == [1, 2, 3]


def test_rejection_sampling_after_training_and_from_a_checkpoint(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_CPU_fake_eval", "1")
    monkeypatch.setenv("RUN_CPU_load_patch", "0")  # torch.load as it is
    flags = (*DIA, "--samples", "drs", "--post-burn-in", "40")
    arguments = host.arguments("-metrics", "fid", "-ref", "valid", loss="logistic")
    code, text = host.diagan(*flags, studiogan=arguments)
    assert code == 0, text
    assert text.count("drs: acceptance_rate") == 1
    folder = host.checkpoints()
    assert (folder / "model=DIA-best-weights-step=4.safetensors").exists()
    arguments = [a for a in arguments if a != "-t"] + ["-ckpt", str(folder), "-best"]
    code, text = host.diagan(*flags, studiogan=arguments)
    assert code == 0, text
    assert "drs: acceptance_rate" in text


def test_the_last_evaluation_during_training_stays_plain(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It chooses the best checkpoint, as those before it do, and comes after the last step."""
    if host.real:
        pytest.skip("the miniature tells what each evaluation was given")
    corrected: list[tuple[int, bool]] = []
    generate_images = Evaluation.generate_images

    def noted(evaluation: Evaluation, *args: Any) -> Any:
        session_worker = workers[-1]
        corrected.append((evaluation.run.step, session_worker.training))
        return generate_images(evaluation, *args)

    workers: list[Any] = []
    prepare_train_iter = Session.prepare_train_iter

    def prepared(session: Session, original: Any, worker: Any, epoch_counter: int) -> Any:
        workers.append(worker)
        return prepare_train_iter(session, original, worker, epoch_counter)

    monkeypatch.setattr(Evaluation, "generate_images", noted)
    monkeypatch.setattr(Session, "prepare_train_iter", prepared)
    # StudioGAN trains one step more: six, and saves and evaluates after the 3rd and the 6th.
    arguments = host.arguments("--save_freq", "3", "-metrics", "fid", "-ref", "valid",
                               loss="logistic")  # fmt: skip
    flags = (*DIA, "--samples", "drs", "--post-burn-in", "40")
    code, text = host.diagan(*flags, studiogan=arguments)
    assert code == 0, text
    assert text.count("FID score (Step:") == 3
    # Four batches of the one evaluation after the training, and of no other.
    assert corrected == [(6, False)] * 4
    assert text.count("drs: acceptance_rate") == 1


def test_pseudo_augmented_samples_are_not_shown(host: Host) -> None:
    if host.real:
        pytest.skip("the miniature has a fixed share of them")
    path = host.config()
    path.write_text(path.read_text() + "AUG: {apply_apa: true, apa_initial_augment_p: 0.5}\n")
    arguments = host.arguments()
    path.write_text(path.read_text() + "AUG: {apply_apa: true, apa_initial_augment_p: 0.5}\n")
    code, text = host.diagan("--sampler", "probe", "--probe", studiogan=arguments)
    assert code == 0, text
    shown = sum(len(indices) for _, indices in host.probe()["shown"])
    assert 0 < shown < 6 * 16


@pytest.mark.slow
def test_killed_run_is_continued_by_the_same_command(host: Host) -> None:
    flags = (*DIA, "--probe", "--probe-kill-at", "6")
    arguments = host.arguments(steps=7)
    code, text = host.diagan(*flags, studiogan=arguments, apart=True)
    assert code == -9, text
    code, text = host.diagan(*flags, studiogan=arguments, apart=True)
    assert code == -9, text
    assert f"continuing {host.checkpoints()} from step 4" in text


@pytest.mark.slow
def test_two_processes_share_one_draw(host: Host) -> None:
    arguments = host.arguments("-DDP", "--backend", "gloo", batch=16)
    flags = ("--sampler", "probe", "--probe", "--probe-even-from", "3")
    code, text = host.diagan(*flags, studiogan=arguments, world=2)
    assert code == 0, text
    first, second = host.probe(0), host.probe(1)
    assert [p for _, p, _ in first["updates"]] == [16 * n for n in range(1, 13)]
    from diagan_plugin.sampling.sampler import DiaSampler

    drawn = DiaSampler(24, seed=1).draw(0, 6 * 16).tolist()
    together = [
        index
        for (_, _, a), (_, _, b) in zip(first["updates"][:6], second["updates"][:6], strict=True)
        for pair in zip(a.tolist(), b.tolist(), strict=True)
        for index in pair
    ]
    assert together == drawn
    for seen in (first, second):
        assert all((i % 2 == 0).all() for step, i in seen["shown"] if step >= 3)
    code, text = host.diagan(
        *DIA, studiogan=host.arguments("-DDP", "--backend", "gloo", out="dia", batch=16), world=2
    )
    assert code == 0, text
    assert (host.checkpoints("dia") / "diagnosis.safetensors").exists()


@pytest.mark.slow
def test_a_refusal_in_a_child_process_is_one_line(host: Host) -> None:
    arguments = host.arguments("-DDP", "--backend", "gloo", batch=16)
    code, text = host.diagan(
        "--sampler", "dia", "--dia-record-every", "100", studiogan=arguments, world=2
    )
    assert code == 2, text
    assert "diagan: error: --dia-record-every 100" in text.strip().splitlines()[-1]
