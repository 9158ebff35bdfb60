from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gan_registry.config.load import (
    apply_settings,
    load_config,
    load_yaml,
    packaged_configs,
    read_config,
    set_key,
    validate_config,
)
from gan_registry.config.schema import Config
from gan_registry.config.settings import FREE_KEYS, flatten_settings
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.training.folder import write_config


def test_every_packaged_config_is_valid_and_its_options_are_known():
    table = PluginManager().options
    assert {"colored_digits", "gaussian", "gmm25"} <= set(packaged_configs())
    for name in packaged_configs():
        config = load_config(name)
        table.resolve(config.PLUGINS, where=name)


def test_defaults_are_studiogans():
    config = Config()
    assert (config.MODEL.z_dim, config.MODEL.g_conv_dim, config.MODEL.d_conv_dim) == (128, 64, 64)
    assert (config.OPTIMIZATION.d_updates_per_step, config.OPTIMIZATION.batch_size) == (5, 64)
    assert (config.OPTIMIZATION.beta1, config.OPTIMIZATION.beta2) == (0.5, 0.999)
    assert (config.OPTIMIZATION.g_lr, config.LOSS.adv_loss) == (0.0002, "vanilla")
    assert Config().PRE.apply_rflip is True
    loss = Config().LOSS
    assert (loss.gp_lambda, loss.r1_lambda, loss.cr_lambda) == (10.0, 10.0, 10.0)
    assert (loss.real_lambda, loss.fake_lambda) == (10.0, 10.0)  # of bCR
    assert (loss.g_lambda, loss.d_lambda, loss.radius) == (0.5, 20.0, 0.05)  # of zCR
    assert Config() == validate_config({}, "x")
    other = Config()
    other.MODEL.z_dim = 3
    assert Config().MODEL.z_dim == 128, "defaults must not be shared"


def test_free_keys_exist():
    assert set(flatten_settings(Config().model_dump())) >= FREE_KEYS


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"MODLE": {}}, "unknown section MODLE (did you mean 'MODEL'?)"),
        ({"MODEL": {"z_dmi": 3}}, "unknown key MODEL.z_dmi = 3 (did you mean 'z_dim'?)"),
        ({"MODEL": {"z_dim": 0}}, "MODEL.z_dim = 0 (input should be greater than or equal to 1)"),
        ({"MODEL": {"z_dim": "many"}}, "MODEL.z_dim = 'many'"),
        ({"MODEL": {"z_dim": True}}, "MODEL.z_dim = True (input should be a number)"),
        ({"MODEL": {"backbone": "mlp", "d_dropout": 1.0}}, "less than 1"),
        ({"MODEL": 5}, "MODEL = 5"),
        ({"OPTIMIZATION": {"g_lr": float("nan")}}, "finite"),
        ({"OPTIMIZATION": {"g_lr": float("inf")}}, "finite"),
        ({"OPTIMIZATION": {"g_lr": -1}}, "OPTIMIZATION.g_lr = -1"),
        ({"RUN": {"seed": -1}}, "RUN.seed = -1"),
        ({"RUN": {"seed": 2**64}}, "RUN.seed = 18446744073709551616"),  # never read again
        ({"RUN": {"device": "tpu"}}, "'auto', 'cpu', 'cuda' or 'mps'"),
        ({"PLUGINS": {"dia": 5}}, "PLUGINS.dia = 5"),
        ({"PLUGINS": 5}, "PLUGINS = 5"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_file(content, says):
    with pytest.raises(UserError) as caught:
        validate_config(content, "dir/My.yaml")
    text = str(caught.value)
    assert text.startswith("dir/My.yaml has a mistake: "), text
    assert says in text
    assert "\n" not in text


def test_several_mistakes_are_one_error():
    content = {"MODEL": {"z_dmi": 3, "z_dim": 0}, "LOSSES": {}, "RUN": {"num_eval": 0}}
    with pytest.raises(UserError, match=r"^x has 4 mistakes: ") as caught:
        validate_config(content, "x")
    for name in ("MODEL.z_dmi", "MODEL.z_dim", "LOSSES", "RUN.num_eval"):
        assert name in str(caught.value)


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file():
    with pytest.raises(UserError, match=r"^The command line has a mistake: RUN.seed = -1 from --s"):
        validate_config({"RUN": {"seed": -1}}, "x", flags={"RUN.seed": "--seed"})
    with pytest.raises(UserError, match=r"^x has 2 mistakes: .* from --seed"):
        validate_config(
            {"MODEL": {"z_dim": 0}, "RUN": {"seed": -1}}, "x", flags={"RUN.seed": "--seed"}
        )


def test_empty_sections_are_as_good_as_absent():
    assert validate_config({"MODEL": None, "PLUGINS": {"dia": None}}, "x") == Config()
    assert validate_config({"PLUGINS": None}, "x") == Config()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4), ("1E3", 1000.0), ("-2e-1", -0.2), ("0.5", 0.5), ("3", 3), ("abc", "abc"),
        ("[1, 2e0]", [1, 2.0]), ("{a: 1e-2}", {"a": 0.01}), ("", None), ("'5e-4'", "5e-4"),
        ("infinity", "infinity"), ("1e", "1e"), ("true", True),
    ],
)  # fmt: skip
def test_values_are_yaml_in_which_scientific_notation_works(text, value):
    assert load_yaml(text) == value
    assert apply_settings({}, [f"RUN.x={text}"]) == {"RUN": {"x": value}}


