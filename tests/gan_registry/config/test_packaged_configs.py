"""The packaged configurations: valid, buildable, and with the numbers of their sources."""

from __future__ import annotations

import importlib.util
import re
from importlib import resources
from pathlib import Path

import pytest
import torch
from catalog_datasets import DATA

from gan_registry.backbones.attention import SelfAttention
from gan_registry.backbones.residual import DiscriminatorBlock, FirstBlock, GeneratorBlock
from gan_registry.config.load import load_config, packaged_configs
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.training.trainer import train

CHECKOUT = Path(__file__).resolve().parents[3]
FOLDERS = {"CIFAR10": "cifar10", "MNIST": "mnist", "colored_mnist": "mnist"}
COMPUTED = {"colored_digits", "gaussian", "gaussian_mixture", "gmm25", "random_network"}
POINTS = {"gaussian": 2, "gmm25": 2, "gaussian_mixture": 1024, "random_network": 1024}
CLASSES = {"CIFAR10": 10}
GREY = {"MNIST", "mnist_fmnist"}
OLD = {"colored_digits", "colored_mnist", "gaussian", "gmm25"}  # small as they are
SMALL = sorted({name for name in packaged_configs() if name.endswith("_small")} | OLD)
FULL = sorted(set(packaged_configs()) - set(SMALL))
SOURCES = r"Lee et al\. \(2021\)|Geçim and Yanık \(2025\)|Tang \(2020\)|Kaspar, Zhao and An"


@pytest.fixture(scope="module")
def plugins() -> PluginManager:
    return PluginManager()


def text_of(name: str) -> str:
    return resources.files("gan_registry.configs").joinpath(f"{name}.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", packaged_configs())
def test_a_config_is_valid_and_what_it_names_exists(name: str, plugins: PluginManager):
    config = load_config(name, claims=plugins.catalogs.claims)
    plugins.options.resolve(config.PLUGINS, where=name)
    assert config.DATA.name in plugins.catalogs.datasets
    assert config.MODEL.backbone in plugins.catalogs.backbones
    assert config.LOSS.adv_loss in plugins.catalogs.losses
    text = text_of(name)
    assert text.startswith("# "), "the first line says what it is"
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", FULL)
def test_a_config_at_full_scale_cites_its_source_and_has_a_small_one_beside_it(name: str):
    assert re.search(SOURCES, text_of(name).partition("DATA:")[0])
    family = re.sub(r"_(90|95|99)$", "", name)
    assert f"{family}_small" in SMALL
    full, small = load_config(name), load_config(f"{family}_small")
    for key in ("backbone", "g_cond_mtd", "d_cond_mtd"):
        assert getattr(full.MODEL, key) == getattr(small.MODEL, key)
    assert full.LOSS.adv_loss == small.LOSS.adv_loss
    assert full.DATA.name == small.DATA.name
    assert full.OPTIMIZATION.total_steps > 4 * small.OPTIMIZATION.total_steps


def test_the_page_names_every_config():
    page = (CHECKOUT / "docs" / "configs.md").read_text(encoding="utf-8")
    listed = page.partition("## Packaged configurations")[2]
    named = set(re.findall(r"`(\w+)`", listed)) - {"_small"}
    assert named <= set(packaged_configs())
    assert set(FULL) | OLD <= named


def sample_shape(config: Config) -> tuple[int, ...]:
    if config.DATA.name in POINTS:
        return (config.DATA.options.get("dim", POINTS[config.DATA.name]),)
    size = config.DATA.img_size
    return (1 if config.DATA.name in GREY else 3, size, size)


