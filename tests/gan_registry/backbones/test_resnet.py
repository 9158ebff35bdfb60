"""`resnet`, `deep_conv`, `sngan` and the parts that they are made of."""

from __future__ import annotations

import math

import pytest
import torch
from small_backbones import CLASSES, backbone, batch, counts, rng
from torch import nn
from torch.nn import functional as F

from gan_registry.backbones.attention import SelfAttention, attention_places
from gan_registry.backbones.base import finish
from gan_registry.backbones.conditioning import ConditionalBatchNorm2d, ConditionalHead, one_hot
from gan_registry.backbones.init import WEIGHTED, initialise
from gan_registry.backbones.residual import (
    ACTIVATIONS,
    DiscriminatorBlock,
    FirstBlock,
    GeneratorBlock,
    activation,
)
from gan_registry.errors import UserError
from gan_registry.records import Fake

PD = {"g_cond_mtd": "cBN", "d_cond_mtd": "PD"}
SAGAN = {"apply_g_sn": True, "apply_attn": True, "attn_g_loc": [2], "attn_d_loc": [1]}
PUBLISHED = {"z_dim": 128, "g_conv_dim": 64, "d_conv_dim": 64}

# --- the published networks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "classes", "keys", "expected"),
    [
        # PyTorch-StudioGAN, commit 947b35e: its networks built from the file named, counted by
        # sum(p.numel() for p in network.parameters()).
        ("resnet", 32, 10, {}, (4_276_739, 1_055_879)),  # CIFAR10/WGAN-GP.yaml
        ("resnet", 32, 10, {**PD, "apply_d_sn": True}, (4_304_387, 1_055_105)),  # CIFAR10/SNGAN
        # CIFAR10/ACGAN-Mod.yaml
        ("resnet", 32, 10, {**PD, "d_cond_mtd": "AC"}, (4_304_387, 1_057_159)),
        # CIFAR10/SAGAN.yaml
        ("resnet", 32, 10, {**PD, **SAGAN, "apply_d_sn": True}, (4_386_308, 1_075_586)),
        # CIFAR10/SNGAN.yaml with 64 px and 200 classes; ImageNet/SNGAN-256.yaml (128 px)
        ("resnet", 64, 200, {**PD, "apply_d_sn": True}, (13_366_915, 19_747_521)),
        ("resnet", 128, 1000, {**PD, "apply_d_sn": True}, (41_996_931, 39_443_137)),
        ("deep_conv", 32, 10, {}, (3_812_355, 2_931_009)),  # CIFAR10/DCGAN.yaml
        ("deep_conv", 32, 10, {**PD, "apply_d_sn": True}, (3_820_419, 2_933_313)),
        # torch-mimicry 0.1.16, SNGANGenerator32 and SNGANDiscriminator32 and so on.
        ("sngan", 32, 0, {}, (4_276_739, 1_053_825)),
        ("sngan", 64, 0, {}, (12_220_675, 10_141_441)),
        ("sngan", 128, 0, {}, (32_150_787, 29_017_857)),
    ],
)
def test_parameter_counts_are_the_published_ones(name, size, classes, keys, expected):
    assert counts(name, size, classes=classes, **PUBLISHED, **keys) == expected


@pytest.mark.parametrize("name", ["resnet", "deep_conv"])
def test_d_has_either_spectral_or_batch_norm(name):
    for spectral in (False, True):
        built = backbone(name, apply_d_sn=spectral)
        norms = [m for m in built.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
        assert bool(norms) != spectral
        assert all(norm.eps == 1e-4 for norm in norms)
        keys = built.discriminator.state_dict()
        assert any("parametrizations" in key for key in keys) == spectral


def test_smaller_maps_and_image_channels():
    built = backbone("resnet", 64, channels=1)
    shapes = []
    for block in built.discriminator.body:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    built.discriminator(torch.zeros(2, 1, 64, 64))
    # Widths 1, 2, 4, 8, 16 × 4; the last block keeps the size, unlike mimicry's.
    assert shapes[:5] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 4, 4)]
    shapes.clear()
    built = backbone("sngan", 64, channels=1)
    for block in built.discriminator.body:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    built.discriminator(torch.zeros(2, 1, 64, 64))
    assert shapes[4] == (64, 2, 2)


# --- residual blocks -----------------------------------------------------------------------------


