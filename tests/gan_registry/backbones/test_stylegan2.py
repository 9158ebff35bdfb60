"""StyleGAN2's adapters: on miniature networks always, on the real ones where they are installed.

Those of `stylegan2-pytorch` need only `pip install --no-deps stylegan2-pytorch kornia kornia_rs`.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from small_backbones import batch, count, discriminator_loss, rng
from small_runs import assert_equal_runs, digits_config, fit, manager
from torch import Tensor, nn
from torch.nn import functional as F

from gan_registry.backbones.stylegan2 import lucidrains_package
from gan_registry.backbones.stylegan2.lucidrains import build_stylegan2
from gan_registry.backbones.stylegan2.nvlabs import build_nvlabs
from gan_registry.backbones.stylegan2.styles import StyleBackbone, StyleGenerator
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.losses.logistic import Logistic
from gan_registry.records import Fake
from gan_registry.seeding import seed_modules
from gan_registry.training.ema import MovingAverage

LAYERS, CLASSES = 4, 3

# ------------------------------------------------------------------ miniature networks


class Mapping(nn.Module):
    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_layers: int = 8) -> None:
        super().__init__()
        self.layer = nn.Linear(z_dim + c_dim, w_dim)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False):
        x = torch.tanh(self.layer(z if c is None else torch.cat([z, c], 1)))
        if update_emas:
            self.w_avg.copy_(x.detach().mean(0).lerp(self.w_avg, 0.9))
        return x[:, None].repeat(1, LAYERS, 1)


class Synthesis(nn.Module):
    def __init__(self, w_dim: int, img_resolution: int, img_channels: int) -> None:
        super().__init__()
        self.shape = (img_channels, img_resolution, img_resolution)
        self.layers = nn.ModuleList(nn.Linear(w_dim, 6) for _ in range(LAYERS))
        self.last = nn.Linear(6, math.prod(self.shape))
        self.noise_strength = nn.Parameter(torch.tensor(0.1))
        self.register_buffer("noise_const", torch.randn(6))

    def forward(self, ws, noise_mode="random", update_emas=False):
        h = 1.0
        for layer, w in zip(self.layers, ws.unbind(1), strict=True):
            h = h * (1.5 + torch.sin(layer(w)))
        assert noise_mode in ("random", "const")
        noise = torch.randn_like(h) if noise_mode == "random" else self.noise_const
        return self.last(h + noise * self.noise_strength).unflatten(1, self.shape)


class Generator(nn.Module):
    """NVlabs' signature (stylegan3), and what they make of it in a few lines."""

    def __init__(
        self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs={},  # noqa: B006
        **synthesis_kwargs,
    ) -> None:  # fmt: skip
        super().__init__()
        self.given = {"mapping": mapping_kwargs, "synthesis": synthesis_kwargs}
        self.mapping = Mapping(z_dim, c_dim, w_dim, **mapping_kwargs)
        self.synthesis = Synthesis(w_dim, img_resolution, img_channels)


class Discriminator(nn.Module):
    def __init__(
        self, c_dim, img_resolution, img_channels, architecture="resnet", channel_base=32768,
        channel_max=512, num_fp16_res=4, conv_clamp=256, cmap_dim=None, block_kwargs={},  # noqa: B006
        mapping_kwargs={}, epilogue_kwargs={},  # noqa: B006
    ) -> None:  # fmt: skip
        super().__init__()
        self.given = {
            "architecture": architecture, "channel_base": channel_base, "channel_max": channel_max,
            "num_fp16_res": num_fp16_res, "conv_clamp": conv_clamp,
        }  # fmt: skip
        self.group = epilogue_kwargs["mbstd_group_size"]
        self.body = nn.Linear(img_channels * img_resolution**2, 5)
        self.b4 = nn.Module()
        self.b4.out = nn.Linear(6, max(c_dim, 1))

    def forward(self, img, c, update_emas=False):
        h = torch.tanh(self.body(img.flatten(1)))
        size = min(self.group, len(h))
        groups = h.reshape(size, -1, 5)
        spread = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean(1)
        scores = self.b4.out(torch.cat([h, spread.repeat(size)[:, None]], 1))
        return scores if c is None else (scores * c).sum(1, keepdim=True)


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    module = ModuleType("tiny_networks")
    vars(module).update(Generator=Generator, Discriminator=Discriminator)
    monkeypatch.setitem(sys.modules, "tiny_networks", module)