@pytest.mark.parametrize("name", [name for name in FULL if not re.search("9[09]$", name)])
def test_networks_at_full_depth_can_be_built(name: str, plugins: PluginManager):
    config = load_config(name, ["MODEL.g_conv_dim=4", "MODEL.d_conv_dim=4"])
    if config.MODEL.backbone == "stylegan2":
        for package in ("kornia", "stylegan2_pytorch"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
    shape = sample_shape(config)
    backbone = plugins.catalogs.backbones[config.MODEL.backbone](
        config, shape, CLASSES.get(config.DATA.name, 1), 0
    )
    y = torch.zeros(2, dtype=torch.int64) if backbone.conditional else None
    with torch.no_grad():
        x = backbone.generator(backbone.latent(2, torch.Generator().manual_seed(0)), y)
        assert x.shape == (2, *shape)
        assert backbone.realness(backbone.discriminator(x, y)).shape == (2,)


# ------------------------------------------------------------------ figures of the sources

# Lee et al. (2021), section 5.2, and the commands of the published code:
# steps, steps of phase 1, k, which logits.
PUBLISHED = {
    "cifar10_": (50_000, 40_000, 0.3, "eval"),
    "celeba_": (75_000, 60_000, 5.0, "eval"),
    "ffhq256_": (250_000, 200_000, 3.0, "eval"),
    "colored_mnist_9": (20_000, 15_000, 1.0, "train"),
    "mnist_fmnist_9": (20_000, 15_000, 5.0, "eval"),
}


@pytest.mark.parametrize("name", FULL)
def test_the_published_schedule(name: str):
    config = load_config(name)
    if not re.search(r"Lee et al\.", text_of(name)):
        pytest.skip("of another paper")
    (row,) = [row for prefix, row in PUBLISHED.items() if name.startswith(prefix)]
    steps, phase1, k, logits = row
    dia = config.PLUGINS["dia"]
    assert config.OPTIMIZATION.total_steps == steps
    assert dia["phase1"] * steps == pytest.approx(phase1)
    assert (dia["k"], dia["logits"], dia["record_every"]) == (k, logits, 100)


@pytest.mark.parametrize("share", [99, 95, 90])
def test_shares_of_table_5(share: int):
    for name in ("colored_mnist", "mnist_fmnist"):
        assert load_config(f"{name}_{share}").DATA.options["ratio"] == share / 100
    options = load_config(f"colored_mnist_{share}").DATA.options
    assert (options["split"], options["first"]) == ("auto", 10_000)


def test_ttur_of_the_artificial_data():
    for name in ("gaussians_1024", "random_network_1024"):
        settings = load_config(name).OPTIMIZATION
        assert (settings.g_lr, settings.d_lr, settings.d_first) == (1e-5, 1e-4, False)
        assert (settings.d_updates_per_step, settings.batch_size) == (5, 256)


@pytest.mark.parametrize("name", ["cifar10_mhgan", "cifar10_mixgan"])
def test_networks_of_tables_3_and_4(name: str, plugins: PluginManager):
    """Tang (2020): 256 channels in each layer of G and D, and convolutions alone."""
    config = load_config(name)
    shape = sample_shape(config)
    backbone = plugins.catalogs.backbones[config.MODEL.backbone](config, shape, 10, 0)
    seen: list[tuple[int, ...]] = []
    kinds = (GeneratorBlock, FirstBlock, DiscriminatorBlock)
    modules = [*backbone.generator.modules(), *backbone.discriminator.modules()]
    for block in (module for module in modules if isinstance(module, kinds)):
        block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    y = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        x = backbone.generator(backbone.latent(2, torch.Generator().manual_seed(0)), y)
        output = backbone.discriminator(x, y)
    sizes = [8, 16, 32, 16, 8, 8, 8]  # three blocks up; two down and two as they are
    assert seen == [(256, size, size) for size in sizes]
    assert output.shape == (2, 11)
    assert (backbone.z_dim, backbone.generator.chunk) == (80, 20)
    assert backbone.generator.shared.embedding_dim == 128
    assert not any(isinstance(module, SelfAttention) for module in modules)


@pytest.mark.parametrize(
    ("name", "networks", "classes"), [("cifar10_mixgan", 10, 1), ("cifar10_mixgan_small", 2, 5)]
)
def test_each_generator_of_a_mixture_makes_its_own_classes(name: str, networks: int, classes: int):
    options = load_config(name).PLUGINS["mix_gan"]
    assert (options["generators"], options["discriminators"]) == (networks, networks)
    assert options["classes"] == "subset"
    assert max(CLASSES["CIFAR10"] // networks, 1) == classes


# ------------------------------------------------------------------ two steps


@pytest.mark.parametrize("name", SMALL)
def test_a_small_config_takes_two_steps(name: str, plugins: PluginManager):
    dataset = load_config(name).DATA.name
    settings = [
        "OPTIMIZATION.total_steps=2", "OPTIMIZATION.batch_size=8", "RUN.device=cpu",
        "OPTIMIZATION.d_updates_per_step=1", "RUN.num_workers=0", "RUN.cpu_threads=1",
    ]  # fmt: skip
    if dataset not in COMPUTED:
        folder = DATA / FOLDERS.get(dataset, dataset)
        if not folder.is_dir():
            pytest.skip(f"there is no {folder}")
        settings.append(f"DATA.path={folder}")
    if dataset == "colored_mnist":  # of which the tests have the other split
        settings.append("DATA.options.split=test")
    if dataset in ("gaussian_mixture", "random_network"):
        settings.append("DATA.options.num_samples=100")
    config = load_config(name, settings, plugins.catalogs.claims)
    try:
        run = train(config, None, plugins, quiet=True)
    except UserError as error:
        if config.MODEL.backbone == "stylegan2" and "package" in str(error):
            pytest.skip(str(error))
        raise
    assert run.step == 2
    for parameter in run.generator.parameters():
        assert parameter.isfinite().all()
