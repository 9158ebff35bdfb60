from __future__ import annotations

import copy
import random
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_registry.backbones import BUILTIN
from gan_registry.backbones.base import Backbone, finish, realness, seeded_weights
from gan_registry.backbones.dcgan import SUPPORTED_SIZES
from gan_registry.catalogs import Catalog
from gan_registry.errors import UserError
from gan_registry.losses.logistic import Logistic

POINTS, SMALL, GREY = (2,), (3, 8, 8), (1, 28, 28)
SHAPES = (POINTS, SMALL, GREY)


def make(
    sample_shape: tuple[int, ...] = SMALL, seed: int = 0, backbone: str | None = None, **keys: Any
) -> Backbone:
    """A small backbone with the configuration's defaults, but narrow."""
    model: dict[str, Any] = {
        "z_dim": 6,
        "z_prior": "gaussian",
        "g_conv_dim": 4,
        "d_conv_dim": 4,
        "apply_g_sn": False,
        "apply_d_sn": False,
        "g_bn": True,
        "d_bn": False,
        "d_dropout": 0.0,
        "hidden_dim": 16,
        "num_layers": 3,
        "g_init": "default",
        "d_init": "default",
    }
    assert keys.keys() <= model.keys()
    config = SimpleNamespace(MODEL=SimpleNamespace(**{**model, **keys}))
    catalog = Catalog("backbone")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    name = backbone or ("mlp" if len(sample_shape) == 1 else "dcgan")
    result = catalog[name](config, sample_shape, 10, seed)
    assert isinstance(result, Backbone)
    return result


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def modules(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


def state(network: nn.Module) -> list[Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- shapes and switches -------------------------------------------------------------------------


@pytest.mark.parametrize("size", SUPPORTED_SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("switches", [False, True])
def test_dcgan_shapes(size, channels, switches):
    keys = {"apply_g_sn": switches, "apply_d_sn": switches, "g_bn": switches, "d_bn": switches}
    backbone = make((channels, size, size), d_dropout=0.5 * switches, **keys)
    for n in (1, 3) if not switches or size > 8 else (2, 3):
        z = backbone.latent(n, rng())
        x = backbone.generator(z, torch.zeros(n, dtype=torch.int64))
        assert x.shape == (n, channels, size, size)
        assert x.abs().max() <= 1.0
        out = backbone.discriminator(x, None)
        assert out.shape == (n, 1)
        assert backbone.realness(out).shape == (n,)
        assert backbone.features(x).shape[0] == n


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_mlp_shapes(dimension):
    backbone = make((dimension,))
    x = backbone.generator(backbone.latent(7, rng()))
    assert x.shape == (7, dimension)
    assert backbone.realness(backbone.discriminator(x)).shape == (7,)
    assert backbone.features(x).shape == (7, 16)


def test_mlp_points_are_not_confined_to_an_interval():
    """No tanh at the end: the modes of a mixture lie anywhere in the plane."""
    backbone = make(POINTS, g_bn=False)
    assert backbone.generator(1000 * backbone.latent(64, rng())).abs().max() > 2.0


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_mlp_depth_and_width_follow_the_keys(num_layers):
    backbone = make(POINTS, hidden_dim=24, num_layers=num_layers)
    for network in (backbone.generator, backbone.discriminator):
        layers = modules(network, nn.Linear)
        assert len(layers) == num_layers + 1
        assert {layer.out_features for layer in layers[:-1]} == {24}


def test_widths_at_32_px_are_those_of_studiogans_deep_conv():
    backbone = make((3, 32, 32), g_conv_dim=2, d_conv_dim=2)
    ups = modules(backbone.generator, nn.ConvTranspose2d)
    assert [(up.in_channels, up.out_channels) for up in ups] == [(16, 8), (8, 4), (4, 2)]
    convs = modules(backbone.discriminator, nn.Conv2d)
    assert [conv.out_channels for conv in convs] == [2, 4, 8, 16]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("on", [False, True])
def test_batch_norm_switches(shape, on):
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    backbone = make(shape, g_bn=on, d_bn=on)
    assert bool(modules(backbone.generator, norms)) == on
    assert bool(modules(backbone.discriminator, norms)) == on
    crossed = make(shape, g_bn=on, d_bn=not on)
    assert bool(modules(crossed.generator, norms)) == on
    assert bool(modules(crossed.discriminator, norms)) != on


@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_acts_in_training_only(shape):
    backbone = make(shape, d_dropout=0.5)
    assert {drop.p for drop in modules(backbone.discriminator, nn.Dropout)} == {0.5}
    assert not modules(backbone.generator, nn.Dropout)
    assert not modules(make(shape).discriminator, nn.Dropout)
    x = backbone.generator(backbone.latent(4, rng()))
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(backbone.discriminator(x), backbone.discriminator(x))
        backbone.discriminator.eval()
        assert torch.equal(backbone.discriminator(x), backbone.discriminator(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_spectral_norm_bounds_every_layer(shape):
    backbone = make(shape, apply_g_sn=True, apply_d_sn=True)
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for network in (backbone.generator, backbone.discriminator):
        x = (
            backbone.latent(4, rng())
            if network is backbone.generator
            else torch.rand((4, *shape), generator=rng())
        )
        for _ in range(30):  # each forward pass in training mode is one power iteration
            network(x)
        for layer in modules(network, kinds):
            matrix = layer.weight.detach()
            if isinstance(layer, nn.ConvTranspose2d):
                matrix = matrix.transpose(0, 1)  # outputs first
            largest = torch.linalg.matrix_norm(matrix.flatten(1), 2)
            assert float(largest) == pytest.approx(1.0, abs=0.05)
    plain = make(shape)
    assert not any("parametrizations" in name for name in plain.generator.state_dict())
    assert not any("parametrizations" in name for name in plain.discriminator.state_dict())


def test_initialisation_of_radford_et_al():
    keys = {"g_init": "N(0.02)", "d_init": "N(0.02)", "g_bn": True, "d_bn": True}
    backbone = make((3, 32, 32), g_conv_dim=8, d_conv_dim=8, **keys)
    for network in (backbone.generator, backbone.discriminator):
        layers = modules(network, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert len(weights) > 5000
        assert float(weights.std()) == pytest.approx(0.02, rel=0.05)
        assert abs(float(weights.mean())) < 0.002
        biases = [layer.bias for layer in layers if layer.bias is not None]
        assert biases
        assert all(not bias.any() for bias in biases)
        scales = torch.cat([norm.weight.detach() for norm in modules(network, nn.BatchNorm2d)])
        assert abs(float(scales.mean()) - 1.0) < 0.02
        assert 0.005 < float(scales.std()) < 0.04
    with pytest.raises(ValueError, match=r"Argument `init` must be one of .* but got 'orthoo'"):
        finish(nn.Linear(2, 2), "orthoo", False)


# --- seeds and the random state ------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_seeds_give_equal_weights_and_others_do_not(shape):
    keys = {"apply_g_sn": True, "apply_d_sn": True, "g_init": "N(0.02)"}
    a, b, c = make(shape, 3, **keys), make(shape, 3, **keys), make(shape, 4, **keys)
    assert same(state(a.generator), state(b.generator))
    assert same(state(a.discriminator), state(b.discriminator))
    assert not same(state(a.generator), state(c.generator))
    assert not same(state(a.discriminator), state(c.discriminator))


def test_weights_of_g_do_not_depend_on_how_d_is_built():
    a, b = make(SMALL, d_conv_dim=4), make(SMALL, d_conv_dim=8, d_dropout=0.5, d_bn=True)
    assert same(state(a.generator), state(b.generator))


@pytest.mark.parametrize("shape", SHAPES)
def test_building_neither_reads_nor_changes_the_global_random_state(shape):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    backbone = make(shape, apply_d_sn=True, g_init="N(0.02)")
    fresh = backbone.build("discriminator", seed=9)
    backbone.latent(5, rng())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        assert same(state(backbone.build("discriminator", seed=9)), state(fresh))


def test_the_random_state_is_restored_after_an_error():
    def fail() -> None:
        torch.rand(3)
        raise RuntimeError("planted")

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="planted"), seeded_weights(0):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_building_leaves_the_generators_of_other_devices_alone(monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError("another device was reseeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed", refuse)
    monkeypatch.setattr(torch, "manual_seed", refuse)
    make(SMALL)


@pytest.mark.parametrize(("prior", "mean", "std"), [("gaussian", 0, 1), ("uniform", 0, 3**-0.5)])
def test_latents(prior, mean, std):
    backbone = make(POINTS, z_prior=prior)
    z = backbone.latent(4000, rng(1))
    assert z.shape == (4000, 6)
    assert z.dtype == torch.float32
    assert abs(float(z.mean()) - mean) < 0.03  # five standard errors
    assert float(z.std()) == pytest.approx(std, rel=0.03)
    assert (prior == "gaussian") == bool(z.abs().max() > 1.0)
    assert torch.equal(z, backbone.latent(4000, rng(1), "cpu"))
    assert not torch.equal(z, backbone.latent(4000, rng(2)))
    assert backbone.latent(0, rng()).shape == (0, 6)


# --- training ------------------------------------------------------------------------------------


def discriminator_loss(backbone: Backbone, real: Tensor, fake: Tensor) -> Tensor:
    loss = Logistic(backbone.realness)
    real_terms = loss.real_terms(backbone.discriminator(real))
    return real_terms.mean() + loss.fake_terms(backbone.discriminator(fake)).mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("switches", [False, True])
def test_every_parameter_gets_a_gradient(shape, switches):
    keys = {"apply_g_sn": switches, "apply_d_sn": switches, "d_bn": switches}
    backbone = make(shape, **keys)
    real = torch.randn((8, *shape), generator=rng(1)).clamp(-1, 1)
    fake = backbone.generator(backbone.latent(8, rng(2)))
    discriminator_loss(backbone, real, fake.detach()).backward()
    for name, parameter in backbone.discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    Logistic(backbone.realness).generator_terms(backbone.discriminator(fake)).mean().backward()
    for name, parameter in backbone.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("shape", [*SHAPES, (3, 32, 32)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_few_steps_teach_d_to_tell_real_from_fake(shape, seed):
    backbone = make(shape, seed)
    real = torch.randn((16, *shape), generator=rng(seed)).clamp(-1, 1)
    if shape == POINTS:  # apart from G's points, which start about the origin
        real += 2.0
    fake = backbone.generator(backbone.latent(16, rng(seed + 10))).detach()
    optimizer = torch.optim.Adam(backbone.discriminator.parameters(), lr=1e-2)
    losses = []
    for _ in range(21):
        loss = discriminator_loss(backbone, real, fake)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(2 * np.log(2), abs=0.5)  # an undecided D
    assert losses[-1] < 0.6 * losses[0]


# --- more networks, features, realness -----------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_build_makes_fresh_networks(shape):
    backbone = make(shape, 5)
    untouched = state(backbone.discriminator)
    again = backbone.build("discriminator")
    other = backbone.build("discriminator", seed=6)
    assert again is not backbone.discriminator
    assert same(state(again), untouched)
    assert not same(state(other), untouched)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(7.0)
    assert same(state(backbone.discriminator), untouched)
    assert same(state(backbone.build("generator")), state(backbone.generator))


@pytest.mark.parametrize("shape", SHAPES)
def test_build_takes_other_input_channels_and_outputs(shape):
    packed = (2 * shape[0], *shape[1:])
    d = make(shape).build("discriminator", in_channels=packed[0], seed=1, out_features=4)
    assert d(torch.zeros((3, *packed))).shape == (3, 4)


def test_build_refuses_what_it_does_not_know():
    backbone = make()
    with pytest.raises(
        ValueError, match=r"`overrides` must be among .*'in_channels'.*'in_chanels'"
    ):
        backbone.build("discriminator", in_chanels=6)
    with pytest.raises(ValueError, match=r"`kind` must be one of .* but got 'encoder'"):
        backbone.build("encoder")


@pytest.mark.parametrize("shape", SHAPES)
def test_features_are_what_the_last_layer_reads(shape):
    backbone = make(shape)
    x = torch.randn((5, *shape), generator=rng())
    head = backbone.discriminator.head
    torch.testing.assert_close(head(backbone.features(x)), backbone.discriminator(x))


def test_features_follow_a_replaced_discriminator_or_say_so():
    backbone = make(POINTS)
    x = torch.randn((5, 2), generator=rng())
    before = backbone.features(x)
    backbone.discriminator = backbone.build("discriminator", seed=1)
    assert not torch.equal(backbone.features(x), before)
    backbone.discriminator = nn.Linear(2, 1)
    with pytest.raises(NotImplementedError, match=r"Linear has no method `features\(x\)`"):
        backbone.features(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_can_be_copied_and_reloaded(shape):
    backbone = make(shape, apply_d_sn=True)
    twin = copy.deepcopy(backbone.discriminator)
    fresh = backbone.build("discriminator", seed=1)
    fresh.load_state_dict(backbone.discriminator.state_dict())
    x = torch.randn((4, *shape), generator=rng())
    expected = backbone.discriminator.eval()(x)
    assert torch.equal(twin.eval()(x), expected)
    assert torch.equal(fresh.eval()(x), expected)


def test_realness_reads_the_common_outputs():
    v = torch.tensor([1.0, 2.0, 3.0])
    outputs = [v, v[:, None], v[:, None, None, None], (v, "aux"), [v[:, None]], {"adv_output": v}]
    for output in (*outputs, {"adv_output": (v[:, None], None)}):
        assert realness(output).tolist() == v.tolist()
    assert realness(torch.zeros(0, 1)).shape == (0,)
    assert realness(torch.zeros(1, 1)).shape == (1,)
    assert realness(v.half()).dtype == torch.float16


@pytest.mark.parametrize(
    ("output", "got"),
    [
        (torch.zeros(3, 11), r"shape \(3, 11\)"),
        (torch.zeros(()), r"shape \(\)"),
        ({"logits": torch.zeros(3)}, r"keys \['logits'\]"),
        ((), "tuple"),
        (None, "NoneType"),
    ],
)
def test_realness_refuses_what_holds_no_logit(output, got):
    with pytest.raises(ValueError, match=f"Argument `output` must be .* but got .*{got}"):
        realness(output)


def test_a_backbone_of_ones_own_takes_a_few_lines():
    class TwoHeads(nn.Module):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.real, self.label = nn.Linear(2, units), nn.Linear(2, 10)

        def forward(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
            return {"label_output": self.label(x), "adv_output": self.real(x)}

    generator = partial(nn.Linear, in_features=4, out_features=2)
    backbone = Backbone(generator, partial(TwoHeads, units=1), z_dim=4, seed=0)
    x = backbone.generator(backbone.latent(6, rng()))
    assert backbone.realness(backbone.discriminator(x)).shape == (6,)
    assert backbone.discriminator_terms(None, None, None, None) is None
    assert backbone.generator_terms(None, None) is None
    with pytest.raises(ValueError, match="`z_prior` must be one of"):
        Backbone(generator, generator, z_dim=4, z_prior="cauchy", seed=0)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 33, 33), (3, 128, 128), (3, 32, 64), (3, 4, 4)])
def test_unsupported_image_sizes_name_the_supported_ones(shape):
    with pytest.raises(UserError, match=rf"8, 16, 28, 32, 64 px, but got {shape[1]}×{shape[2]}"):
        make(shape)


def test_the_networks_themselves_check_the_image_size():
    for kind in ("generator", "discriminator"):
        with pytest.raises(ValueError, match=r"Argument `image_size` must be one of .* but got 33"):
            make(SMALL).build(kind, image_size=33)


def test_data_of_another_kind_names_the_backbone_to_use():
    with pytest.raises(UserError, match=r"channels.*4"):
        make((4, 32, 32))
    with pytest.raises(UserError, match=r"shape \(2,\); use MODEL.backbone=mlp"):
        make(POINTS, backbone="dcgan")
    with pytest.raises(UserError, match=r"shape \(3, 8, 8\); use MODEL.backbone=dcgan"):
        make(SMALL, backbone="mlp")
