"""stylegan2-pytorch's own Trainer, where it is installed; on a CPU, which it refuses."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import manager
from torch.nn.functional import relu

from diagan_plugin.hosts import lucidrains
from diagan_plugin.hosts.kit.stand_ins import standing_in
from gan_registry import hookimpl
from gan_registry.errors import UserError

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("stylegan2_pytorch", "kornia")),
    reason="stylegan2-pytorch is not installed",
)
N, BATCH, SIZE = 12, 4, 8


@pytest.fixture
def module(monkeypatch):
    """The package's module, as on a machine with a GPU; `cuda()` leaves tensors where they are."""
    before = set(sys.modules)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = ("fire", "vector_quantize_pytorch.VectorQuantize", "einops.rearrange", "einops.repeat")
    with standing_in(*names):
        lucidrains.import_trainer()
    monkeypatch.undo()
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *_, **__: self)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self, *_, **__: self)
    yield importlib.import_module("stylegan2_pytorch.stylegan2_pytorch")
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "stylegan2_pytorch":
            del sys.modules[name]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(N):
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def make(module, images, tmp_path, **options):
    trainer = module.Trainer(
        name="test", base_dir=tmp_path, image_size=SIZE, batch_size=BATCH, num_workers=0,
        latent_dim=8, network_capacity=1, style_depth=1, save_every=4,
        evaluate_every=1000, **options,
    )  # fmt: skip
    trainer.set_data_src(images)
    trainer.evaluate = lambda *_: None
    return trainer


class Recorder:
    def __init__(self, weight: float | None = None) -> None:
        self.fired: list[str] = []
        self.weight = weight
        self.logits: list[torch.Tensor] = []
        self.micro_batches = 1

    @hookimpl
    def gan_real_logits(self, run, real, logits):
        self.fired.append("real")
        self.logits.append(logits)
        assert real.x.shape == (BATCH, 3, SIZE, SIZE)
        own, _ = run.dataset.__getitems__(real.indices)
        assert torch.equal(own, real.x)

    @hookimpl
    def gan_discriminator_weights(self, real_logits, fake_logits):
        self.fake_logits = fake_logits
        return None if self.weight is None else (torch.full_like(real_logits, self.weight), None)

    @hookimpl
    def gan_discriminator_updated(self, run, batches):
        self.fired.append("updated")
        assert len(batches) == self.micro_batches
        assert all(batch.fake.x.shape == batch.real.x.shape for batch in batches)
        assert not any(batch.fake.x.requires_grad for batch in batches)

    @hookimpl
    def gan_generator_weights(self, run, fake, logits):
        self.fired.append("generator")
        assert fake.x.requires_grad
        assert len(logits) == BATCH

    @hookimpl
    def gan_step_end(self, run):
        self.fired.append("step_end")


@installed
def test_each_hook_is_fired_at_its_place(module, images, tmp_path):
    recorder = Recorder()
    recorder.micro_batches = 2
    trainer = make(module, images, tmp_path, gradient_accumulate_every=2)
    own = module.hinge_loss
    session = lucidrains.attach(
        trainer, total_steps=2, plugins=manager(recorder=recorder), folder=None
    )
    trainer.train()
    trainer.train()
    assert recorder.fired == ["real", "real", "updated", "generator", "generator", "step_end"] * 2
    assert session.run.step == trainer.steps == 2
    assert session.run.position == 2 * 2 * BATCH
    assert module.hinge_loss is own


@installed
def test_the_logits_are_those_that_its_loss_is_made_of(module, images, tmp_path, monkeypatch):
    """Its hinge loss, relu(1 + real) + relu(1 - fake), in our terms: D's output is low for real."""
    recorder, seen = Recorder(), {}

    def noted(fake, real):
        seen["loss"] = (relu(1 + real) + relu(1 - fake)).mean()
        seen["real"] = real.detach()
        return seen["loss"]

    monkeypatch.setattr(module, "hinge_loss", noted)
    trainer = make(module, images, tmp_path)
    session = lucidrains.attach(
        trainer, total_steps=1, plugins=manager(recorder=recorder), folder=None
    )
    trainer.train()
    torch.testing.assert_close(recorder.logits[0], -seen["real"])
    loss = session.run.loss
    out = torch.tensor([-2.0, 0.5, 3.0])
    torch.testing.assert_close(loss.real_terms(out), relu(1 + out))
    torch.testing.assert_close(loss.fake_terms(out), relu(1 - out))
    torch.testing.assert_close(loss.generator_terms(out), out)


@installed
def test_weights_of_the_real_terms_are_taken_at_their_word(module, images, tmp_path):
    recorder = Recorder(0.25)
    trainer = make(module, images, tmp_path)
    lucidrains.attach(trainer, total_steps=1, plugins=manager(recorder=recorder), folder=None)
    trainer.train()
    real, fake = relu(1 - recorder.logits[0]), relu(1 + recorder.fake_logits)
    assert trainer.d_loss == pytest.approx(float(0.25 * real.mean() + fake.mean()))


@installed
def test_dia_trains_saves_and_goes_on(module, images, tmp_path):
    options = {"dia": {"record_every": 1, "phase1": 0.5}}
    trainer = make(module, images, tmp_path)
    session = lucidrains.attach(trainer, "dia", options, total_steps=6)
    for _ in range(5):
        trainer.train()
    assert "dia.auxiliary" in session.run.additions
    auxiliary = session.run.additions["dia.auxiliary"].state_dict()
    assert session.sample(3).shape == (3, 3, SIZE, SIZE)

    again = make(module, images, tmp_path)
    other = lucidrains.attach(again, "dia", options, total_steps=6)
    again.load(1)  # saved at the end of the step that began at 4
    assert other.run.step == 5
    assert other.run.position == 5 * BATCH
    restored = other.run.additions["dia.auxiliary"].state_dict()
    assert all(torch.equal(restored[name], auxiliary[name]) for name in auxiliary)
    assert other.run.discriminator.network is again.GAN.D  # which `load` has built anew
    again.train()
    other.end()
    assert (tmp_path / "results" / "test" / "report.html").exists()


@installed
@pytest.mark.parametrize("option", ["rel_disc_loss", "dual_contrast_loss", "top_k_training"])
def test_losses_that_compare_samples_are_refused(module, images, tmp_path, option):
    trainer = make(module, images, tmp_path, **{option: True})
    with pytest.raises(UserError, match=option):
        lucidrains.attach(trainer, "dia", total_steps=1)


@installed
def test_a_changed_seam_is_refused_and_nothing_is_patched(module, images, tmp_path, monkeypatch):
    trainer = make(module, images, tmp_path)
    before, loader = set(vars(trainer)), trainer.loader
    monkeypatch.setattr(module, "hinge_loss", lambda generated, data: None)
    with pytest.raises(UserError, match="seam hinge_loss: it takes no fake, real"):
        lucidrains.attach(trainer, "dia", total_steps=1)
    assert set(vars(trainer)) == before
    assert trainer.loader is loader


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"diagan-plugin\[stylegan2\]"):
        lucidrains.import_trainer()


def test_logits_are_read_from_a_pair_squeezed_or_not():
    assert lucidrains.read_logits((torch.tensor(2.0), torch.zeros(1))).tolist() == [-2.0]
    assert lucidrains.read_logits(torch.tensor([[1.0], [-3.0]])).tolist() == [-1.0, 3.0]
