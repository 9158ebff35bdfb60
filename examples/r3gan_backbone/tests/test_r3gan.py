"""The package by itself: `pip install '.[test]' && pytest` in its folder."""

import json
from pathlib import Path

import pytest
import torch
from r3gan_backbone.networks import Block, Discriminator, Generator, widths
from torch import nn

from gan_registry import PluginManager, UserError, load_config, train

CONFIG = str(Path(__file__).parent.parent / "digits16.yaml")
SMALL = [
    "MODEL.g_conv_dim=8", "MODEL.d_conv_dim=8", "OPTIMIZATION.batch_size=16",
    "DATA.options={ratio: 0.95, digits: [0, 1]}",
]  # fmt: skip
NETWORKS = {"size": 16, "blocks": 2, "group_size": 8}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def config_of(*changes, steps=3):
    changes = (*SMALL, "RUN.num_eval=50", f"OPTIMIZATION.total_steps={steps}", *changes)
    return load_config(CONFIG, changes)


def test_a_block_starts_as_the_identity_and_every_layer_learns():
    block = Block(16, 8, blocks_in_all=4)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)
    assert block.mix.groups == 4
    block.project.weight.data.normal_()
    block(x).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


@pytest.mark.parametrize("size", [8, 16, 32])
def test_networks_have_no_normalisation_and_keep_the_scale_at_any_depth(size):
    for blocks in (1, 6):
        shape = {"size": size, "blocks": blocks, "group_size": 8, "width": 8}
        generator = Generator(z_dim=16, out_channels=3, **shape)
        discriminator = Discriminator(in_channels=3, **shape)
        images = generator(torch.randn(64, 16))
        assert images.shape == (64, 3, size, size)
        assert 0.1 < images.std() < 3
        assert discriminator(torch.randn(64, 3, size, size)).shape == (64, 1)
        for network in (generator, discriminator):
            assert sum(isinstance(m, Block) for m in network.modules()) == blocks * len(
                widths(size, 8)
            )
            assert not any("Norm" in type(m).__name__ for m in network.modules())


def test_samples_do_not_depend_on_those_beside_them():
    network = Discriminator(width=8, in_channels=3, **NETWORKS).double()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(std=0.1)
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_it_trains_on_digits_and_dia_diagnoses_and_weights(tmp_path):
    options = {"dia": {"record_every": 4, "phase1": 0.5}}
    config = config_of("RUN.sampler=dia", steps=16)
    plugins = PluginManager()
    resolved = plugins.options.resolve({**config.PLUGINS, **options})
    run = train(config, tmp_path / "run", plugins, resolved, quiet=True)
    assert run.generate(4).x.shape == (4, 3, 16, 16)
    assert (tmp_path / "run" / "diagnosis.safetensors").is_file()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert any("loss/auxiliary discriminator" in line for line in lines)  # phase 2 came


def test_it_learns():
    """Within a few steps the mean image is that of the data by and large, from 1 to about 0.24."""
    faster = ["OPTIMIZATION.g_lr=0.002", "OPTIMIZATION.d_lr=0.002"]
    config = config_of("OPTIMIZATION.batch_size=32", *faster, steps=40)
    run = train(config, plugins=PluginManager(), quiet=True)
    data = torch.stack([torch.as_tensor(run.dataset[i][0]) for i in range(200)]).float()
    untrained = run.backbone.build("generator")
    z = run.latents(200, "test")
    with torch.no_grad():
        before, after = (g(z).mean(0) - data.mean(0) for g in (untrained, run.generator))
    assert after.norm() < 0.5 * before.norm()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["MODEL.options.block=2"], "blocks, group_size"),
        (["MODEL.options.blocks=0"], "whole number from 1"),
        (["MODEL.d_conv_dim=12"], "must be a multiple"),
        (["DATA.name=gmm25", "DATA.options={}"], "square images"),
    ],
)
def test_mistakes_are_told_in_a_line(changes, told):
    with pytest.raises(UserError, match=told):
        train(config_of(*changes), plugins=PluginManager(), quiet=True)


def test_gold_is_refused_as_the_ratio_is_known_up_to_a_constant():
    config, plugins = config_of(), PluginManager()
    options = plugins.options.resolve({"gold": {"enabled": True}})
    with pytest.raises(UserError, match=r"--gold .* 'relativistic' leaves open up to a constant"):
        train(config, plugins=plugins, options=options, quiet=True)
