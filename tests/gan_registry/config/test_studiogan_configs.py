"""StudioGAN's configurations: known to the last key, and either carried out or refused in full.

With `STUDIOGAN_ROOT` naming a checkout of github.com/POSTECH-CVLab/PyTorch-StudioGAN,
`python tests/gan_registry/test_studiogan_configs.py` writes docs/studiogan-configs.md anew, and the
tests compare that page with the checkout. Without it, they use files of their own.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gan_registry.catalogs import Catalogs
from gan_registry.config.load import load_config, load_yaml, validate_config
from gan_registry.config.schema import Config
from gan_registry.config.studiogan import (
    FEATURES,
    NAMES,
    UNSUPPORTED_KEYS,
    find_unsupported,
    known_keys,
    supported_part,
    value_of,
    without_absent,
)
from gan_registry.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = CHECKOUT / "docs" / "studiogan-configs.md"
DATA = Path(os.environ.get("DIAGAN_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
BEGIN = "<!-- begin generated: python tests/gan_registry/config/test_studiogan_configs.py -->"
END = "<!-- end generated -->"
ROOT = os.environ.get("STUDIOGAN_ROOT")

# ------------------------------------------------------------------ the page


class Row(NamedTuple):
    """What becomes of one file of StudioGAN's."""

    folder: str
    name: str
    backbone: str
    unsupported: tuple[str, ...]
    notes: tuple[str, ...]


def read_rows(root: Path) -> list[Row]:
    """Classifies the files under `root`/src/configs; each is valid or refused as a whole."""
    rows = []
    for path in sorted((root / "src" / "configs").glob("*/*.yaml")):
        content = load_yaml(path.read_text(encoding="utf-8"))
        given = without_absent(content)
        found = find_unsupported(given)
        refused = ""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                load_config(str(path))
            except UserError as error:
                refused = str(error)
        assert bool(refused) == bool(found), f"{path.name}: {refused}"
        assert all(str(item) in refused for item in found), path.name
        rows.append(
            Row(
                path.parent.name,
                path.stem,
                str(value_of(given, "MODEL.backbone") or "resnet"),
                tuple(_short(item.key, item.value) for item in found),
                tuple(_notes(given, bool(caught))),
            )
        )
    return rows


def _short(key: str, value: Any) -> str:
    return f"`{key}`" if value is True else f"`{key}: {value}`"


def _notes(given: dict[str, Any], renamed: bool) -> Iterator[str]:
    if renamed:
        name = value_of(given, "DATA.name")
        yield f"`DATA.name: {name}` is taken for {NAMES[name]}"
    if value_of(given, "LOSS.lecam_lambda") and not value_of(given, "LOSS.apply_lecam"):
        yield "sets `lecam_lambda` but not `apply_lecam`: no LeCam, there as here"
    if value_of(given, "MODEL.backbone") == "stylegan2" and not find_unsupported(given):
        yield "D has no minibatch standard deviation"


