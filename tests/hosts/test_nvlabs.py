"""`diagan nvlabs` on the miniature, and unchanged on the checkouts that NVLABS_CHECKOUTS names."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from nvlabs_hosts import ADA, CHECKOUTS, REAL, Host, make_data, miniature
from studiogan_hosts import install_probe

from diagan_plugin.hosts.kit.launching import checkout_modules
from diagan_plugin.hosts.kit.state import read_file
from diagan_plugin.hosts.nvlabs.checkout import MODULES, trainer_of
from diagan_plugin.hosts.nvlabs.data import TrainerOrder
from diagan_plugin.hosts.nvlabs.losses import _Joined
from diagan_plugin.hosts.nvlabs.networks import host_networks
from diagan_plugin.hosts.nvlabs.settings import state_path
from gan_registry.errors import UserError

MINIATURES = [pytest.param((name, False), id=f"miniature {name}") for name in (ADA, "R3GAN")]
REALS = [
    pytest.param(
        (name, True), id=name,
        marks=pytest.mark.skipif(
            not (CHECKOUTS and Path(CHECKOUTS, name).is_dir()),
            reason=f"set NVLABS_CHECKOUTS to a folder that holds {name}",
        ),
    )
    for name in REAL
]  # fmt: skip
DIA = ("--sampler", "dia", "--dia-record-every", "1", "--dia-phase1", "0.5", "--dia-k", "3")
WATCH = ("--sampler", "probe", "--probe", "--probe-even-from", "6")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvlabs")
    make_data(folder)
    for name in (ADA, "R3GAN"):
        miniature(folder, name)
    return folder


@pytest.fixture(params=[*MINIATURES, *REALS])
def host(request, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    name, real = request.param
    for file in ("data.npz", "data.zip"):
        (tmp_path / file).symlink_to(material / file)
    # R3GAN's adapter refuses plugins that change its loss.
    monkeypatch.syspath_prepend(install_probe(tmp_path, "Watch" if name == "R3GAN" else "Probe"))
    return Host(name, (Path(CHECKOUTS or ".") if real else material) / name, tmp_path, real)


ada_only = pytest.mark.parametrize("host", MINIATURES[:1] + REALS[:2], indirect=True)
one = pytest.mark.parametrize("host", MINIATURES[:1], indirect=True)


def test_uniform_sampling_leaves_losses_and_networks_as_they_are(host: Host) -> None:
    host.plain(*host.arguments(out="plain"))
    flags = ("--sampler", "uniform", "--diagnose", "--dia-record-every", "1")
    code, text = host.diagan(*flags, trainer=host.arguments(out="ours"))
    assert code == 0, text
    assert host.losses("ours") == host.losses("plain")
    ours, plain = host.networks("ours"), host.networks("plain")
    assert len(ours) > 10
    assert all(torch.equal(ours[name], tensor) for name, tensor in plain.items())
    folder = host.run_folder("ours")
    assert {"diagnosis.safetensors", "result.json", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    assert b"diagan" not in host.snapshot("ours").read_bytes()


@pytest.mark.parametrize("cond", ["0", "1"])
def test_hooks_receive_what_the_discriminator_saw_and_draws_are_as_asked(
    host: Host, cond: str
) -> None:
    more = () if host.real else ("--piece=4",)
    code, text = host.diagan(*WATCH, trainer=host.arguments(f"--cond={cond}", "--mirror=1", *more))
    assert code == 0, text
    seen, rounds = host.probe(), 1 if host.real else 2
    assert seen["steps"] == list(range(1, 11))
    assert [step for step, _ in seen["shown"]] == [s for s in range(10) for _ in range(rounds)]
    assert [step for step, _, _ in seen["updates"]] == list(range(10))
    read = 16 if host.pairs else 8
    assert [position for _, position, _ in seen["updates"]] == [read * (s + 1) for s in range(10)]
    late = torch.cat([indices for step, indices in seen["shown"] if step >= 6])
    early = torch.cat([indices for step, indices in seen["shown"] if step < 6])
    assert (late % 2 == 0).all()
    assert (early % 2 == 1).any()


@one
def test_batches_read_ahead_under_old_weights_are_dropped(host: Host) -> None:
    code, text = host.diagan(*WATCH, trainer=host.arguments("--workers=1"))
    assert code == 0, text
    late = torch.cat([indices for step, indices in host.probe()["shown"] if step >= 6])
    assert len(late) == 4 * 8
    assert (late % 2 == 0).all()


@ada_only
def test_weights_and_penalties_enter_the_losses(host: Host) -> None:
    flags = ("--sampler", "uniform", "--probe")

    def trained(out: str, *more: str) -> dict[str, torch.Tensor]:
        code, text = host.diagan(*flags, *more, trainer=host.arguments(out=out))
        assert code == 0, text
        return host.networks(out)

    def apart(these: dict[str, torch.Tensor], those: dict[str, torch.Tensor], of: str) -> float:
        return max(
            float((t.double() - those[n].double()).abs().max())
            for n, t in these.items()
            if n.startswith(of)
        )

    plain = trained("plain")
    ones = trained("ones", "--probe-real", "1", "--probe-fake", "1", "--probe-generator", "1")
    assert apart(plain, ones, "") < 1e-5
    constant = trained("constant", "--probe-penalty", "100")  # which has no gradient
    assert apart(plain, constant, "") < 1e-5
    none = trained("none", "--probe-real", "0", "--probe-fake", "0", "--probe-generator", "0")
    assert apart(plain, none, "D.") > 1e-4
    assert apart(plain, none, "G.") > 1e-4


def test_weighted_sampling_goes_on_from_a_snapshot_and_corrects_samples(host: Host) -> None:
    code, text = host.diagan(*DIA, trainer=host.arguments())
    assert code == 0, text
    snapshot = host.snapshot()
    state = read_file(state_path(str(snapshot)), "")
    read = 16 if host.pairs else 8
    assert (state["step"], state["position"]) == (10, 10 * read)
    assert state["plugins"]["dia"]["phase"] == 2
    assert int(state["plugins"]["dia"]["draws"].sum()) == 5 * 8
    assert any(name.startswith("dia.") for name in state["additions"])

    if not (host.real and host.pairs):  # R3GAN's own --kimg counts from the first image on
        more = [f"--resume={snapshot}", *(["--nimg=160"] if host.pairs else [])]
        code, text = host.diagan(*DIA, trainer=host.arguments(*more, out="more"))
        assert code == 0, text
        again = read_file(state_path(str(host.snapshot("more"))), "")
        assert (again["step"], again["position"]) == (20, 20 * read)
        assert int(again["plugins"]["dia"]["draws"].sum()) == 15 * 8

    out = host.folder / "samples.npz"
    # Thousands of StyleGAN3's samples, which calibrate a rejection, take minutes on a CPU.
    by = "plain" if host.name == "stylegan3" else "drs"
    sample = ["sample", "--nvlabs", str(snapshot), "--repo", str(host.checkout), "--num", "12",
              "--samples", by, "--out", str(out)]  # fmt: skip
    code, text = host.run(sample)
    assert code == 2
    assert "--trust" in text
    code, text = host.run([*sample, "--trust"])
    assert code == 0, text
    x = np.load(out)["x"]
    assert len(x) == 12


@one
def test_what_cannot_go_on_is_told(host: Host) -> None:
    code, text = host.diagan(*DIA, trainer=host.arguments())
    assert code == 0, text
    snapshot = host.snapshot()
    resume = host.arguments(f"--resume={snapshot}", out="more")

    def refused(*flags: str) -> str:
        code, text = host.diagan(*flags, trainer=resume)
        assert code == 2
        assert "Traceback" not in text
        return text

    assert "sampler" in refused("--sampler", "uniform", "--diagnose", "--dia-record-every", "1")
    path = state_path(str(snapshot))
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in refused(*DIA)
    code, text = host.diagan(*DIA, "--fresh", trainer=resume)
    assert code == 0, text
    path.unlink()
    code, text = host.diagan(*DIA, trainer=resume)
    assert code == 0, text
    assert "plugins start afresh" in text


@one
def test_a_plugin_may_end_the_training(host: Host) -> None:
    flags = ("--sampler", "probe", "--probe", "--probe-stop-at", "3")
    code, text = host.diagan(*flags, trainer=host.arguments("--tick=16"))
    assert code == 0, text
    assert host.probe()["steps"] == [1, 2, 3]  # a tick ends there


@pytest.mark.slow
@pytest.mark.parametrize("host", MINIATURES, indirect=True)
def test_processes_share_one_draw(host: Host) -> None:
    code, text = host.diagan(*WATCH, trainer=host.arguments("--gpus=2", "--piece=2"), apart=True)
    assert code == 0, text
    shown = [torch.cat([indices for _, indices in host.probe(rank)["shown"]]) for rank in (0, 1)]
    assert len(shown[0]) == len(shown[1]) == 10 * 4
    assert not torch.equal(*shown)
    code, text = host.diagan(*DIA, trainer=host.arguments("--gpus=2", out="two"), apart=True)
    assert code == 0, text
    assert (host.run_folder("two") / "report.html").exists()


def test_mistakes_are_told_in_a_line(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from diagan_plugin.cli import main

    monkeypatch.delenv("NVLABS_REPO", raising=False)
    ada = str(material / ADA)

    def complaint(*arguments: str) -> str:
        assert main(["nvlabs", *arguments]) == 2
        return capsys.readouterr().err

    assert "--repo CHECKOUT is missing" in complaint("--", "--outdir=x")
    assert "no checkout of R3GAN, stylegan3" in complaint("--repo", str(tmp_path), "--", "x")
    assert "after --" in complaint("--repo", ada)
    assert "diaa" in complaint("--repo", ada, "--sampler", "diaa", "--", "x")
    if not torch.cuda.is_available():
        assert "needs a CUDA device" in complaint("--repo", ada, "--", "x")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    changed = miniature(tmp_path, "changed")
    loss = changed / "training" / "loss.py"
    loss.write_text(loss.read_text().replace("run_D", "run_it"))
    assert "differs at the seam loss.StyleGAN2Loss.run_D" in complaint(
        "--repo", str(changed), "--", "x"
    )
    make_data(tmp_path)
    (tmp_path / "out").mkdir()
    given = [f"--outdir={tmp_path / 'out'}", f"--data={tmp_path / 'data.npz'}"]
    told = complaint("--repo", str(material / "R3GAN"), "--gold", "--", *given)
    assert "its loss is of pairs" in told


def test_the_trainers_own_order_can_be_read_twice() -> None:
    order = TrainerOrder(5, "it", lambda: iter(range(10**7)))
    assert order.draw(3, 6).tolist() == [3, 4, 5]
    assert order.draw(3_000_000, 3_000_002).tolist() == [3_000_000, 3_000_001]
    assert order.draw(0, 2).tolist() == [0, 1]
    with pytest.raises(UserError, match="takes no weights"):
        order.set_weights(np.ones(5), 0)


def test_a_penalty_joins_the_loss_without_changing_its_value() -> None:
    logits, weight = torch.ones(3, 1, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    joined = _Joined.apply(logits * 1, weight.square(), 4.0)
    joined.mean().backward()
    assert torch.equal(joined, logits)
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.full((3, 1), 1 / 3))
    assert weight.grad == 4.0 * 2 * 2.0


@one
def test_plugins_generate_without_a_trace_in_g_or_in_any_random_state(host: Host) -> None:
    with checkout_modules("it", str(host.checkout), MODULES):
        networks = importlib.import_module("training.networks")
        g = networks.Generator(z_dim=4, c_dim=2, img_resolution=8)
        d = networks.Discriminator(c_dim=2, img_resolution=8)
    ours = host_networks(trainer_of(host.checkout), g, d, g, seed=0)
    before = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    random, z, y = torch.get_rng_state(), torch.ones(6, 4), torch.arange(6) % 2
    first, second = ours.generator(z, y), ours.generator(z, y)
    assert not torch.equal(first, second)  # noise of its own each time
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], tensor) for name, tensor in g.state_dict().items())
    assert ours.discriminator(first, y).shape == (6, 1)  # which groups of 4 do not divide
