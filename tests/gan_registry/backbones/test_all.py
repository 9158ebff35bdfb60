"""What holds for every image backbone, at each size and with each conditioning."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_backbones import (
    backbone,
    batch,
    discriminator_loss,
    generator_loss,
    losses,
    open_attention,
    rng,
)
from torch import Tensor, nn

from gan_registry.backbones.base import Backbone
from gan_registry.records import Fake

ATTENTION = {"apply_attn": True, "attn_g_loc": [2], "attn_d_loc": [1]}
SPECTRAL = {"apply_g_sn": True, "apply_d_sn": True}
CONDITIONS: dict[str, dict[str, Any]] = {
    "W/O": {},
    "cBN": {"g_cond_mtd": "cBN"},
    "PD": {"g_cond_mtd": "cBN", "d_cond_mtd": "PD", **SPECTRAL},
    "AC": {"g_cond_mtd": "cBN", "d_cond_mtd": "AC"},
    "MH": {"g_cond_mtd": "cBN", "d_cond_mtd": "MH", **SPECTRAL, **ATTENTION},
}
LABELLED = ("resnet", "big_resnet", "deep_conv")
# (backbone, image size, channels, keys of MODEL)
CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    *((name, 32, 3, keys) for name in LABELLED for keys in CONDITIONS.values()),
    ("resnet", 64, 3, CONDITIONS["PD"]),
    ("resnet", 128, 1, {"apply_d_sn": True}),
    ("resnet", 256, 3, {"apply_d_sn": True, "g_conv_dim": 1, "d_conv_dim": 2}),
    ("big_resnet", 64, 3, {**CONDITIONS["PD"], **ATTENTION}),
    ("big_resnet", 128, 1, {**SPECTRAL, "z_dim": 12, "g_conv_dim": 2, "d_conv_dim": 2}),
    (
        "big_resnet", 256, 3,
        {**CONDITIONS["PD"], "z_dim": 14, "g_conv_dim": 1, "d_conv_dim": 2},
    ),
    *(("sngan", size, 3, {"g_init": "default", "d_init": "default"}) for size in (32, 64, 128)),
    *(("ssgan", size, 3, {"g_init": "default", "d_init": "default"}) for size in (32, 64, 128)),
    ("mnist_dcgan", 32, 3, {"g_conv_dim": 16, "d_conv_dim": 16}),
    ("mnist_dcgan", 28, 1, {"g_conv_dim": 16, "d_conv_dim": 16, "d_dropout": 0.5}),
    *(("cnn_gan", size, 1, {"g_init": "default"}) for size in (8, 16, 28)),
    ("cnn_gan", 32, 3, {"apply_g_sn": True}),
]  # fmt: skip


def name_of(case: Any) -> str:
    if isinstance(case, tuple):
        name, size, channels, keys = case
        sn = "-sn" if keys.get("apply_d_sn") else ""
        return (
            f"{name}-{size}x{channels}-{keys.get('g_cond_mtd', '')}{keys.get('d_cond_mtd', '')}{sn}"
        )
    return str(case)


def make(case: tuple[str, int, int, dict[str, Any]], seed: int = 0) -> Backbone:
    name, size, channels, keys = case
    return backbone(name, size, channels=channels, seed=seed, **keys)


def fakes(built: Backbone, z: Tensor, y: Tensor | None) -> Fake:
    return Fake(built.generator(z, y), z, y)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_shapes(case):
    name, size, channels, keys = case
    built = make(case)
    d_cond = keys.get("d_cond_mtd", "W/O")
    assert built.conditional == (keys.get("g_cond_mtd", "W/O") == "cBN")
    real, z, y = batch(built, (channels, size, size), 3)
    x = built.generator(z, y)
    assert x.shape == real.x.shape
    assert x.abs().max() <= 1.0
    given = real.x.clone()
    out = built.discriminator(real.x, real.y if built.conditional else None)
    assert torch.equal(real.x, given)  # an in-place layer has not touched the samples
    assert built.realness(out).shape == (3,)
    if d_cond == "AC":
        assert out["adv_output"].shape == (3,)
        assert out["cls_output"].shape == (3, built.num_classes)
    elif d_cond == "MH":
        assert out.shape == (3, built.num_classes + 1)
    elif name == "ssgan":
        assert out["rotation_output"].shape == (3, 4)
    else:
        assert out.shape == (3, 1)
    assert built.features(x).shape[0] == 3
    assert built.features(x).dim() == 2
    packed = built.build("discriminator", in_channels=2 * channels, seed=1)
    pair = torch.cat([real.x, x.detach()], 1)
    assert built.realness(packed(pair, real.y)).shape == (3,)
    for network in (built.generator, built.discriminator):
        twin = copy.deepcopy(network)
        assert twin.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] * (case[1] > 64)) for case in CASES],
    ids=[name_of(case) for case in CASES],
)
def test_a_few_steps_of_training(case):
    """D's loss on one batch falls, each parameter gets a gradient, and G's output changes."""
    _, size, channels, keys = case
    built = make(case)
    open_attention(built.generator, built.discriminator)
    loss = losses(built, keys.get("d_cond_mtd", "W/O"))
    real, z, y = batch(built, (channels, size, size), 8 if size <= 32 else 4)
    before = fakes(built, z, y)
    fixed = Fake(before.x.detach(), z, y)
    for module in built.discriminator.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # its noise would hide what a step does
    optimizer = torch.optim.Adam(built.discriminator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    values = []
    for step in range(6):
        value = discriminator_loss(built, loss, real, fixed)
        optimizer.zero_grad()
        value.backward()
        if step == 0:
            has_gradients(built.discriminator)
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0] - 0.02
    generator_loss(built, loss, before).backward()
    has_gradients(built.generator)
    torch.optim.Adam(built.generator.parameters(), lr=1e-3, betas=(0.0, 0.9)).step()
    after = built.generator(z, y)
    assert float((after - before.x).detach().abs().mean()) > 1e-3


def has_gradients(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith("bias"):  # a batch norm cancels the bias of the layer before it
            assert parameter.grad.any(), name


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case[1] == 32 and (case[0] != "deep_conv" or "d_cond_mtd" in case[3])
    ],
    ids=name_of,
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(case, dtype):
    _, size, channels, keys = case
    built = make(case)
    open_attention(built.generator, built.discriminator)
    loss = losses(built, keys.get("d_cond_mtd", "W/O"))
    real, z, y = batch(built, (channels, size, size), 4)
    with torch.autocast("cpu", dtype):
        fake = Fake(built.generator(z, y).float(), z, y)
        value = discriminator_loss(built, loss, real, fake)
    assert value.dtype == torch.float32
    value.backward()
    for network in (built.generator, built.discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("case", [CASES[4], CASES[9], CASES[13]], ids=name_of)
def test_channels_last_changes_nothing_but_the_layout(case):
    _, size, channels, _ = case
    built, other = make(case), make(case)
    open_attention(built.generator, built.discriminator, other.generator, other.discriminator)
    other.generator.to(memory_format=torch.channels_last)
    other.discriminator.to(memory_format=torch.channels_last)
    real, z, y = batch(built, (channels, size, size), 4)
    x, x_last = built.generator(z, y), other.generator(z, y)
    torch.testing.assert_close(x_last, x, atol=1e-5, rtol=1e-4)
    out = built.realness(built.discriminator(real.x, real.y))
    x_last = real.x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        other.realness(other.discriminator(x_last, real.y)), out, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("case", [CASES[3], CASES[4], CASES[9], CASES[14]], ids=name_of)
def test_second_derivatives_exist(case):
    """As gradient penalties need them."""
    _, size, channels, _ = case
    built = make(case)
    open_attention(built.discriminator)
    real, *_ = batch(built, (channels, size, size), 4)
    x = real.x.requires_grad_()
    total = built.realness(built.discriminator(x, real.y)).sum()
    (slope,) = torch.autograd.grad(total, x, create_graph=True)
    slope.square().sum().backward()
    weights = [p for n, p in built.discriminator.named_parameters() if "weight" in n]
    assert sum(p.grad is not None and bool(p.grad.any()) for p in weights) > len(weights) / 2


@pytest.mark.parametrize("case", CASES[::4], ids=name_of)
def test_equal_seeds_give_equal_weights_and_leave_the_random_state_alone(case):
    state = torch.get_rng_state()
    a, b, c = make(case, 3), make(case, 3), make(case, 4)
    assert torch.equal(torch.get_rng_state(), state)
    for kind in ("generator", "discriminator"):
        first, second, other = (getattr(built, kind).state_dict() for built in (a, b, c))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", LABELLED)
def test_labels_change_what_conditional_networks_return(name):
    built = backbone(name, **CONDITIONS["PD"])
    z = built.latent(4, rng(0))
    ones, twos = torch.ones(4, dtype=torch.int64), torch.full((4,), 2)
    built.generator.eval()
    built.discriminator.eval()
    x = built.generator(z, ones)
    assert not torch.allclose(x, built.generator(z, twos), atol=1e-4)
    assert not torch.allclose(built.discriminator(x, ones), built.discriminator(x, twos), atol=1e-4)
    with pytest.raises(ValueError, match=r"Argument `y` must be labels, .* the generator is"):
        built.generator(z)
    with pytest.raises(ValueError, match=r"Argument `y` must be labels, .* the discriminator is"):
        built.discriminator(x)