def page_tables(rows: list[Row]) -> str:
    """The counts and the table of files as Markdown."""
    supported = [row for row in rows if not row.unsupported]
    parts = [
        f"{len(supported)} of {len(rows)} files are supported as they are:",
        "",
        "| backbone | files | supported |",
        "| --- | --- | --- |",
    ]
    yes = Counter(row.backbone for row in supported)
    parts += [
        f"| `{backbone}` | {count} | {yes[backbone]} |"
        for backbone, count in sorted(Counter(row.backbone for row in rows).items())
    ]
    reasons = Counter(reason for row in rows for reason in row.unsupported)
    parts += ["", "What the others ask for:", "", "| not supported | files |", "| --- | --- |"]
    parts += [
        f"| {reason} | {count} |"
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    parts += ["", "File by file, as they lie under `src/configs`:", ""]
    parts += ["| file | supported | what is not | notes |", "| --- | --- | --- | --- |"]
    parts += [
        f"| {row.folder}/{row.name} | {'no' if row.unsupported else 'yes'} | "
        f"{', '.join(row.unsupported)} | {'; '.join(row.notes)} |"
        for row in rows
    ]
    return "\n".join([*parts, ""])


def with_tables(text: str, rows: list[Row]) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{page_tables(rows)}\n{END}{after}"


# ------------------------------------------------------------------ the checkout

needs_checkout = pytest.mark.skipif(ROOT is None, reason="STUDIOGAN_ROOT is not set")


@pytest.fixture(scope="module")
def checkout() -> Path:
    assert ROOT is not None
    return Path(ROOT)


@needs_checkout
def test_the_page_is_that_of_the_checkout(checkout: Path):
    rows = read_rows(checkout)
    assert len(rows) == 196
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_tables(text, rows), (
        "run: python tests/gan_registry/test_studiogan_configs.py"
    )


@needs_checkout
def test_every_key_of_config_py_is_known_and_defaults_agree(checkout: Path):
    ours = Config().model_dump()
    source = (checkout / "src" / "config.py").read_text(encoding="utf-8")
    base = source.split("def load_base_cfgs")[1].split("self.super_cfgs")[0]
    assigned = re.findall(r"^        self\.([A-Z]+)\.(\w+) = (.+)$", base, re.MULTILINE)
    assert len(assigned) > 100
    for section, key, value in assigned:
        if section == "MISC":  # not open to a file
            continue
        assert key in known_keys(section), f"{section}.{key}"
        default = load_yaml(value)
        if key not in UNSUPPORTED_KEYS[section] and default not in ("N/A", ["N/A"]):
            if key in ("g_init", "d_init"):  # "default" is each backbone's own; "ortho" on theirs
                default = "default"
            if key == "num_classes":  # 0 leaves it to the data
                default = 0
            assert ours[section][key] == default, f"{section}.{key}"


@needs_checkout
def test_what_is_called_supported_can_be_built(checkout: Path):
    catalogs = Catalogs()
    built = 0
    for row in read_rows(checkout):
        if row.unsupported or row.backbone == "stylegan2":  # which needs its package
            continue
        path = checkout / "src" / "configs" / row.folder / f"{row.name}.yaml"
        config = load_config(str(path), ["MODEL.g_conv_dim=1", "MODEL.d_conv_dim=1"])
        assert config.DATA.name in catalogs.datasets
        assert config.LOSS.adv_loss in catalogs.losses
        shape = (3, config.DATA.img_size, config.DATA.img_size)
        factory = catalogs.backbones[config.MODEL.backbone]
        factory(config, shape, load_yaml(path.read_text())["DATA"]["num_classes"], 0)
        built += 1
    assert built > 50


# ------------------------------------------------------------------ files of our own

# The keys and values of StudioGAN's, in our own words.
SNGAN = """
DATA: {name: CIFAR10, img_size: 32, num_classes: 10}
MODEL: {g_cond_mtd: cBN, d_cond_mtd: PD, apply_d_sn: true}
LOSS: {adv_loss: hinge}
"""
SUPPORTED = {
    "sngan": SNGAN,
    "dcgan": """
DATA: {name: CIFAR10, img_size: 32, num_classes: 10}
MODEL: {backbone: deep_conv, g_conv_dim: N/A, d_conv_dim: N/A, z_dim: 100}
OPTIMIZATION: {beta1: 0.5, beta2: 0.999, d_updates_per_step: 2}
""",
    "wgan-wc": "LOSS: {adv_loss: wasserstein, apply_wc: true, wc_bound: 0.01}",
    "wgan-gp": "LOSS: {adv_loss: wasserstein, apply_gp: true, gp_lambda: 10.0}",
    "lgan": "LOSS: {adv_loss: vanilla, apply_maxgp: true, maxgp_lambda: 10.0}",
    "acgan": """
MODEL: {g_cond_mtd: cBN, d_cond_mtd: AC, aux_cls_type: W/O, d_embed_dim: N/A}
LOSS: {adv_loss: hinge, cond_lambda: 1.0, tac_gen_lambda: N/A}
""",
    "mhgan": """
MODEL: {backbone: big_resnet, g_cond_mtd: cBN, d_cond_mtd: MH, apply_g_sn: true, apply_d_sn: true,
        apply_attn: true, attn_g_loc: [2], attn_d_loc: [1], z_dim: 80, g_shared_dim: 128,
        apply_g_ema: true, g_ema_decay: 0.9999, g_ema_start: 1000}
LOSS: {adv_loss: MH, mh_lambda: 0.05, apply_fm: true, fm_lambda: 1.0}
""",
    "cr": """
LOSS: {adv_loss: hinge, apply_cr: true, cr_lambda: 10.0}
AUG: {cr_aug_type: cr}
""",
    "icr": """
LOSS: {adv_loss: hinge, apply_bcr: true, real_lambda: 10.0, fake_lambda: 10.0,
       apply_zcr: true, radius: 0.05, g_lambda: 0.5, d_lambda: 20.0}
AUG: {bcr_aug_type: bcr}
""",
    "lecam without its switch": "LOSS: {lecam_lambda: 3e-7, lecam_ema_start_iter: 1000}",
    "stylegan2": """
DATA: {name: FFHQ, img_size: 256, num_classes: 1}
MODEL: {backbone: stylegan2, g_act_fn: Auto, d_act_fn: Auto, z_dim: 512, w_dim: 512,
        g_conv_dim: N/A, d_conv_dim: N/A, apply_g_ema: true}
LOSS: {adv_loss: logistic, apply_r1_reg: true, r1_lambda: 1, r1_place: outside_loop}
OPTIMIZATION: {beta1: 0, beta2: 0.99, d_first: false, d_updates_per_step: 1}
STYLEGAN: {g_reg_interval: 4, d_reg_interval: 16, mapping_network: 8, style_mixing_p: 0.9,
           g_ema_kimg: 10, g_ema_rampup: N/A, apply_pl_reg: true, pl_weight: 2,
           d_architecture: resnet, d_epilogue_mbstd_group_size: 4}
""",
}
UNSUPPORTED = {
    "reacgan": (
        """
MODEL: {backbone: big_resnet, g_cond_mtd: cBN, d_cond_mtd: D2DCE, normalize_d_embed: true,
        d_embed_dim: 512, aux_cls_type: TAC}
LOSS: {adv_loss: hinge, cond_lambda: 0.5, m_p: 0.98, temperature: 0.25, tac_gen_lambda: 0.25,
       tac_dis_lambda: 0.25}
AUG: {apply_diffaug: true, diffaug_type: diffaug}
""",
        {
            "MODEL.d_cond_mtd = 'D2DCE' with MODEL.d_embed_dim = 512, LOSS.m_p = 0.98, "
            "LOSS.temperature = 0.25 (use W/O, AC, PD or MH)",
            "MODEL.aux_cls_type = 'TAC' with LOSS.tac_gen_lambda = 0.25, "
            "LOSS.tac_dis_lambda = 0.25 (set it to W/O)",
            "AUG.apply_diffaug = True with AUG.diffaug_type = 'diffaug' (set it to false)",
        },
    ),
    "stylegan3": (
        """
MODEL: {backbone: stylegan3, g_cond_mtd: cAdaIN, d_cond_mtd: SPD, g_act_fn: Auto, d_act_fn: Auto}
LOSS: {adv_loss: logistic, apply_r1_reg: true, r1_lambda: 0.5, r1_place: outside_loop}
AUG: {apply_ada: true, ada_target: 0.6}
STYLEGAN: {stylegan3_cfg: stylegan3-r, blur_init_sigma: 10}
""",
        {
            "MODEL.backbone = 'stylegan3' with STYLEGAN.stylegan3_cfg = 'stylegan3-r', "
            "STYLEGAN.blur_init_sigma = 10 (use stylegan2)",
            "MODEL.g_cond_mtd = 'cAdaIN' (use W/O, or MODEL.backbone=nvlabs)",
            "MODEL.d_cond_mtd = 'SPD' (use W/O, or MODEL.backbone=nvlabs)",
            "AUG.apply_ada = True with AUG.ada_target = 0.6 (set it to false)",
        },
    ),
    "augmentation of another kind": (
        "{LOSS: {apply_cr: true}, AUG: {cr_aug_type: diffaug}}",
        {"AUG.cr_aug_type = 'diffaug' (use cr)"},
    ),
    "style methods elsewhere": (
        "MODEL: {g_cond_mtd: cAdaIN, d_cond_mtd: SPD}",
        {"MODEL.g_cond_mtd = 'cAdaIN' (use cBN)", "MODEL.d_cond_mtd = 'SPD' (use PD)"},
    ),
    "another D of stylegan2": (
        "{MODEL: {backbone: stylegan2}, STYLEGAN: {d_architecture: orig}}",
        {"STYLEGAN.d_architecture = 'orig' (use resnet, or MODEL.backbone=nvlabs)"},
    ),
    "optimiser": (
        "OPTIMIZATION: {type_: SGD, momentum: 0.9}",
        {"OPTIMIZATION.type_ = 'SGD' with OPTIMIZATION.momentum = 0.9 (use Adam)"},
    ),
}


def refusal(content: Any, **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        validate_config(content, "x", **keys)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_supported_file_is_taken_as_it_is(name: str):
    content = load_yaml(SUPPORTED[name])
    config = validate_config(content, name)
    for section, values in content.items():
        for key, value in values.items():
            if value != "N/A" and key in type(getattr(config, section)).model_fields:
                assert getattr(getattr(config, section), key) == value
    # what a run writes into its folder is read again
    assert validate_config(config.model_dump(), "again") == config


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_file_is_refused_with_all_that_it_asks_for(name: str):
    text, says = UNSUPPORTED[name]
    error = refusal(load_yaml(text))
    assert error.startswith("x asks for what is supported by StudioGAN, but not here: ")
    for item in says:
        assert item in error
    assert error.count(" = ") == sum(item.count(" = ") for item in says), "and for nothing else"
    assert error.endswith("Change these, or train it with StudioGAN itself.")


def put(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    section, _, name = key.partition(".")
    content.setdefault(section, {})[name] = value
    return content


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: f"{feature.key} {feature.on}")
def test_each_feature_is_refused_when_on_and_passed_over_when_off(feature):
    off: dict[str, Any] = {}
    for key in feature.parameters:
        put(off, key, 0.5)
    assert validate_config(off, "x") == Config(), "parameters of what is off"
    for value in [*feature.off, "N/A", *([None] if not feature.on else [])]:
        assert validate_config(put({**off}, feature.key, value), "x") == Config()
    for value in feature.on or (True,):
        text = refusal(put(off, feature.key, value))
        assert f"{feature.key} = {value!r}" in text
        for key in feature.parameters:
            assert f"{key} = 0.5" in text


def test_na_means_absent_for_known_keys_only():
    names = {s: dict.fromkeys(known_keys(s), "N/A") for s in Config.model_fields if s != "PLUGINS"}
    assert validate_config(names, "x") == Config()
    lists = {"MODEL": {"attn_g_loc": ["N/A"], "attn_d_loc": ["N/A"]}}
    assert validate_config(lists, "x") == Config()
    assert "unknown key MODEL.z_dmi = 'N/A'" in refusal({"MODEL": {"z_dmi": "N/A"}})
    options = {"DATA": {"options": {"a": "N/A"}}, "PLUGINS": {"p": {"b": "N/A"}}}
    config = validate_config(options, "x")
    assert config.DATA.options == {"a": "N/A"}
    assert config.PLUGINS == {"p": {"b": "N/A"}}


def test_slips_and_what_is_unsupported_are_one_error():
    text = refusal(load_yaml("{MODEL: {z_dmi: 3, info_type: both}, AUG: {aply_ada: true}}"))
    assert text.startswith("x has 2 mistakes: unknown key MODEL.z_dmi = 3 (did you mean 'z_dim'?)")
    assert "unknown key AUG.aply_ada = True (did you mean 'apply_ada'?)" in text
    assert "It also asks for what is supported by StudioGAN, but not here: MODEL.info_type" in text


def test_a_flag_is_named():
    text = refusal({"AUG": {"apply_apa": True}}, flags={"AUG.apply_apa": "--set AUG.apply_apa=1"})
    assert text.startswith("The command line asks for ")
    assert "from --set AUG.apply_apa=1" in text
    both = {"AUG": {"apply_apa": True, "apply_ada": True}}
    assert refusal(both, flags={"AUG.apply_apa": "--set AUG.apply_apa=1"}).startswith("x asks for ")


TOPK = {"LOSS": {"apply_topk": True, "topk_gamma": 0.99, "topk_nu": 0.5}}


def test_a_plugin_may_take_on_what_the_host_does_not_support():
    catalogs = Catalogs()
    catalogs.claim("LOSS.apply_topk", "best.enabled")
    catalogs.claim("LOSS.topk_nu", "best.share")
    assert "LOSS.apply_topk = True with LOSS.topk_gamma = 0.99, LOSS.topk_nu = 0.5" in refusal(TOPK)
    assert "no loaded plugin supports it" in refusal(TOPK)
    text = refusal(TOPK, claims=catalogs.claims)
    assert "LOSS.topk_gamma = 0.99 (the plugin that supports LOSS.apply_topk" in text
    assert "apply_topk = True" not in text
    catalogs.claim("LOSS.topk_gamma", "best.decay")
    config = validate_config(TOPK, "x", catalogs.claims)
    assert config.PLUGINS == {"best": {"enabled": True, "decay": 0.99, "share": 0.5}}
    off = validate_config({"LOSS": {"apply_topk": False, "topk_nu": "N/A"}}, "x", catalogs.claims)
    assert off.PLUGINS == {"best": {"enabled": False}}


def test_a_plugin_may_bring_a_backbone_that_the_host_lacks():
    content = load_yaml("MODEL: {backbone: stylegan3, g_cond_mtd: cAdaIN, d_cond_mtd: SPD}")
    refusal(content)
    config = validate_config(content, "x", backbones=["stylegan3"])
    assert (config.MODEL.backbone, config.MODEL.d_cond_mtd) == ("stylegan3", "SPD")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("LOSS: {adv_loss: MH}", "need each other"),
        ("MODEL: {d_cond_mtd: MH}", "need each other"),
        ("LOSS: {adv_loss: wasserstein}", "set LOSS.apply_gp or LOSS.apply_wc to true"),
        ("LOSS: {apply_cr: true}", "set AUG.cr_aug_type=cr"),
        ("{LOSS: {apply_bcr: true}, AUG: {bcr_aug_type: W/O}}", "set AUG.bcr_aug_type=bcr"),
        ("MODEL: {backbone: stylegan2, apply_d_sn: true}", "set it to false"),
        ("MODEL: {backbone: stylegan2, g_act_fn: ELU}", "set it to Auto"),
        ("MODEL: {backbone: stylegan2, g_cond_mtd: cBN}", "set it to W/O"),
        ("{MODEL: {backbone: stylegan2}, LOSS: {apply_r1_reg: true}}", "r1_place=outside_loop"),
        ("MODEL: {backbone: mlp, g_cond_mtd: cBN}", "g_cond_mtd = 'cBN' is not for mlp (set it to"),
        ("MODEL: {backbone: dcgan, d_cond_mtd: PD}", "is not for dcgan (set it to W/O)"),
        ("MODEL: {backbone: sngan, apply_attn: true}", "is not for sngan (set it to false)"),
        ("MODEL: {backbone: ssgan, d_act_fn: ELU}", "is not for ssgan (set it to ReLU)"),
        ("MODEL: {backbone: resnet, d_dropout: 0.5}", "is not for resnet (set it to 0.0)"),
        ("MODEL: {d_bn: true}", "is not for resnet (set it to false)"),
    ],
)
def test_values_that_exclude_each_other_are_a_mistake(text: str, says: str):
    error = refusal(load_yaml(text))
    assert error.startswith("x has a mistake: ")
    assert says in error