def config(backbone: str, style: dict[str, Any] | None = None, **model: Any) -> Config:
    keys = {"backbone": backbone, "z_dim": 8, "g_conv_dim": 4, "d_conv_dim": 4, **model}
    return Config.model_validate({"MODEL": keys, "STYLEGAN": style or {}})


def tiny(
    style: dict[str, Any] | None = None, classes: int = 0, seed: int = 0, **model: Any
) -> StyleBackbone:
    if classes:
        model = {"g_cond_mtd": "cAdaIN", "d_cond_mtd": "SPD", **model}
    keys = config("nvlabs", style, **{"module": "tiny_networks", **model})
    return build_nvlabs(keys, (3, 8, 8), CLASSES, seed)


PATH_LENGTH = {"apply_pl_reg": True, "pl_weight": 2.0, "g_reg_interval": 4}

# ------------------------------------------------------------------ styles


def test_styles_are_mixed_in_training_only_and_as_often_as_asked():
    built = tiny({"style_mixing_p": 0.5})
    network = built.generator
    assert isinstance(network, StyleGenerator)
    z = built.latent(6, rng())
    own = network.styles(z)
    torch.manual_seed(0)
    cuts = []
    for _ in range(1200):
        same = (network.mixed_styles(z) == own).all(2).all(0)  # of each layer, for all samples
        cut = int(same.sum())
        assert same.tolist() == [True] * cut + [False] * (LAYERS - cut)
        cuts.append(cut)
    shares = torch.bincount(torch.tensor(cuts), minlength=LAYERS + 1) / len(cuts)
    # 4 standard deviations; the first layer is never another latent's
    torch.testing.assert_close(
        shares, torch.tensor([0.0, *[0.5 / 3] * 3, 0.5]), atol=4 * 0.5 / 1200**0.5, rtol=0
    )
    assert shares[0] == 0
    network.eval()
    assert torch.equal(network.mixed_styles(z), own)


def test_evaluation_is_a_function_of_the_latents_in_the_unit_range():
    built = tiny({"style_mixing_p": 1.0})
    network = built.generator
    nn.init.constant_(network.network.synthesis.last.bias, 0.9)
    z = built.latent(5, rng())
    assert not torch.equal(network(z), network(z))
    assert network(z).max() > 1.0  # linear, as published
    network.eval()
    x = network(z)
    assert x.abs().max() == 1.0
    torch.testing.assert_close(network(z[2:3]), x[2:3])
    state = torch.get_rng_state()
    network(z)
    assert torch.equal(torch.get_rng_state(), state)


def test_running_averages_follow_updates_of_the_generator_only():
    network = tiny({**PATH_LENGTH, "style_mixing_p": 0.9}).generator
    built = tiny(PATH_LENGTH)
    z, mean = built.latent(6, rng()), built.generator.network.mapping.w_avg
    with torch.no_grad():
        built.generator(z)
    built.lazy_generator_terms(z)
    assert not mean.any()
    network.eval()
    network(z)
    assert not network.network.mapping.w_avg.any()
    built.generator(z)
    expected = 0.1 * built.generator.styles(z)[:, 0].mean(0)
    torch.testing.assert_close(mean, expected)


# ------------------------------------------------------------------ lazy regularisation