def test_scientific_notation_works_in_files_at_any_depth(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("OPTIMIZATION: {g_lr: 5e-4}\nDATA: {options: {ratio: 1e-1}}\n")
    config = load_config(str(path))
    assert config.OPTIMIZATION.g_lr == 5e-4
    assert config.DATA.options == {"ratio": 0.1}
    # and what was written is what is read again
    assert load_yaml(yaml.safe_dump({"x": 5e-05})) == {"x": 5e-05}


def test_settings_change_a_copy():
    content = {"MODEL": {"z_dim": 3}, "DATA": None}
    changed = apply_settings(content, ["MODEL.z_dim=4", "DATA.options.ratio=0.5", "A.b=x=y"])
    assert changed == {
        "MODEL": {"z_dim": 4},
        "DATA": {"options": {"ratio": 0.5}},
        "A": {"b": "x=y"},
    }
    assert content == {"MODEL": {"z_dim": 3}, "DATA": None}


@pytest.mark.parametrize(
    "setting", ["z_dim=3", "MODEL.z_dim", ".x=1", "MODEL.=1", "=1", "MODEL.x=["]
)
def test_a_setting_of_another_form_is_an_error(setting):
    with pytest.raises(UserError, match="--set"):
        apply_settings({}, [setting])


def test_a_setting_cannot_lead_through_a_value():
    with pytest.raises(UserError, match="MODEL is 5 in the config, which takes no keys"):
        set_key({"MODEL": 5}, "MODEL.z_dim", 3, "--x")


def test_claimed_keys_move_to_their_plugin():
    claims = {"LOSS.apply_topk": "topk.on", "LOSS.topk_nu": "topk.nu"}
    content = {"LOSS": {"apply_topk": True, "topk_nu": 0.5}, "PLUGINS": {"topk": {"nu": 0.7}}}
    config = validate_config(content, "x", claims)
    assert config.PLUGINS == {"topk": {"on": True, "nu": 0.7}}  # what is said there counts
    assert content["LOSS"] == {"apply_topk": True, "topk_nu": 0.5}
    with pytest.raises(UserError, match=r"LOSS.apply_topk = True .*no loaded plugin supports it"):
        validate_config(content, "x")


@pytest.mark.parametrize("given", [["topk"], {"topk": 3}])
def test_a_claimed_key_beside_a_section_that_is_none_is_a_mistake_of_the_section(given):
    claims = {"LOSS.apply_topk": "topk.on"}
    with pytest.raises(UserError, match=r"^x has a mistake: PLUGINS.* valid dictionary"):
        validate_config({"LOSS": {"apply_topk": True}, "PLUGINS": given}, "x", claims)


def test_a_name_finds_the_packaged_config_also_beside_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gmm25").write_text("not: it")
    name, where, _ = read_config("gmm25")
    assert (name, where) == ("gmm25", "the packaged config 'gmm25'")
    assert read_config("./gmm25")[2] == {"not": "it"}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("gmm52", "Unknown config 'gmm52'. Did you mean 'gmm25'?"),
        ("nowhere/x.yaml", "no config file nowhere/x.yaml"),
        ("x.yml", "Packaged configs, chosen by name: "),
        ("", "Unknown config ''"),
    ],
)
def test_a_config_that_is_not_there(source, says):
    with pytest.raises(UserError) as caught:
        read_config(source)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"MODEL: {z_dim: [", "not valid YAML"),
        (b"\tMODEL:", "not valid YAML"),
        (b"- a\n- b", "not a list"),
        (b"5", "not a int"),
        (b"\xff\xfe\xff", "not valid YAML: it is written in UTF-16"),
        (b"MODEL: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: bytes, says: str):
    path = tmp_path / "c.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=says) as caught:
        read_config(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_the_defaults(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_config(str(tmp_path / "c.yaml")) == Config()


def test_the_configuration_of_a_run_folder_begins_another_run(tmp_path: Path) -> None:
    """As it lies there, also where its name would lead out of the folder of all runs."""
    whole = Config()
    for given, name in (("mine", "mine"), ("../../elsewhere", "config")):
        write_config(tmp_path, given, whole, {}, {"dia": "0.1.0"})
        found, where, content = read_config(str(tmp_path / "config.yaml"))
        assert (found, where) == (name, str(tmp_path / "config.yaml"))
        assert validate_config(content, where) == whole
