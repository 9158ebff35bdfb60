from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gan_registry import __version__, losses, state_files
from gan_registry.cli import main as main_module
from gan_registry.cli.main import main, run_command
from gan_registry.dispatch import PluginFailure
from gan_registry.errors import PluginError, UserError
from gan_registry.training.checkpoint import checkpoint_steps

TINY = [
    "--steps", "6", "--num-eval", "200", "--device", "cpu", "--set", "MODEL.hidden_dim=8",
    "--set", "DATA.options.num_samples=200", "--set", "RUN.print_freq=2",
    "--set", "OPTIMIZATION.batch_size=16",
]  # fmt: skip


@pytest.fixture
def call(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; returns its exit code, what it printed, and what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse's own way
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def refused(call) -> Callable[..., str]:
    """Runs a command that must be refused in one line with exit code 2; returns the line."""

    def run(*arguments: str) -> str:
        code, _, err = call(*arguments)
        assert code == 2, err
        assert len(err.splitlines()) == 1, err
        assert "Traceback" not in err
        assert "error: " in err
        return err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of the command line."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "--config", "gmm25", *TINY, "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["--version"], ["list"], ["plugins"], ["sample", "--help"]],
)
def test_help_answers_without_torch(arguments):
    code = (
        "import sys\nfrom gan_registry.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'sklearn', 'scipy', 'tensorboard'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("module", "command"), [("gan_registry", "gan-registry"), ("diagan_plugin", "diagan")]
)
def test_the_module_is_the_command(module, command):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{command} {__version__}\n")


def test_training_leaves_a_whole_run_folder_and_says_where(finished: Path):
    names = {path.name for path in finished.iterdir()}
    assert {
        "config.yaml", "metrics.jsonl", "samples", "checkpoints", "result.json", "report.html",
    } <= names  # fmt: skip
    result = json.loads((finished / "result.json").read_text())
    expected = {"config": "gmm25", "sampler": "uniform", "seed": 0, "steps": 6}
    assert expected.items() <= result.items()
    assert result["seconds"] > 0
    assert {"modes_covered", "high_quality"} <= result["metrics"].keys()
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert (config["NAME"], config["MODEL"]["hidden_dim"]) == ("gmm25", 8)
    assert "torch" in config["VERSIONS"]


def test_a_finished_run_started_again_says_so_and_shows_its_result(call, finished: Path):
    before = (finished / "result.json").read_bytes()
    stamp = (finished / "result.json").stat().st_mtime_ns
    code, out, err = call("train", "--config", "gmm25", *TINY, "--out", str(finished))
    assert code == 0
    assert "complete after 6 steps" in err
    assert "modes_covered" in out
    assert f"report  {finished / 'report.html'}" in out
    assert (finished / "result.json").read_bytes() == before
    assert (finished / "result.json").stat().st_mtime_ns == stamp, "measured again in vain"


def test_what_is_missing_of_a_finished_run_is_made_good(call, tmp_path: Path):
    arguments = ["train", "--config", "gmm25", *TINY, "--quiet", "--out", str(tmp_path / "run")]
    assert call(*arguments)[0] == 0
    result = tmp_path / "run" / "result.json"
    first = json.loads(result.read_text())
    result.unlink()  # as if killed while evaluating
    assert call(*arguments)[0] == 0
    assert json.loads(result.read_text()) == first
    assert call(*arguments, "--num-eval", "50")[0] == 0
    assert json.loads(result.read_text())["num_generated"] == 50