def randomise(module: nn.Module, seed: int = 0) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng(seed)))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_generator_block_is_the_papers(mode):
    block = GeneratorBlock(3, 5, mode=mode, eps=1e-4)
    randomise(block)
    x = torch.randn(4, 3, 6, 6, generator=rng())

    def up(h):
        return nn.Upsample(scale_factor=2, mode=mode)(h)

    def norm(h, n):
        return F.batch_norm(h, None, None, n.weight, n.bias, training=True, eps=1e-4)

    h = block.conv1(up(torch.relu(norm(x, block.norm1))))
    expected = block.conv2(torch.relu(norm(h, block.norm2))) + block.shortcut(up(x))
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("widths", [(3, 3), (3, 5)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_discriminator_block_is_the_papers(downsample, widths, batch_norm):
    block = DiscriminatorBlock(*widths, downsample, batch_norm)
    randomise(block)
    x = torch.randn(4, 3, 6, 6, generator=rng())
    given = x.clone()

    def norm(h, n):
        if not batch_norm:
            return h
        return F.batch_norm(h, None, None, n.weight, n.bias, training=True, eps=1e-4)

    def down(h):
        return F.avg_pool2d(h, 2) if downsample else h

    h = block.conv1(torch.relu(norm(x, block.norm1)))
    h = down(block.conv2(torch.relu(norm(h, block.norm2))))
    skipped = x
    if downsample or widths[0] != widths[1]:
        skipped = down(block.shortcut(norm(x, block.shortcut_norm)))
    torch.testing.assert_close(block(x), h + skipped, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, given)  # the shortcut saw the block's input, not its activation


def test_first_block_does_not_start_with_an_activation():
    block = FirstBlock(3, 5)
    x = torch.randn(2, 3, 4, 4, generator=rng())
    h = F.avg_pool2d(block.conv2(torch.relu(block.conv1(x))), 2)
    torch.testing.assert_close(block(x), h + F.avg_pool2d(block.shortcut(x), 2))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = torch.tensor([-1.0, 0.0, 2.0])
    expected = {"ReLU": 0.0, "Leaky_ReLU": -0.1, "ELU": math.expm1(-1.0), "GELU": -0.158655}[name]
    assert activation(name)(x.clone())[0].item() == pytest.approx(expected, abs=1e-5)
    built = backbone("resnet", g_act_fn=name, d_act_fn=name)
    built.discriminator(built.generator(built.latent(2, rng()))).sum().backward()
    with pytest.raises(ValueError, match="Argument `name` must be one of"):
        activation("Auto")
    for backbone_name in ("resnet", "big_resnet", "deep_conv"):
        with pytest.raises(UserError, match=r"MODEL.d_act_fn=Auto is not supported .* use one of"):
            backbone(backbone_name, d_act_fn="Auto")


# --- attention -----------------------------------------------------------------------------------


def test_attention_agrees_with_torchs_and_starts_as_the_identity():
    layer = SelfAttention(16)
    x = torch.randn(3, 16, 6, 4, generator=rng())
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.sigma, 0.7)
    q = layer.query(x).flatten(2).mT
    k = F.max_pool2d(layer.key(x), 2).flatten(2).mT
    v = F.max_pool2d(layer.value(x), 2).flatten(2).mT
    gathered = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    expected = x + 0.7 * layer.output(gathered.mT.unflatten(2, (6, 4)))
    torch.testing.assert_close(layer(x), expected)
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(last), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_survives_large_scores_in_half_precision(dtype):
    layer = SelfAttention(16).to(dtype)
    nn.init.constant_(layer.sigma, 1.0)
    x = 30 * torch.randn(2, 16, 4, 4, generator=rng(), dtype=torch.float32).to(dtype)
    out = layer(x)
    assert out.dtype == dtype
    assert torch.isfinite(out).all()


def test_attention_places():
    assert attention_places(True, [4, 2, 9], 5) == (2, 4)
    assert attention_places(False, [2], 5) == ()
    assert attention_places(True, None, 5) == ()
    built = backbone("resnet", apply_attn=True, attn_g_loc=[2], attn_d_loc=[1])
    kinds = [isinstance(block, SelfAttention) for block in built.generator.blocks]
    assert kinds == [False, False, True, False]
    kinds = [isinstance(block, SelfAttention) for block in built.discriminator.body]
    assert kinds[:3] == [False, True, False]


# --- conditioning --------------------------------------------------------------------------------


def test_conditional_batch_norm():
    layer = ConditionalBatchNorm2d(4, 3)
    x = 5 + 2 * torch.randn(64, 3, 2, 2, generator=rng())
    y = torch.arange(64) % 4
    out = layer(x, one_hot(y, 4, x))
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    scale = 1 + layer.gain.weight.T[y][:, :, None, None]
    expected = (x - mean) / (var + 1e-4).sqrt() * scale + layer.bias.weight.T[y][:, :, None, None]
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


def test_projection_adds_the_labels_embedding():
    head = ConditionalHead(6, "PD", 4)
    h, y = torch.randn(5, 6, generator=rng()), torch.tensor([0, 3, 3, 1, 2])
    expected = h @ head.adversarial.weight[0] + head.adversarial.bias
    expected = expected + torch.einsum("bf,bf->b", h, head.embedding.weight[y])
    torch.testing.assert_close(head(h, y), expected[:, None])


@pytest.mark.parametrize("normalize", [False, True])
def test_auxiliary_classifier(normalize):
    head = ConditionalHead(6, "AC", 4, normalize)
    h = torch.randn(5, 6, generator=rng())
    out = head(h)
    read = h / h.norm(dim=1, keepdim=True) if normalize else h
    torch.testing.assert_close(out["cls_output"], read @ head.classifier.weight.T)
    torch.testing.assert_close(out["adv_output"], head.adversarial(h)[:, 0])
    assert head(h[:1])["adv_output"].shape == (1,)
    assert head(h[:0])["adv_output"].shape == (0,)


def test_the_classifiers_loss_is_on_real_samples_for_d_and_on_fakes_for_g():
    built = backbone("resnet", **{**PD, "d_cond_mtd": "AC"}, cond_lambda=0.5)
    real, z, y = batch(built, (3, 32, 32), 4)
    fake = Fake(built.generator(z, y), z, y)
    real_out = {"adv_output": torch.zeros(4), "cls_output": torch.randn(4, 5, generator=rng(1))}
    fake_out = {"adv_output": torch.zeros(4), "cls_output": torch.randn(4, 5, generator=rng(2))}
    terms = built.discriminator_terms(real, fake, real_out, fake_out)
    torch.testing.assert_close(terms, 0.5 * F.cross_entropy(real_out["cls_output"], real.y))
    terms = built.generator_terms(fake, fake_out)
    torch.testing.assert_close(terms, 0.5 * F.cross_entropy(fake_out["cls_output"], fake.y))
    half = {"cls_output": fake_out["cls_output"].half()}
    assert built.generator_terms(fake, half).dtype == torch.float32
    with pytest.raises(ValueError, match="Argument `y` must be labels"):
        built.generator_terms(Fake(fake.x, z, None), fake_out)
    for d_cond in ("W/O", "PD", "MH"):
        other = backbone("resnet", **{**PD, "d_cond_mtd": d_cond})
        assert other.discriminator_terms(real, fake, None, None) is None
        assert other.generator_terms(fake, None) is None


def test_realness_of_multi_hinge_is_the_best_class_over_fakes():
    built = backbone("resnet", **{**PD, "d_cond_mtd": "MH"}, classes=3)
    scores = torch.tensor([[1.0, 4.0, 2.0, 0.5], [-1.0, -3.0, -2.0, 0.0]])
    assert built.realness(scores).tolist() == [3.5, -1.0]
    assert built.realness(scores[:0]).shape == (0,)
    assert built.realness(torch.ones(2, 1)).tolist() == [1.0, 1.0]  # another D, e.g. a plugin's
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        built.realness(scores[:, :3])


def test_heads_take_more_outputs_where_that_means_something():
    built = backbone("resnet")
    assert built.build("discriminator", out_features=4)(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    for method in ("AC", "MH"):
        with pytest.raises(ValueError, match="`out_features` must be 1"):
            ConditionalHead(6, method, 4, out_features=2)
    with pytest.raises(ValueError, match=r"`method` must be one of .* got '2C'"):
        ConditionalHead(6, "2C", 4)


# --- initialisation ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "deep_conv"])
def test_studiogans_backbones_start_orthogonal(name):
    """Also with "default": it means a backbone's own initialisation."""
    for init in ("ortho", "default"):
        built = backbone(name, g_init=init, d_init=init, **PD)
        for network in (built.generator, built.discriminator):
            for layer in network.modules():
                if isinstance(layer, (*WEIGHTED, nn.Embedding)):
                    matrix = layer.weight.detach().flatten(1)
                    gram = (
                        matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
                    )
                    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
                if isinstance(layer, WEIGHTED) and layer.bias is not None:
                    assert not layer.bias.any()


def test_other_initialisations():
    def layers() -> nn.Module:
        return nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200), nn.Embedding(100, 300))

    net = layers()
    initialise(net, "N02")
    for index in (0, 2):
        assert float(net[index].weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert (net[1].weight == 1).all()  # StudioGAN leaves batch norm alone
    for init in ("glorot", "xavier"):
        net = layers()
        initialise(net, init)
        assert float(net[0].weight.detach().abs().max()) == pytest.approx(
            math.sqrt(6 / 500), rel=0.01
        )
        assert not net[0].bias.any()
    net = layers()
    initialise(net, lambda network: nn.init.constant_(network[0].weight, 3.0))
    assert (net[0].weight == 3).all()
    before = net[2].weight.clone()
    initialise(net, "default")
    assert torch.equal(net[2].weight, before)


def test_mimicrys_initialisation():
    d = backbone("sngan", d_conv_dim=32, d_init="default", g_init="default").discriminator
    block = d.body[1]

    def bound(conv: nn.Conv2d, gain: float) -> float:
        fan = (conv.in_channels + conv.out_channels) * conv.kernel_size[0] ** 2
        return gain * math.sqrt(6 / fan)

    for conv, gain in ((block.conv1, 2**0.5), (block.conv2, 2**0.5), (block.shortcut, 1.0)):
        original = conv.parametrizations.weight.original
        assert float(original.detach().abs().max()) == pytest.approx(bound(conv, gain), rel=0.01)


def test_spectral_norm_covers_embeddings_unless_excluded():
    net = nn.ModuleList([nn.Embedding(4, 3), nn.Linear(3, 2), nn.Linear(3, 2)])
    finish(net, "default", True, 1e-6, exclude=(net[2],))
    assert [hasattr(layer, "parametrizations") for layer in net] == [True, True, False]
    assert net[0].parametrizations.weight[0].eps == 1e-6
    for _ in range(50):
        net[0](torch.tensor([1]))
    assert float(torch.linalg.matrix_norm(net[0].weight.detach(), 2)) == pytest.approx(
        1.0, abs=1e-3
    )


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "big_resnet", "deep_conv", "sngan", "ssgan"])
def test_unsupported_samples(name):
    with pytest.raises(UserError, match=rf"{name} supports square images of 32.*but got 48×48"):
        backbone(name, 48)
    with pytest.raises(UserError, match=rf"{name} supports .*but got 32×64"):
        backbone(name, shape=(3, 32, 64))
    with pytest.raises(UserError, match=rf"{name} takes images .* shape \(2,\); use .*=mlp"):
        backbone(name, shape=(2,))


