"""mimicry's own Trainer, where torch-mimicry is installed (pip install --no-deps torch-mimicry)."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from small_runs import manager
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin.hosts import mimicry
from diagan_plugin.hosts.kit.state import read_file
from gan_registry import hookimpl
from gan_registry.errors import UserError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_mimicry") is None, reason="torch-mimicry is not installed"
)
N, BATCH = 24, 8


@pytest.fixture(autouse=True)
def _imports_undone():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "torch_mimicry":
            del sys.modules[name]


class Recorder:
    """Notes which hooks are fired, and weights as it is told to."""

    def __init__(self, real_weight: float | None = None) -> None:
        self.fired: list[str] = []
        self.real_weight = real_weight
        self.indices: list[torch.Tensor] = []
        self.batches: list = []

    @hookimpl
    def gan_models_ready(self, run):
        self.fired.append("models_ready")

    @hookimpl
    def gan_train_start(self, run):
        self.fired.append("train_start")

    @hookimpl
    def gan_real_logits(self, run, real, logits):
        self.fired.append("real_logits")
        self.indices.append(real.indices)
        assert logits.shape == (BATCH,)
        assert torch.equal(
            real.x.cpu(), torch.stack([run.dataset[int(i)][0] for i in real.indices])
        )

    @hookimpl
    def gan_discriminator_weights(self, run, real_logits, fake_logits):
        if self.real_weight is None:
            return None
        return torch.full_like(real_logits, self.real_weight), None

    @hookimpl
    def gan_discriminator_updated(self, run, batches):
        self.fired.append("updated")
        self.batches = batches

    @hookimpl
    def gan_generator_weights(self, run, fake, logits):
        self.fired.append("generator")
        assert fake.x.requires_grad

    @hookimpl
    def gan_step_end(self, run):
        self.fired.append("step_end")

    @hookimpl
    def gan_train_end(self, run):
        self.fired.append("train_end")


def make(folder, name="sngan", steps=2, n_dis=1, seed=0, batch=BATCH):
    networks = mimicry.import_mimicry(f"nets.{name}.{name}_32")
    title = name.upper()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = getattr(networks, f"{title}Generator32")(nz=8, ngf=8)
        discriminator = getattr(networks, f"{title}Discriminator32")(ndf=8)
    images = torch.rand(N, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    data = TensorDataset(images, torch.zeros(N, dtype=torch.int64))
    return mimicry.import_mimicry("training.trainer").Trainer(
        netD=discriminator, netG=generator,
        optD=torch.optim.Adam(discriminator.parameters(), 2e-4, (0.0, 0.9)),
        optG=torch.optim.Adam(generator.parameters(), 2e-4, (0.0, 0.9)),
        dataloader=DataLoader(data, batch_size=batch, shuffle=True),
        num_steps=steps, log_dir=str(folder), n_dis=n_dis, device=torch.device("cpu"),
        print_steps=10_000, log_steps=10_000, vis_steps=10_000,
    )  # fmt: skip


def test_each_hook_is_fired_at_its_place(tmp_path):
    recorder = Recorder()
    trainer = make(tmp_path, n_dis=2)
    mimicry.attach(trainer, plugins=manager(recorder=recorder))
    trainer.train()
    update = ["real_logits", "updated"]
    step = [*update, *update, "generator", "step_end"]
    assert recorder.fired == ["models_ready", "train_start", *step, *step, "train_end"]
    assert sorted(torch.cat(recorder.indices)[:N].tolist()) == list(range(N))  # an epoch
    (batch,) = recorder.batches
    assert batch.fake.x.shape == (BATCH, 3, 32, 32)
    assert batch.fake.z.shape == (BATCH, 8)
    assert not batch.fake.x.requires_grad


def test_weights_of_one_change_nothing_and_others_do(tmp_path):
    trained = []
    for number, weight in enumerate((None, 1.0, 0.0)):
        trainer = make(tmp_path / str(number), steps=1)
        mimicry.attach(trainer, plugins=manager(recorder=Recorder(weight)))
        torch.manual_seed(3)
        trainer.train()
        trained.append(torch.cat([p.detach().flatten() for p in trainer.netD.parameters()]))
    torch.testing.assert_close(trained[0], trained[1])  # its own loss, and ours put together
    assert not torch.equal(trained[0], trained[2])


@pytest.mark.parametrize("name", ["sngan", "ssgan"])
def test_dia_trains_the_paper_s_networks(tmp_path, name):
    trainer = make(tmp_path, name, steps=10)
    options = {"dia": {"record_every": 2, "phase1": 0.6}}
    session = mimicry.attach(trainer, "dia", options, groups=np.arange(N) % 2)
    trainer.train()
    assert set(session.run.additions) == {"dia.auxiliary", "dia.auxiliary_optimizer"}
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 10
    assert sum(g["share_drawn"] for g in result["groups"].values()) == pytest.approx(1)
    assert (tmp_path / "report.html").exists()
    corrected = session.sample(6, "plain")
    assert corrected.shape == (6, 3, 32, 32)


def test_goes_on_from_a_checkpoint(tmp_path):
    """In phase 2, with the auxiliary discriminator and the same weights."""
    options = {"dia": {"record_every": 2, "phase1": 0.6}}

    def run(folder, steps, seed):
        trainer = make(folder, steps=steps)
        # The same length for the schedule: mimicry compares num_steps with what it has noted.
        session = mimicry.attach(trainer, "dia", options, total_steps=10)
        torch.manual_seed(seed)
        trainer.train()
        return trainer, session

    run(tmp_path / "part", 7, 0)
    saved = read_file(
        tmp_path / "part" / "checkpoints" / "plugins" / "plugins_7_steps.safetensors", ""
    )
    (tmp_path / "part" / "params.json").unlink()
    _, session = run(tmp_path / "part", 10, 1)
    assert session.run.first_step == 7
    assert session.run.step == 10
    assert session.run.position == 10 * BATCH
    weights = session.run.sampler.probabilities_at(7 * BATCH)
    assert weights is not None
    assert saved["plugins"]["dia"]["phase"] == 2
    np.testing.assert_allclose(weights, saved["plugins"]["dia"]["probabilities"].numpy())


def test_without_its_state_a_checkpoint_is_refused(tmp_path):
    trainer = make(tmp_path, steps=1)
    mimicry.attach(trainer, plugins=manager(recorder=Recorder()))
    trainer.train()
    for path in (tmp_path / "checkpoints" / "plugins").iterdir():
        path.unlink()
    again = make(tmp_path, steps=1)
    mimicry.attach(again, plugins=manager(recorder=Recorder()))
    with pytest.raises(UserError, match=r"plugins_1_steps\.safetensors is missing"):
        again.train()


def test_a_damaged_state_and_one_of_an_earlier_version_are_refused(tmp_path):
    trainer = make(tmp_path, steps=1)
    mimicry.attach(trainer, plugins=manager(recorder=Recorder()))
    trainer.train()
    (path,) = (tmp_path / "checkpoints" / "plugins").iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for says in (f"state {path} is damaged: it ", r"_steps\.pth is of an earlier version"):
        again = make(tmp_path, steps=1)
        mimicry.attach(again, plugins=manager(recorder=Recorder()))
        with pytest.raises(UserError, match=f"{says}.*train into another log_dir"):
            again.train()
        if path.exists():
            path.rename(path.with_suffix(".pth"))


def test_a_changed_seam_is_refused_and_nothing_is_patched(tmp_path):
    trainer = make(tmp_path)
    trainer.netG.generate_images = lambda count: None
    before = {name: dict(vars(getattr(trainer, name))) for name in ("netD", "netG", "scheduler")}
    loader = trainer.dataloader
    with pytest.raises(UserError, match=r"seam netG.generate_images: it takes no num_images"):
        mimicry.attach(trainer, "dia")
    assert trainer.dataloader is loader
    assert {name: vars(getattr(trainer, name)) for name in before} == before