def lengths_by_hand(network: StyleGenerator, z: Tensor, y: Tensor | None) -> Tensor:
    """Path lengths of the authors' loss, in the order in which it draws."""
    w = network.mixed_styles(z, y)
    x = network.images(w)
    noise = torch.randn_like(x) / math.sqrt(x.shape[2] * x.shape[3])
    (slope,) = torch.autograd.grad((x * noise).sum(), w, create_graph=True)
    return slope.square().sum(2).mean(1).sqrt()


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_lazy_term_is_the_penalty_times_weight_and_interval_on_half_a_batch(classes):
    built = tiny({**PATH_LENGTH, "style_mixing_p": 0.9}, classes)
    other = copy.deepcopy(built.generator)
    z = built.latent(9, rng())
    y = torch.arange(9) % CLASSES if classes else None
    assert built.lazy_intervals() == {"generator": 4}
    mean = torch.zeros(())
    for step in range(3):
        torch.manual_seed(step)
        value = built.lazy_generator_terms(z, y)
        torch.manual_seed(step)
        lengths = lengths_by_hand(other, z[:4], None if y is None else y[:4])
        mean = 0.99 * mean + 0.01 * lengths.mean()
        torch.testing.assert_close(value, 2.0 * 4 * (lengths - mean).square().mean())
        mean = mean.detach()
        torch.testing.assert_close(built.generator.path_length_mean, mean)
    value.backward()
    assert built.generator.network.mapping.layer.weight.grad.any()
    assert built.generator.network.synthesis.layers[0].weight.grad.any()
    assert "path_length_mean" in built.generator.state_dict()
    average = MovingAverage(other, 0.9, 0)
    average.update(built.generator, 1)
    torch.testing.assert_close(average.average.path_length_mean, mean)


def test_lazy_terms_are_off_without_a_weight_and_work_on_a_single_latent():
    for style in ({}, {"apply_pl_reg": True, "pl_weight": 0.0}, {"pl_weight": 2.0}):
        built = tiny(style)
        assert built.lazy_intervals() == {}
        assert built.lazy_generator_terms(built.latent(4, rng())) is None
    built = tiny(PATH_LENGTH)
    assert built.lazy_generator_terms(built.latent(1, rng())).isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        assert built.lazy_generator_terms(built.latent(4, rng())).dtype == torch.float32
    built.generator = nn.Identity()
    with pytest.raises(ValueError, match=r"must be a StyleGenerator .*got Identity"):
        built.lazy_generator_terms(built.latent(4, rng()))


class Networks:
    """Registers the adapter under a name of its own, and keeps what a run starts from and sees."""

    def __init__(self) -> None:
        self.reals: list[Any] = []

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.backbones.register("tiny_styles", build_nvlabs, plugin="networks")

    @hookimpl
    def gan_train_start(self, run: Any) -> None:
        self.start = copy.deepcopy((run.generator, run.discriminator))

    @hookimpl
    def gan_real_logits(self, run: Any, real: Any, logits: Tensor) -> None:
        self.reals.append(real.x)


def run_config(**changes: Any) -> Config:
    keys = {
        "MODEL__backbone": "tiny_styles", "MODEL__module": "tiny_networks",
        "LOSS__apply_r1_reg": True, "LOSS__r1_lambda": 0.7, "LOSS__r1_place": "outside_loop",
        "OPTIMIZATION__batch_size": 8, "OPTIMIZATION__total_steps": 9,
        "OPTIMIZATION__beta1": 0.3, "OPTIMIZATION__beta2": 0.9,
        "STYLEGAN__apply_pl_reg": True, "STYLEGAN__g_reg_interval": 4,
        "STYLEGAN__d_reg_interval": 3, "STYLEGAN__style_mixing_p": 0.9,
        **changes,
    }  # fmt: skip
    return digits_config(**keys)