def test_keys_that_a_backbone_passes_over_may_stand_at_their_defaults():
    model = {"d_dropout": 0.0, "g_bn": True, "d_bn": False, "apply_attn": False}
    for backbone in ("mlp", "dcgan", "cnn_gan", "resnet", "sngan", "stylegan2"):
        validate_config({"MODEL": {"backbone": backbone, **model}}, "x")
    plugins_own = {"backbone": "tiny", "d_dropout": 0.5, "apply_attn": True}
    assert validate_config({"MODEL": plugins_own}, "x", backbones=["tiny"]).MODEL.apply_attn


def test_a_wasserstein_loss_may_rely_on_spectral_norm():
    validate_config({"LOSS": {"adv_loss": "wasserstein"}, "MODEL": {"apply_d_sn": True}}, "x")
    validate_config({"LOSS": {"adv_loss": "wasserstein"}, "MODEL": {"backbone": "sngan"}}, "x")


def test_a_slip_of_studiogans_own_is_mended():
    with pytest.warns(UserWarning, match="CIFAR1000 is taken for CIFAR100"):
        config = validate_config({"DATA": {"name": "CIFAR1000"}}, "x")
    assert config.DATA.name == "CIFAR100"


@pytest.mark.parametrize(
    "content",
    [
        {"MODEL": 5},
        {"MODEL": {"backbone": ["mlp"]}},
        {"AUG": ["apply_ada"]},
        {"LOSS": {"adv_loss": ["MH"]}},
        {"x": None},
    ],
)
def test_what_is_no_configuration_at_all_crashes_nothing(content):
    find_unsupported(content)
    supported_part(content)
    if content != {"x": None}:  # an empty section is as good as absent
        refusal(content)


