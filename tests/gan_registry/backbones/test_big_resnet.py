from __future__ import annotations

import pytest
import torch
from small_backbones import backbone, counts, open_attention, rng
from torch import nn

from gan_registry.backbones.big_resnet import BigResNetGenerator
from gan_registry.errors import UserError

BIGGAN = {
    "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_g_sn": True, "apply_d_sn": True,
    "apply_attn": True, "attn_g_loc": [2], "attn_d_loc": [1], "g_shared_dim": 128,
}  # fmt: skip
CIFAR10 = {**BIGGAN, "z_dim": 80, "g_conv_dim": 96, "d_conv_dim": 96}


@pytest.mark.parametrize(
    ("size", "classes", "keys", "expected"),
    [
        # PyTorch-StudioGAN, commit 947b35e: its networks built from the file named, counted by
        # sum(p.numel() for p in network.parameters()).
        (32, 10, CIFAR10, (9_416_196, 2_415_170)),  # CIFAR10/BigGAN.yaml
        (32, 10, {**CIFAR10, "d_cond_mtd": "MH"}, (9_416_196, 2_415_180)),  # CIFAR10/MHGAN.yaml
        # CIFAR10/BigGAN-Uncond.yaml
        (32, 10, {**CIFAR10, "g_cond_mtd": "W/O", "d_cond_mtd": "W/O"}, (8_825_092, 2_413_250)),
        # CIFAR10/BigGAN.yaml with 64 px, 200 classes, width 80, z_dim 100
        (
            64, 200,
            {**BIGGAN, "attn_g_loc": [3], "z_dim": 100, "g_conv_dim": 80, "d_conv_dim": 80},
            (17_335_204, 30_796_722),
        ),
        # ImageNet/BigGAN-256.yaml (the 256 is its batch size)
        (128, 1000, {**CIFAR10, "attn_g_loc": [4], "z_dim": 120}, (70_433_988, 87_982_370)),
        # the same with 256 px and z_dim 140
        (256, 1000, {**CIFAR10, "attn_g_loc": [4], "z_dim": 140}, (82_235_844, 99_191_330)),
    ],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(size, classes, keys, expected):
    assert counts("big_resnet", size, classes=classes, **keys) == expected


def test_each_chunk_of_the_latent_has_its_own_place():
    """The first makes the first map; the i-th block sees the (i + 1)-th and nothing else."""
    generator = backbone("big_resnet", **{**BIGGAN, "apply_g_sn": False}).generator.eval()
    open_attention(generator)
    seen: dict[str, torch.Tensor] = {}
    generator.project.register_forward_hook(lambda _, args, __: seen.update(project=args[0]))
    for number, block in enumerate(generator.blocks):
        block.register_forward_hook(lambda _, args, __, n=number: seen.update({str(n): args[1]}))
    z, y = torch.randn(2, 20, generator=rng()), torch.tensor([1, 3])
    generator(z, y)
    shared = generator.shared(y)
    assert torch.equal(seen["project"], z[:, :5])
    for number in range(3):
        expected = torch.cat([shared, z[:, 5 * (number + 1) : 5 * (number + 2)]], 1)
        assert torch.equal(seen[str(number)], expected)


def test_every_part_of_the_latent_matters():
    generator = backbone("big_resnet").generator.eval()
    z = torch.randn(1, 20, generator=rng())
    plain = generator(z)
    for part in range(4):
        changed = z.clone()
        changed[:, 5 * part : 5 * (part + 1)] += 1.0
        assert not torch.allclose(generator(changed), plain, atol=1e-4)


def test_unconditional_networks_have_no_embedding_but_still_condition_on_the_latent():
    generator = backbone("big_resnet").generator
    assert generator.shared is None
    assert generator.blocks[0].norm1.gain.in_features == 5
    assert backbone("big_resnet", **BIGGAN).generator.blocks[0].norm1.gain.in_features == 133
    assert backbone("big_resnet", g_cond_mtd="cBN").generator.shared.embedding_dim == 128


def test_spectral_norm_is_on_every_layer_but_the_shared_embedding():
    built = backbone("big_resnet", **BIGGAN)
    for network in (built.generator, built.discriminator):
        for name, module in network.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)):
                assert hasattr(module, "parametrizations") == (name != "shared"), name
                if name != "shared":
                    assert module.parametrizations.weight[0].eps == 1e-6


def test_latents_that_can_not_be_cut_evenly():
    for size, parts in ((32, 4), (64, 5), (128, 6), (256, 7)):
        with pytest.raises(UserError, match=rf"at {size} px cuts the latent into {parts} parts"):
            backbone("big_resnet", size, z_dim=30 * parts + 1)
    with pytest.raises(ValueError, match="Argument `z_dim` must be a multiple of 4 at 32 px"):
        BigResNetGenerator(30, 32)