def test_lazily_regularised_training_is_the_loop_taken_apart_by_hand():
    """Main and regularising steps one after the other, as in appendix B, in plain torch."""
    plugin = Networks()
    run = fit(run_config(), plugins=manager(networks=plugin))
    g, d = plugin.start
    d_opt = torch.optim.Adam(d.parameters(), 5e-4 * 3 / 4, (0.3 ** (3 / 4), 0.9 ** (3 / 4)))
    g_opt = torch.optim.Adam(g.parameters(), 5e-4 * 4 / 5, (0.3 ** (4 / 5), 0.9 ** (4 / 5)))
    mean = torch.zeros(())
    for step, real in enumerate(plugin.reals):
        seed_modules(run.seed, 0, step, run.device)

        z = run.latents(8, "discriminator", step, 0)
        with torch.no_grad():
            fake = g(z)
        d_opt.zero_grad()
        (F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()).backward()
        d_opt.step()
        if step in (0, 3, 6):
            d_opt.zero_grad()
            x = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
            (3 * 0.7 / 2 * slope.square().sum((1, 2, 3)).mean()).backward()
            d_opt.step()

        z = run.latents(8, "generator", step, 0)
        g_opt.zero_grad()
        F.softplus(-d(g(z))).mean().backward()
        g_opt.step()
        if step in (0, 4, 8):
            g_opt.zero_grad()
            lengths = lengths_by_hand(g, z[:4], None)
            mean = mean.lerp(lengths.mean(), 0.01)
            (4 * 2.0 * (lengths - mean).square()).mean().backward()
            mean = mean.detach()
            g_opt.step()
    assert len(plugin.reals) == 9
    torch.testing.assert_close(run.generator.path_length_mean, mean)
    for ours, reference in ((run.generator, g), (run.discriminator, d)):
        for name, parameter in ours.named_parameters():
            expected = dict(reference.named_parameters())[name]
            torch.testing.assert_close(parameter, expected, msg=name)


def test_a_regularised_run_resumes_where_it_stopped(tmp_path):
    whole = fit(run_config(), tmp_path / "whole", manager(networks=Networks()))
    half = run_config(OPTIMIZATION__total_steps=5)
    fit(half, tmp_path / "half", manager(networks=Networks()))
    rest = fit(run_config(), tmp_path / "half", manager(networks=Networks()))
    assert rest.first_step == 5
    assert_equal_runs(whole, rest)
    assert whole.generator.path_length_mean > 0


# ------------------------------------------------------------------ NVlabs' networks


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_a_few_steps_of_training(classes):
    built = tiny({"style_mixing_p": 0.5}, classes)
    loss = Logistic(built.realness)
    real, z, y = batch(built, (3, 8, 8), 8)
    real = type(real)(real.indices, real.x, real.y % CLASSES)
    y = None if y is None else y % CLASSES
    with torch.no_grad():
        fake = Fake(built.generator(z, y), z, y)
    # Looked at before D is trained, whose units may be dead for these few samples afterwards.
    loss.generator_terms(built.discriminator(built.generator(z, y), y), y).mean().backward()
    for name, parameter in built.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    optimizer = torch.optim.Adam(built.discriminator.parameters(), lr=1e-2)
    values = []
    for _ in range(6):
        value = discriminator_loss(built, loss, real, fake)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0] - 0.02
    for name, parameter in built.discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_labels_are_one_hot_and_matter_to_both_networks():
    built = tiny(classes=CLASSES)
    built.generator.eval()
    assert built.conditional
    z = built.latent(4, rng())
    y = torch.tensor([0, 1, 2, 0])
    x = built.generator(z, y)
    c = torch.eye(CLASSES)[y]
    torch.testing.assert_close(built.generator.styles(z, y), built.generator.network.mapping(z, c))
    torch.testing.assert_close(built.discriminator(x, y), built.discriminator.network(x, c))
    assert not torch.allclose(x, built.generator(z, y.flip(0)))
    with pytest.raises(ValueError, match="Argument `y` must be labels"):
        built.generator(z)
    plain = tiny()
    assert not plain.conditional
    torch.testing.assert_close(plain.discriminator(x, y), plain.discriminator(x))


@pytest.mark.parametrize("size", [1, 3, 4, 6, 8])
def test_any_batch_is_judged_in_whole_groups(size):
    built = tiny()
    x = torch.randn(size, 3, 8, 8, generator=rng())
    filled = {6: torch.cat([x, x[:2]])}.get(size, x)
    expected = built.discriminator.network(filled, None)[:size]
    torch.testing.assert_close(built.discriminator(x), expected)
    assert built.realness(built.discriminator(x)).shape == (size,)
    assert built.features(x).shape == (size, 6)
    assert built.discriminator.depends_on_batch
    assert not tiny({"d_epilogue_mbstd_group_size": 1}).discriminator.depends_on_batch


