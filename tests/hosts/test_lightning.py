"""Lightning's own GAN example with plugins, where lightning is installed."""

from __future__ import annotations

import copy
import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processes import in_processes
from small_runs import manager
from torch.nn.functional import binary_cross_entropy
from torch.utils.data import TensorDataset

from diagan_plugin.hosts import lightning as adapter
from diagan_plugin.hosts.kit.networks import SigmoidInputs
from gan_registry import hookimpl
from gan_registry.errors import UserError
from gan_registry.samplers.uniform import UniformSampler

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
installed = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="lightning is not installed"
)
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu",
}  # fmt: skip
N, BATCH = 20, 4


def example():
    """The module of the example file."""
    spec = importlib.util.spec_from_file_location("lightning_gan", EXAMPLES / "lightning_gan.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digits() -> TensorDataset:
    x = torch.rand(N, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return TensorDataset(x, torch.arange(N))


class Recorder:
    def __init__(self, weights: torch.Tensor | None = None) -> None:
        self.fired: list[str] = []
        self.indices: list[list[int]] = []
        self.weights = weights
        self.before = None
        self.batches: list = []

    @hookimpl
    def gan_train_start(self, run):
        self.fired.append("start")

    @hookimpl
    def gan_real_logits(self, run, real, logits):
        self.fired.append("real")
        self.indices.append(real.indices.tolist())
        network = run.discriminator.network
        self.before = copy.deepcopy(network)
        with torch.no_grad():  # without the sigmoid at the end
            torch.testing.assert_close(logits, network[:-1](real.x).flatten())
        assert torch.equal(real.y, real.indices)

    @hookimpl
    def gan_discriminator_weights(self, run, real, fake):
        return None if self.weights is None else (self.weights, self.weights.flip(0))

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
        self.fired.append("end")
        run.log({"recorder/step": run.step})

    @hookimpl
    def gan_train_end(self, run):
        self.fired.append("train_end")


def train(callback, module=None, ckpt_path=None, **trainer):
    import lightning

    module = module or example().GAN(latent_dim=3, width=8)
    data = adapter.IndexedDataModule(digits(), batch_size=BATCH)
    fitted = lightning.Trainer(callbacks=[callback], **{**QUIET, **trainer})
    fitted.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return module, fitted


@installed
def test_each_hook_is_fired_at_its_place():
    recorder = Recorder()
    callback = adapter.DiaCallback(plugins=manager(recorder=recorder))
    train(callback, max_epochs=2)
    step = ["generator", "real", "updated", "end"]
    assert recorder.fired == ["start", *step * 10, "train_end"]
    stream = UniformSampler(N).draw(0, 2 * N).reshape(-1, BATCH)
    assert recorder.indices == stream.tolist()
    assert callback.session.run.total_steps == callback.session.run.step == 10
    (batch,) = recorder.batches
    assert batch.fake.z.shape == (BATCH, 3)
    assert batch.fake.x.shape == (BATCH, 64)


@installed
def test_weights_act_as_in_the_loss_and_the_module_is_left_as_it_was():
    """One step equals one of a loss that was weighted by hand."""
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5])
    recorder = Recorder(weights)
    module, _ = train(adapter.DiaCallback(plugins=manager(recorder=recorder)), max_steps=2)
    (batch,) = recorder.batches
    by_hand = recorder.before
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def mean(out, target, weight):
        target = torch.full_like(out, target)
        return binary_cross_entropy(out, target, weight=weight[:, None])

    loss = mean(by_hand(batch.real.x), 1.0, weights) + mean(
        by_hand(batch.fake.x), 0.0, weights.flip(0)
    )
    (loss / 2).backward()
    optimizer.step()
    for ours, own in zip(by_hand.parameters(), module.discriminator.parameters(), strict=True):
        torch.testing.assert_close(ours, own)
    for network in (module.generator, module.discriminator):
        assert not network._forward_hooks
        assert not network._forward_pre_hooks


@installed
def test_the_example_runs(tmp_path):
    module = example()
    callback = module.main(1, str(tmp_path), **QUIET)
    run = callback.session.run
    assert run.step == 28
    assert "dia.auxiliary" in run.additions
    assert (tmp_path / "report.html").exists()
    assert callback.session.sample(5).shape == (5, 64)


@installed
def test_goes_on_from_lightning_s_checkpoint(tmp_path):
    options = {"dia": {"record_every": 2, "phase1": 0.4}}

    def callback():
        return adapter.DiaCallback("dia", options, total_steps=20)

    first = callback()
    _, trainer = train(first, max_epochs=3)
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    saved = first.session.state()
    second = callback()
    train(second, max_epochs=4, ckpt_path=tmp_path / "part.ckpt")
    run = second.session.run
    assert (run.first_step, run.step) == (15, 20)
    assert run.position == 20 * BATCH
    np.testing.assert_array_equal(
        run.sampler.probabilities_at(16 * BATCH),
        first.session.run.sampler.probabilities_at(16 * BATCH),
    )
    # What the auxiliary discriminator had learnt is where it went on from.
    own = run.additions["dia.auxiliary_optimizer"].state_dict()["state"][0]["step"]
    before = saved["additions"]["dia.auxiliary_optimizer"]["state"][0]["step"]
    assert own - before == 5