@pytest.mark.parametrize("name", ["resnet", "big_resnet", "deep_conv"])
def test_conditioning_that_can_not_be_built(name):
    for keys, message in (
        ({"d_cond_mtd": "PD"}, r"d_cond_mtd=PD needs a generator that takes labels: set MODEL.g_c"),
        ({"d_cond_mtd": "SPD", "g_cond_mtd": "cBN"}, r"d_cond_mtd=SPD is not supported .*one of W"),
        ({"g_cond_mtd": "cAdaIN"}, r"g_cond_mtd=cAdaIN is not supported .*; use one of W/O, cBN"),
    ):
        with pytest.raises(UserError, match=message):
            backbone(name, **keys)
    with pytest.raises(UserError, match=r"g_cond_mtd=cBN needs labelled data"):
        backbone(name, classes=0, g_cond_mtd="cBN")
    assert backbone(name, classes=0).conditional is False
    assert backbone(name, **PD).num_classes == CLASSES


@pytest.mark.parametrize("name", ["sngan", "ssgan", "cnn_gan", "mnist_dcgan"])
def test_unconditional_backbones_say_so(name):
    with pytest.raises(UserError, match=rf"{name} is unconditional, but MODEL.g_cond_mtd=cBN"):
        backbone(name, g_cond_mtd="cBN")