def test_features_come_before_the_last_layer_with_labels_or_without():
    built = tiny(classes=CLASSES)
    x = torch.randn(8, 3, 8, 8, generator=rng())
    y = torch.arange(8) % CLASSES
    scores = built.discriminator.network.b4.out(built.features(x))
    expected = scores.gather(1, y[:, None])
    torch.testing.assert_close(built.discriminator(x, y), expected)
    del built.discriminator.network.b4.out
    with pytest.raises(NotImplementedError, match=r"Discriminator has no last layer `b4\.out`"):
        built.features(x)


def test_keys_become_the_arguments_of_the_networks():
    style = {
        "mapping_network": 2, "d_architecture": "orig", "d_epilogue_mbstd_group_size": 32,
    }  # fmt: skip
    built = tiny(style, z_dim=7, w_dim=9, g_conv_dim=64, d_conv_dim=32)
    network = built.generator.network
    assert network.given == {
        "mapping": {"num_layers": 2},
        "synthesis": {
            "channel_base": 32768, "channel_max": 512, "num_fp16_res": 0, "conv_clamp": None,
        },
    }  # fmt: skip
    assert network.mapping.layer.weight.shape == (9, 7)
    assert built.discriminator.network.given == {
        "architecture": "orig", "channel_base": 16384, "channel_max": 256, "num_fp16_res": 0,
        "conv_clamp": None,
    }  # fmt: skip
    assert built.discriminator.network.group == 32
    packed = built.build("discriminator", in_channels=6, seed=1)
    assert packed(torch.zeros(2, 6, 8, 8)).shape == (2, 1)
    half = config("nvlabs", module="tiny_networks")
    half.RUN.mixed_precision = "fp16"
    built = build_nvlabs(half, (3, 8, 8), 0, 0)
    assert built.generator.network.given["synthesis"]["num_fp16_res"] == 4
    assert built.discriminator.network.given["conv_clamp"] == 256
    with torch.autocast("cpu", torch.float16):  # whose casts the networks must not see
        assert built.generator(built.latent(2, rng())).dtype == torch.float32
        assert built.discriminator(torch.zeros(2, 3, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize("partially", [False, True])
def test_the_older_signatures_are_understood(monkeypatch, partially):
    """Those of stylegan2-ada-pytorch, whose classes are wrapped in others."""

    class OldMapping(Mapping):
        def forward(self, z, c, truncation_psi=1, skip_w_avg_update=False):
            return super().forward(z, c, update_emas=not skip_w_avg_update)

    class Old(Generator):
        def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels,
                     mapping_kwargs={}, synthesis_kwargs={}) -> None:  # noqa: B006  # fmt: skip
            super().__init__(
                z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs,
                **synthesis_kwargs,
            )  # fmt: skip
            self.mapping = OldMapping(z_dim, c_dim, w_dim)

    class Wrapped(Old):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)

    given = partial(Wrapped) if partially else Wrapped
    monkeypatch.setattr(sys.modules["tiny_networks"], "Generator", given)
    built = tiny({"style_mixing_p": 0.9})
    assert built.generator.network.given["synthesis"]["channel_max"] == 32
    z = built.latent(4, rng())
    with torch.no_grad():
        built.generator(z)
    assert not built.generator.network.mapping.w_avg.any()
    built.generator(z)
    assert built.generator.network.mapping.w_avg.any()


def test_equal_seeds_give_equal_weights_and_leave_the_random_state_alone():
    state = torch.get_rng_state()
    first, second, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for kind in ("generator", "discriminator"):
        a, b, c = (getattr(built, kind).state_dict() for built in (first, second, other))
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert not all(torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"module": None}, r"needs MODEL\.module"),
        ({"module": "no_such_module"}, r"MODEL\.module=no_such_module can't be imported .*PYTHONP"),
        ({"module": "math"}, r"MODEL\.module=math has no Generator"),
        ({"g_cond_mtd": "cBN"}, r"MODEL\.g_cond_mtd=cBN is not supported .*W/O, cAdaIN"),
        ({"d_cond_mtd": "PD"}, r"MODEL\.d_cond_mtd=PD is not supported .*W/O, SPD"),
        ({"d_cond_mtd": "SPD"}, r"set MODEL\.g_cond_mtd=cAdaIN"),
        ({"apply_attn": True}, r"MODEL\.apply_attn=True"),
        ({"z_prior": "uniform"}, r"MODEL\.z_prior=uniform; set it to gaussian"),
    ],
)
def test_what_is_not_supported_is_named(model, message):
    with pytest.raises(UserError, match=message):
        tiny(**model)