def _in_two(rank: int, folder: Path) -> dict:
    from lightning.fabric.plugins.environments import TorchElasticEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    from diagan_plugin.dia.plugin import DiaPlugin

    recorder = Recorder()
    plugins = manager(recorder=recorder, dia=DiaPlugin())
    torch.manual_seed(rank)
    callback = adapter.DiaCallback(
        "dia", {"dia": {"record_every": 2, "phase1": 0.5}}, plugins=plugins
    )
    strategy = DDPStrategy(
        find_unused_parameters=True, process_group_backend="gloo",
        cluster_environment=TorchElasticEnvironment(),
    )  # fmt: skip
    train(callback, max_epochs=4, strategy=strategy, devices=2)
    run = callback.session.run
    auxiliary = run.additions["dia.auxiliary"].parameters()
    return {
        "indices": torch.tensor(recorder.indices),
        "drawn": torch.from_numpy(run.sampler.draw(0, run.position)),
        "auxiliary": torch.cat([p.detach().flatten() for p in auxiliary]),
        "steps": run.step,
    }


@installed
def test_two_processes_share_one_draw_and_lightning_shards_nothing(tmp_path):
    one, two = in_processes(_in_two, tmp_path)
    assert one["steps"] == 2 * 4  # 20 // (2 × 4) steps in each of 4 epochs
    together = torch.stack([one["indices"], two["indices"]], 2).flatten()
    assert torch.equal(together, one["drawn"])  # in both phases
    assert torch.equal(one["drawn"], two["drawn"])
    assert torch.equal(one["auxiliary"], two["auxiliary"])


@installed
class TestRefuses:
    def test_a_plugin_that_adds_to_the_loss(self):
        callback = adapter.DiaCallback(options={"mode_seeking": {"weight": 1.0}})
        with pytest.raises(UserError, match=r"'mode_seeking' needs gan_generator_penalty.*itself"):
            train(callback, max_epochs=1)

    def test_a_network_of_another_name(self):
        with pytest.raises(UserError, match="has no network 'critic'"):
            train(adapter.DiaCallback(discriminator="critic"), max_epochs=1)

    def test_a_step_that_it_cannot_follow(self):
        module = example().GAN(3, 8)
        module.training_step = lambda batch: None
        with pytest.raises(UserError, match="has not called its discriminator on the batch"):
            train(adapter.DiaCallback(plugins=manager(recorder=Recorder())), module, max_epochs=1)

    def test_automatic_optimisation(self):
        module = example().GAN(3, 8)
        module.automatic_optimization = True
        with pytest.raises(UserError, match="manual optimisation"):
            adapter.DiaCallback().on_fit_start(
                SimpleNamespace(datamodule=adapter.IndexedDataModule(digits(), 4)), module
            )

    def test_data_that_it_does_not_draw(self):
        with pytest.raises(UserError, match="IndexedDataModule"):
            adapter.DiaCallback().on_fit_start(SimpleNamespace(datamodule=None), None)

    def test_a_shuffle_of_its_own(self):
        with pytest.raises(TypeError, match="shuffle"):
            adapter.IndexedDataModule(digits(), 4, shuffle=True)

    def test_a_changed_seam(self, monkeypatch):
        import lightning.pytorch as pl

        class Callback:
            def on_fit_start(self, trainer):
                pass

        monkeypatch.setattr(pl, "Callback", Callback)
        with pytest.raises(UserError, match=r"seam Callback.on_fit_start: it takes no pl_module"):
            adapter.find_lightning()


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_a_malicious_release_is_refused_before_it_is_imported(monkeypatch, version):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # an import would fail otherwise
    with pytest.raises(UserError, match=f"lightning {version} was a malicious release"):
        adapter.find_lightning()


def test_without_lightning_the_extra_is_named(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(UserError, match=r"diagan-plugin\[lightning\]"):
        adapter.find_lightning()


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_what_enters_a_sigmoid_is_found_also_where_it_saturates(shape):
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Sigmoid())
    torch.nn.init.constant_(network[0].weight, 1000.0)
    with SigmoidInputs(network) as before:
        output = network(torch.tensor([[1.0], [-1.0]])).view(shape)
    assert output.flatten().tolist() == [1.0, 0.0]
    assert before(output).flatten().tolist() == [1000.0, -1000.0]
    plain = torch.nn.Linear(1, 1)
    with SigmoidInputs(plain) as before:
        output = plain(torch.ones(2, 1))
    assert before(output) is output