TRAIN = ["train", "--config", "gmm25"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], None),
        (["tarin"], "'train'"),
        (["train"], "--config"),
        (["train", "--config", "gmm52"], "Did you mean 'gmm25'?"),
        (["train", "--config", "nowhere/c.yaml"], "no config file nowhere/c.yaml"),
        ([*TRAIN, "--stepz", "3"], "unrecognized arguments: --stepz"),
        ([*TRAIN, "--step", "3"], "unrecognized arguments: --step"),  # nothing is guessed
        ([*TRAIN, "--steps", "many"], "--steps"),
        ([*TRAIN, "--steps", "0"], "OPTIMIZATION.total_steps = 0 from --steps"),
        ([*TRAIN, "--seed", "-1"], "RUN.seed = -1 from --seed"),
        ([*TRAIN, "--num-eval", "0"], "RUN.num_eval = 0 from --num-eval"),
        ([*TRAIN, "--device", "gpu"], "from --device (input should be 'auto', 'cpu'"),
        ([*TRAIN, "--sampler", "dai"], "Unknown sampler 'dai'. Did you mean 'dia'?"),
        ([*TRAIN, "--samples", "drz"], "Unknown post-processor 'drz'. Did you mean 'drs'?"),
        ([*TRAIN, "--set", "MODEL.backbone=mpl"], "Unknown backbone 'mpl'. Did you mean 'mlp'?"),
        ([*TRAIN, "--set", "LOSS.adv_loss=hing"], "Unknown loss 'hing'. Did you mean 'hinge'?"),
        ([*TRAIN, "--set", "DATA.name=gmm24"], "Unknown dataset 'gmm24'. Did you mean 'gmm25'?"),
        ([*TRAIN, "--set", "MODEL.z_dmi=3"], "unknown key MODEL.z_dmi = 3 (did you mean 'z_dim'?)"),
        ([*TRAIN, "--set", "MODLE.z_dim=3"], "unknown section MODLE (did you mean 'MODEL'?)"),
        ([*TRAIN, "--set", "MODLE.z_dim=3"], "The command line has a mistake"),
        ([*TRAIN, "--set", "z_dim=3"], "--set 'z_dim=3' must be of the form SECTION.key=value"),
        ([*TRAIN, "--set", "DATA=5", "--data", "x"], "DATA"),
        ([*TRAIN, "--set", "PLUGINS.dia.kk=5"], "Unknown option 'kk'"),
        ([*TRAIN, "--set", "PLUGINS.dai.k=5"], "Did you mean 'dia'?"),
        ([*TRAIN, "--dia-k", "many"], "--dia-k"),
        ([*TRAIN, "--dia-phase1", "1.5"], "at most 1"),
        ([*TRAIN, "--set", "DATA.options.rare_share=2"], "rare_share"),
        (["train", "--config", "colored_digits", "--set", "DATA.options.ratio=1.5"], "ratio"),
        (["train", "--config", "colored_digits", "--set", "DATA.options.ratio=-0.1"], "ratio"),
        (["train", "--config", "colored_digits", "--set", "MODEL.backbone=mlp"], "dcgan"),
        (
            ["train", "--config", "colored_digits", "--set", "OPTIMIZATION.batch_size=4000"],
            "1797 samples, fewer than a batch of 4000",
        ),
        (
            ["train", "--config", "colored_digits", "--set", "DATA.name=colored_mnist", "--set",
             "DATA.img_size=28", "--set", "DATA.options={}", "--data", "/nowhere/mnist"],
            "/nowhere/mnist",
        ),
        (["evaluate", "--run", "/nowhere"], "no folder /nowhere"),
        (["sample", "--run", "/nowhere", "--num", "3", "--out", "x.npz"], "no folder /nowhere"),
        (["compare"], "RUN"),
        (["compare", "/nowhere"], "no folder /nowhere"),
        (["list", "datasats"], "Did you mean 'datasets'?"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_names_the_thing_and_the_remedy(
    refused, call, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    if says is None:  # the bare command shows its help
        code, out, _ = call()
        assert code == 2
        assert "usage: gan-registry" in out
        return
    assert says in refused(*arguments)
    assert list(tmp_path.iterdir()) == [], "nothing may be left behind"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MODEL: {z_dim: [", "not valid YAML"),
        ("- 1", "must hold sections"),
        ("RUN: 5", "RUN is 5 in the config, which takes no keys"),
        ("MODEL: {z_dim: 0, what: 1}\nX: {}", "has 3 mistakes"),
        ("PLUGINS: {dia: {record: swep}}", "Did you mean"),
    ],
)
def test_a_bad_config_file_is_named(refused, tmp_path: Path, text: str, says: str):
    path = tmp_path / "Mine.yaml"
    path.write_text(text)
    line = refused("train", "--config", str(path), "--seed", "1")
    assert says in line
    assert "Mine.yaml" in line or "RUN is 5" in line


def test_a_folder_that_holds_a_different_run_says_what_differs(refused, finished: Path):
    out = ["--out", str(finished)]
    line = refused("train", "--config", "gmm25", *TINY, *out, "--seed", "7")
    assert "RUN.seed is 0 there and 7 now" in line
    assert "Choose another folder with --out" in line
    line = refused("train", "--config", "gmm25", *TINY, *out, "--diagnose")
    assert "PLUGINS.dia.diagnose is False there and True now" in line
    line = refused("train", "--config", "colored_digits", *out)
    assert "more" in line, "a long list is cut short"


def test_how_a_run_is_carried_out_may_change(call, finished: Path):
    free = ["--set", "RUN.num_workers=1", "--set", "RUN.print_freq=3"]
    code, _, err = call("train", "--config", "gmm25", *TINY, *free, "--out", str(finished))
    assert code == 0, err


def test_a_foreign_folder_or_a_file_is_left_alone(refused, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    line = refused(*TRAIN, "--out", str(tmp_path / "folder"))
    assert "is not empty and holds no run" in line
    assert "is a file; choose a folder" in refused(*TRAIN, "--out", str(tmp_path / "file"))
    assert "Not a directory" in refused(*TRAIN, *TINY, "--out", str(tmp_path / "file" / "x"))
    assert "too long" in refused(*TRAIN, *TINY, "--out", str(tmp_path / ("x" * 300)))
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_disk_that_takes_nothing_is_one_line(refused, tmp_path, monkeypatch, number):
    """Emulated, as a test may run as root, whom no permission binds."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("gan_registry.files.tempfile.mkstemp", refuse)
    line = refused(*TRAIN, *TINY, "--quiet", "--out", str(tmp_path / "run"))
    assert os.strerror(number) in line
    assert str(tmp_path / "run") in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_disk_that_fills_up_while_training_loses_nothing_written(
    refused, call, tmp_path, monkeypatch
):
    real = state_files.write_tensors

    def full(path: Path, *rest: Any) -> None:
        if "step-00000006" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, *rest)

    monkeypatch.setattr(state_files, "write_tensors", full)
    arguments = [*TRAIN, *TINY, "--set", "RUN.save_freq=3", "--out", str(tmp_path / "run")]
    line = refused(*arguments, "--quiet")
    assert "No space left" in line
    assert checkpoint_steps(tmp_path / "run") == [3]
    assert not list(tmp_path.rglob(".*.tmp"))
    monkeypatch.undo()
    code, _, err = call(*arguments)
    assert code == 0
    assert "continuing from step 3 of 6" in err


def test_a_dataset_that_changed_since_the_checkpoint(refused, finished: Path, monkeypatch):
    from gan_registry.datasets.base import Dataset

    monkeypatch.setattr(Dataset, "fingerprint", lambda self: "0" * 64)
    line = refused("train", "--config", "gmm25", *TINY, "--out", str(finished))
    assert "has changed since the checkpoint of step 6" in line


def test_a_damaged_checkpoint_is_named(refused, tmp_path: Path):
    folder = tmp_path / "run"
    assert main([*TRAIN, *TINY, "--quiet", "--out", str(folder)]) == 0
    path = folder / "checkpoints" / "step-00000006.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    for command in (
        [*TRAIN, *TINY, "--out", str(folder)],
        ["evaluate", "--run", str(folder)],
        ["sample", "--run", str(folder), "--num", "3", "--out", str(tmp_path / "x.npz")],
    ):
        line = refused(*command)
        assert f"{path} is damaged" in line
    assert not (tmp_path / "x.npz").exists()


def test_a_plugin_that_was_disabled_is_mentioned_where_it_is_missed(refused, monkeypatch):
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "dia")
    for arguments in (["--sampler", "dia"], ["--samples", "drs"], ["--diagnose"]):
        line = refused(*TRAIN, *arguments)
        assert "dia (disabled by GAN_REGISTRY_DISABLE)" in line


def test_a_dry_run_describes_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(*TRAIN, *TINY, "--dry-run", "--seed", "3")
    assert code == 0
    assert "runs/gmm25-uniform-seed3" in out
    assert "hidden_dim: 8" in out
    assert "estimate, in all" in out
    assert list(tmp_path.iterdir()) == []


def test_samples_are_an_array_or_images_and_follow_from_the_seed(call, refused, finished, tmp_path):
    def sample(name: str, *more: str) -> np.ndarray:
        out = tmp_path / name
        code, text, err = call(
            "sample", "--run", str(finished), "--num", "7", "--out", str(out), *more
        )
        assert code == 0, err
        assert f"wrote 7 samples to {out}" in text
        return np.load(out)["x"]

    first, again, other = sample("a.npz"), sample("b.npz"), sample("c.npz", "--seed", "2")
    assert first.shape == (7, 2)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    base = ["sample", "--run", str(finished), "--out", str(tmp_path / "x.npz")]
    assert "--num is 0" in refused(*base, "--num", "0")
    assert "--seed is -1" in refused(*base, "--num", "3", "--seed", "-1")
    assert "Did you mean 'plain'" in refused(*base, "--num", "3", "--samples", "plane")
    assert "--device" in refused(*base, "--num", "3", "--device", "gpu")
    assert "no checkpoint of step 9" in refused(*base, "--num", "3", "--checkpoint", "9")
    line = refused("sample", "--run", str(finished), "--num", "3", "--out", str(tmp_path / "png"))
    assert "is no .npz file" in line
    line = refused(*base, "--num", str(10**12))
    assert "1,000,000,000,000 samples take 8,000 GB, and" in line
    assert not (tmp_path / "x.npz").exists()


def test_images_are_written_as_png(call, refused, tmp_path: Path):
    small = ["--set", "MODEL.g_conv_dim=4", "--set", "MODEL.d_conv_dim=4", "--num-eval", "50"]
    out = str(tmp_path / "run")
    code, _, err = call(
        "train", "--config", "colored_digits", *small, "--steps", "1", "--quiet", "--out", out
    )
    assert code == 0, err
    code, _, err = call("sample", "--run", out, "--num", "3", "--out", str(tmp_path / "png"))
    assert code == 0, err
    files = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert files == ["000000.png", "000001.png", "000002.png"]
    for name in ("all.png", "all.txt"):  # no folder of that name either
        line = refused("sample", "--run", out, "--num", "3", "--out", str(tmp_path / name))
        assert "names a file" in line
        assert not (tmp_path / name).exists()
    line = refused("sample", "--run", out, "--num", str(10**15), "--out", str(tmp_path / "more.2"))
    assert "samples take 67,000,000 GB, and" in line
    assert (tmp_path / "png" / files[0]).read_bytes().startswith(b"\x89PNG")
    code, _, err = call("sample", "--run", out, "--num", "2", "--out", str(tmp_path / "png"))
    assert code == 2, "the third picture would pass for one of the new samples"
    assert "is not empty" in err


def test_evaluate_measures_anew(call, refused, finished: Path):
    code, out, err = call("evaluate", "--run", str(finished), "--num", "30", "--json")
    assert code == 0, err
    assert json.loads(out)["num_generated"] == 30
    written = json.loads((finished / "result.json").read_text())
    assert json.loads(out) == {k: v for k, v in written.items() if k != "sha256"}
    assert "--num is 0" in refused("evaluate", "--run", str(finished), "--num", "0")
    assert "--device" in refused("evaluate", "--run", str(finished), "--device", "gpu")
    assert call("evaluate", "--run", str(finished), "--num", "200")[0] == 0


def test_compare_shows_runs_side_by_side_and_counts_each_once(call, refused, finished, tmp_path):
    code, out, _ = call("compare", str(finished), str(finished) + "/")
    assert code == 0
    assert out.startswith("all: gmm25, uniform, 6 steps\n")
    assert "n=1" in out
    assert "modes_covered" in out
    assert "holds no result.json" in refused("compare", str(tmp_path))
    (tmp_path / "result.json").write_text("{")
    assert "is damaged" in refused("compare", str(finished), str(tmp_path))


def test_list_and_plugins(call):
    out = call("list")[1]
    for name in ("colored_digits", "dcgan", "hinge", "uniform", "plain", "dia  (from dia)"):
        assert name in out
    assert call("list", "losses")[1].split() == ["losses:", *sorted(losses.BUILTIN)]
    out = call("plugins")[1]
    assert out.startswith("dia 0.")
    assert "gan_step_end" in out


def test_plugins_says_why_one_was_skipped(call, monkeypatch):
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "dia")
    assert "skipped: disabled by GAN_REGISTRY_DISABLE" in call("plugins")[1]


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


def test_exit_codes(capsys):
    assert run_command(lambda: 0, "p") == 0
    assert run_command(raising(UserError("two\nlines")), "p") == 2
    assert capsys.readouterr().err == "p: error: two lines\n"
    assert run_command(raising(PluginError("Plugin 'x' …")), "p") == 1  # a defect, but one line
    assert capsys.readouterr().err == "p: error: Plugin 'x' …\n"
    assert run_command(raising(KeyboardInterrupt()), "p") == 130
    assert capsys.readouterr().err == "\np: interrupted.\n"
    assert run_command(raising(OSError(errno.ENOSPC, "No space left on device", "/x")), "p") == 2
    assert capsys.readouterr().err == "p: error: Cannot use /x: No space left on device.\n"
    assert run_command(raising(PluginFailure("x", "gan_build", KeyError())), "p") == 1
    assert "Plugin 'x' failed in gan_build: KeyError" in capsys.readouterr().err
    # Anything else is a defect: it keeps its traceback, and Python exits with 1.
    with pytest.raises(OSError, match="Bad file"):
        run_command(raising(OSError(errno.EBADF, "Bad file")), "p")


def test_whoever_writes_a_plugin_can_ask_for_the_traceback(capsys, monkeypatch):
    def fail() -> int:
        try:
            raise KeyError("oops")
        except KeyError as error:
            raise PluginFailure("x", "gan_build", error) from error

    assert run_command(fail, "p") == 1
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("GAN_REGISTRY_TRACEBACK", "1")
    assert run_command(fail, "p") == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("p: error: Plugin 'x' failed in gan_build: KeyError")


def test_ctrl_c_says_how_to_continue(call, monkeypatch, tmp_path):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gan_registry.training.updates.update_generator", interrupt)
    code, _, err = call(*TRAIN, *TINY, "--quiet", "--out", str(tmp_path / "run"))
    assert code == 130
    assert "interrupted; the same command starts anew (no checkpoint yet)" in err


def test_an_interrupted_import_that_fails_with_another_error_is_an_interruption(capsys):
    def importing(first: type[BaseException]) -> int:
        try:
            raise first
        finally:
            raise SystemError("bad call flags")

    assert run_command(lambda: importing(KeyboardInterrupt), "x") == 130
    assert capsys.readouterr().err == "\nx: interrupted.\n"
    with pytest.raises(SystemError):
        run_command(lambda: importing(ValueError), "x")


def test_a_closed_pipe_is_no_error():
    code = "import sys; from gan_registry.cli.main import main; sys.exit(main(['list']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_warnings_are_lines_for_people_and_the_filter_is_put_back(capsys):
    import warnings

    def command() -> int:
        warnings.warn("something odd", stacklevel=1)
        return 0

    before = warnings.showwarning
    assert run_command(command, "p") == 0
    assert capsys.readouterr().err == "warning: something odd\n"
    assert warnings.showwarning is before
    assert main_module.main is main