def test_networks_that_do_not_fit_are_named(monkeypatch):
    module = sys.modules["tiny_networks"]
    keys = config("nvlabs", module="tiny_networks", g_cond_mtd="cAdaIN")
    with pytest.raises(UserError, match="needs labelled data"):
        build_nvlabs(keys, (3, 8, 8), 0, 0)
    with pytest.raises(UserError, match="supports square images of 8, 16, 32"):
        build_nvlabs(keys, (3, 12, 12), 3, 0)
    keys.RUN.mixed_precision = "bf16"
    with pytest.raises(UserError, match=r"RUN\.mixed_precision to fp16 or no"):
        build_nvlabs(keys, (3, 8, 8), 3, 0)
    monkeypatch.setattr(module, "Discriminator", nn.Linear)
    with pytest.raises(UserError, match=r"tiny_networks\.Discriminator can't be made .*c_dim"):
        tiny()
    monkeypatch.setattr(module, "Generator", lambda **keys: nn.Identity())
    monkeypatch.setattr(module, "Discriminator", Discriminator)
    with pytest.raises(UserError, match="tiny_networks has no part `mapping`"):
        tiny()
    monkeypatch.delattr(module, "Discriminator")
    with pytest.raises(UserError, match="tiny_networks has no Discriminator"):
        tiny()


# ------------------------------------------------------------------ stylegan2-pytorch

SOURCE = """
import torch, fire
from stylegan2_pytorch.version import __version__
from einops import rearrange, repeat
from torch import nn
import aim
assert torch.cuda.is_available(), "You need to have an Nvidia GPU with CUDA installed."
class StyleVectorizer(nn.Linear): pass
Generator = Discriminator = DiscriminatorBlock = Conv2DMod = StyleVectorizer
def attention(x): return rearrange(x, "b c -> c b")
"""


def test_the_package_is_loaded_without_a_gpu_and_without_a_trace(tmp_path, monkeypatch):
    (tmp_path / "stylegan2_pytorch").mkdir()
    source = tmp_path / "stylegan2_pytorch" / "stylegan2_pytorch.py"
    (tmp_path / "stylegan2_pytorch" / "__init__.py").write_text("assert False")
    source.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    load = lucidrains_package.lucidrains_networks.__wrapped__
    before = set(sys.modules)
    module = load()
    assert set(sys.modules) == before
    assert module.StyleVectorizer(2, 3)(torch.zeros(1, 2)).shape == (1, 3)
    with pytest.raises(ImportError, match=r"einops\.rearrange is not available"):
        module.attention(torch.zeros(1, 2))
    source.write_text(SOURCE.replace(" Conv2DMod =", " Other ="))
    with pytest.raises(UserError, match=r"has no Conv2DMod; version 1\.9\.0"):
        load()
    source.write_text("import no_such_module_at_all")
    with pytest.raises(UserError, match=r"no_such_module_at_all.*diagan-plugin\[stylegan2\]"):
        load()


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    load = lucidrains_package.lucidrains_networks.__wrapped__
    with pytest.raises(UserError, match=r"pip install 'diagan-plugin\[stylegan2\]'"):
        load()


@pytest.mark.parametrize(
    ("model", "style", "message"),
    [
        ({"w_dim": 4}, {}, r"MODEL\.w_dim=4 must be left out, or be MODEL\.z_dim=8"),
        ({"g_conv_dim": 6}, {}, r"MODEL\.g_conv_dim=6 must be a multiple of 4"),
        ({}, {"d_architecture": "orig"}, r"d_architecture=orig; .*MODEL\.backbone=nvlabs"),
        ({"g_cond_mtd": "cAdaIN"}, {}, r"stylegan2 is unconditional"),
        ({"apply_d_sn": True}, {}, r"MODEL\.apply_d_sn=True; set it to False"),
    ],
)
def test_keys_that_the_package_has_no_use_for_are_refused(model, style, message):
    with pytest.raises(UserError, match=message):
        build_stylegan2(config("stylegan2", style, **model), (3, 32, 32), 0, 0)


