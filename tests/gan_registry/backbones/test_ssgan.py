from __future__ import annotations

import pytest
import torch
from small_backbones import backbone, batch, counts, rng
from torch import nn
from torch.nn import functional as F

from gan_registry.backbones.ssgan import SSGANBackbone, rotate_quarters
from gan_registry.records import Fake, Real

KEYS = {"g_init": "default", "d_init": "default"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [  # torch-mimicry 0.1.16: SSGANGenerator32 and SSGANDiscriminator32, and so on
        (32, (4_276_739, 1_054_341)),
        (64, (12_220_675, 10_145_541)),
        (128, (32_150_787, 29_021_957)),
    ],
)
def test_parameter_counts_are_the_published_ones(size, expected):
    assert counts("ssgan", size, z_dim=128, g_conv_dim=64, d_conv_dim=64) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 64])
def test_a_quarter_of_the_batch_is_rotated_each_way(size):
    x = torch.randn(size, 2, 4, 4, generator=rng())
    rotated, quarters = rotate_quarters(x)
    assert quarters.tolist() == [4 * i // size for i in range(size)]
    for image, turned, quarter in zip(x, rotated, quarters.tolist(), strict=True):
        assert torch.equal(torch.rot90(turned, -quarter, (1, 2)), image)
    assert rotated.dtype == x.dtype


def test_rotation_is_counterclockwise_and_empty_batches_pass():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(4, 1, 2, 2)
    rotated, _ = rotate_quarters(x)
    assert rotated[:, 0].tolist() == [
        [[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]],
    ]  # fmt: skip
    empty, quarters = rotate_quarters(x[:0])
    assert empty.shape == (0, 1, 2, 2)
    assert quarters.shape == (0,)


def test_the_terms_are_the_weighted_cross_entropy_of_rotations():
    built = backbone("ssgan", **KEYS)
    built.discriminator.eval()  # so that spectral norm stays as it is between the calls
    real, z, _ = batch(built, (3, 32, 32), 8)
    fake = Fake(built.generator(z), z, None)

    def expected(x: torch.Tensor) -> torch.Tensor:
        turned = torch.cat([torch.rot90(x[2 * i : 2 * i + 2], i, (2, 3)) for i in range(4)])
        logits = built.discriminator(turned)["rotation_output"]
        return F.cross_entropy(logits, torch.arange(4).repeat_interleave(2))

    d_terms = built.discriminator_terms(real, fake, None, None)
    torch.testing.assert_close(d_terms, 1.0 * expected(real.x))
    g_terms = built.generator_terms(fake, None)
    torch.testing.assert_close(g_terms, 0.2 * expected(fake.x))
    # D learns nothing from fakes, and G is moved by its own.
    built.generator.zero_grad()
    d_terms.backward()
    assert all(parameter.grad is None for parameter in built.generator.parameters())
    built.generator_terms(fake, None).backward()
    assert all(parameter.grad is not None for parameter in built.generator.parameters())


@pytest.mark.parametrize("seed", [0, 1])
def test_d_learns_to_recognise_rotations(seed):
    """Of images that have an up and a down: bright above."""
    built = backbone("ssgan", seed=seed, d_conv_dim=8, **KEYS)
    assert isinstance(built, SSGANBackbone)
    ramp = torch.linspace(1, -1, 32)[:, None].expand(32, 32)
    x = ramp + 0.2 * torch.randn(16, 3, 32, 32, generator=rng(seed))
    real = Real(torch.arange(16), x, None)
    optimizer = torch.optim.Adam(built.discriminator.parameters(), lr=5e-3)
    for _ in range(40):
        loss = built.discriminator_terms(real, None, None, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rotated, quarters = rotate_quarters(x)
    guess = built.discriminator(rotated)["rotation_output"].argmax(1)
    assert float((guess == quarters).float().mean()) >= 0.9


def test_realness_reads_the_adversarial_output():
    built = backbone("ssgan", **KEYS)
    x = torch.randn(3, 3, 32, 32, generator=rng())
    built.discriminator.eval()
    out = built.discriminator(x)
    assert torch.equal(built.realness(out), out["adv_output"][:, 0])
    head = built.discriminator.head
    torch.testing.assert_close(head(built.features(x)), out["adv_output"])


def test_another_discriminator_is_refused_by_name():
    built = backbone("ssgan", **KEYS)
    built.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    fake = Fake(torch.zeros(4, 3, 32, 32), torch.zeros(4, 20), None)
    with pytest.raises(ValueError, match="discriminator of ssgan must return 'rotation_output'"):
        built.generator_terms(fake, None)