def test_a_studiogan_file_trains_unchanged(tmp_path: Path, monkeypatch):
    source = DATA / "cifar10" / "train"
    if not source.is_dir():
        pytest.skip(f"there is no {source}")
    from gan_registry.cli.main import main

    for folder in source.iterdir():  # a few images of each class, where they lie
        (tmp_path / "data" / "train" / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:8]:
            (tmp_path / "data" / "train" / folder.name / image.name).symlink_to(image)
    monkeypatch.chdir(tmp_path)
    Path("SNGAN.yaml").write_text(SNGAN, encoding="utf-8")
    settings = [
        "MODEL.g_conv_dim=4", "MODEL.d_conv_dim=4", "OPTIMIZATION.d_updates_per_step=1",
        "OPTIMIZATION.batch_size=16",
    ]  # fmt: skip
    assert main([
        "train", "--config", "SNGAN.yaml", "--data", "data", "--sampler", "dia", "--out", "run",
        "--steps", "5", "--num-eval", "32", "--quiet", "--device", "cpu",
        "--dia-record-every", "1", "--dia-aux", "none",
        *(word for setting in settings for word in ("--set", setting)),
    ]) == 0  # fmt: skip
    assert (tmp_path / "run" / "result.json").is_file()
    assert (tmp_path / "run" / "diagnosis.safetensors").is_file()


if __name__ == "__main__":
    assert ROOT, "set STUDIOGAN_ROOT to a checkout of PyTorch-StudioGAN"
    written = with_tables(PAGE.read_text(encoding="utf-8"), read_rows(Path(ROOT)))
    PAGE.write_text(written, encoding="utf-8")