real_package = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("stylegan2_pytorch", "kornia")),
    reason="stylegan2-pytorch is not installed",
)


def lucid(
    style: dict[str, Any] | None = None, channels: int = 3, size: int = 32, **model: Any
) -> StyleBackbone:
    return build_stylegan2(config("stylegan2", style, **model), (channels, size, size), 0, 0)


@real_package
@pytest.mark.parametrize(("channels", "size"), [(3, 8), (3, 32), (1, 32), (4, 16)])
def test_lucidrains_shapes(channels, size):
    built = lucid({"style_mixing_p": 0.9}, channels, size)
    z = built.latent(3, rng())
    x = built.generator(z)
    assert x.shape == (3, channels, size, size)
    assert not torch.equal(built.generator(z), x)
    for n in (1, 3):
        assert built.discriminator(x[:n]).shape == (n,)
        assert built.features(x[:n]).dim() == 2
    packed = built.build("discriminator", in_channels=2 * channels, seed=1)
    assert packed(torch.cat([x, x], 1)).shape == (3,)
    built.generator.eval()
    x = built.generator(z)
    assert x.abs().max() <= 1.0
    torch.testing.assert_close(built.generator(z[1:2]), x[1:2], atol=1e-5, rtol=1e-4)
    other = copy.deepcopy(built.generator)
    other.load_state_dict(lucid({"style_mixing_p": 0.9}, channels, size).generator.state_dict())
    assert torch.equal(other(z), x)


@real_package
def test_lucidrains_parameter_counts_and_weights_are_those_of_the_package():
    built = lucid({"mapping_network": 8}, z_dim=512, g_conv_dim=64, d_conv_dim=64)
    package = lucidrains_package.lucidrains_networks()
    # its defaults: StyleVectorizer(512, 8), Generator(32, 512), Discriminator(32), version 1.9.0
    assert count(built.generator.mapping) == count(package.StyleVectorizer(512, 8)) == 2_101_248
    assert count(built.generator.synthesis) == count(package.Generator(32, 512))
    assert count(built.generator) == 5_312_672
    assert count(built.discriminator) == count(package.Discriminator(32)) == 15_337_089
    layer = built.discriminator.network.final_conv
    fan_in = layer.weight[0].numel()
    assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
    block = built.generator.synthesis.blocks[1]
    assert not block.to_noise1.weight.any()
    assert not block.to_noise2.bias.any()


@real_package
def test_lucidrains_learns():
    built = lucid({"style_mixing_p": 0.5, **PATH_LENGTH})
    loss = Logistic(built.realness)
    real, z, _ = batch(built, (3, 32, 32), 4)
    with torch.no_grad():
        fake = Fake(built.generator(z), z, None)
    given = real.x.clone()
    optimizer = torch.optim.Adam(built.discriminator.parameters(), lr=1e-3)
    values = []
    for _ in range(5):
        value = discriminator_loss(built, loss, real, fake)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0] - 0.02
    assert torch.equal(real.x, given)
    loss.generator_terms(built.discriminator(built.generator(z)), None).mean().backward()
    for network in (built.generator, built.discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any() or name.endswith("bias"), name
    built.generator.zero_grad()
    built.lazy_generator_terms(z).backward()
    assert all(p.grad.isfinite().all() for p in built.generator.parameters() if p.grad is not None)
    assert built.generator.mapping.net[0].weight.grad.any()


@real_package
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lucidrains_autocast(dtype):
    built = lucid()
    z = built.latent(3, rng())
    with torch.autocast("cpu", dtype):
        out = built.discriminator(built.generator(z).float())
    assert out.dtype == dtype
    out.float().sum().backward()
    for network in (built.generator, built.discriminator):
        assert all(p.grad.isfinite().all() for p in network.parameters())
