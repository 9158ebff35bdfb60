"""Help that begins short, mistakes that lead on, and what a shell completes."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import diagan_plugin.cli
import gan_registry.cli.main
from gan_registry.cli.completion import script
from gan_registry.cli.parser import ALL_HELP, Parser, ShowAll
from gan_registry.options import HOST_FLAGS
from gan_registry.plugins import PluginManager

MAINS: dict[str, Callable[[list[str]], int]] = {
    "gan-registry": gan_registry.cli.main.main,
    "diagan": diagan_plugin.cli.main,
}


def said(capsys: pytest.CaptureFixture[str], command: str) -> tuple[int, str, str]:
    program, *arguments = command.split()
    try:
        code = MAINS[program](arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def flags_shown(text: str) -> set[str]:
    return {line.split()[0].rstrip(",") for line in text.splitlines() if line.startswith("  -")}


def test_help_shows_the_hosts_flags_and_says_what_has_more(capsys: Any) -> None:
    code, out, _ = said(capsys, "gan-registry train --help")
    assert code == 0
    assert flags_shown(out) == HOST_FLAGS - {"--help"}  # -h, --help
    assert len(HOST_FLAGS) < 22
    assert "--dia-" not in out
    assert "--help-all shows: dia (" in " ".join(out.split())


def test_help_all_shows_every_flag_under_its_plugin(capsys: Any) -> None:
    code, out, _ = said(capsys, f"gan-registry train {ALL_HELP}")
    assert code == 0
    options = list(PluginManager().options)
    assert flags_shown(out) == HOST_FLAGS - {"--help"} | {option.flag for option in options}
    usage, _, rest = out.partition("options:")
    assert "--dia-k" not in usage
    for option in options:
        before = rest.partition(f"  {option.flag}")[0].splitlines()
        heading = [line for line in before if line.endswith(":") and not line.startswith(" ")][-1]
        assert heading.startswith(f"{option.plugin}: "), option.flag


def test_a_flag_that_stands_in_no_group_is_shown_too(capsys: Any) -> None:
    parser = Parser(prog="x")
    parser.add_argument(ALL_HELP, action=ShowAll, help="all")
    parser.add_argument("--loose", dest="theirs.loose", help="a plugin's")
    assert "--loose" not in parser.format_help()
    assert "theirs: theirs:" not in parser.format_help(everything=True)
    assert "theirs:\n  --loose" in parser.format_help(everything=True)
    with pytest.raises(SystemExit) as end:
        parser.parse_args([ALL_HELP])
    assert not end.value.code
    assert "--loose" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says", "leads_to"),
    [
        ("gan-registry trian", "did you mean 'train'?", "gan-registry --help"),
        ("gan-registry train --config x --stpes 3", "did you mean --steps?", "train --help)"),
        ("gan-registry train --config x --stpes=3", "did you mean --steps?", "train --help)"),
        ("gan-registry train --config x --dia-phas1 1", "mean --dia-phase1?", "train --help-all)"),
        ("gan-registry train --config x --dia-k y", "--dia-k", "gan-registry train --help-all)"),
        ("gan-registry train --config x --dia-record swep", "mean 'sweep'?", "train --help-all)"),
        ("gan-registry train", "required: --config", "gan-registry train --help)"),
        ("gan-registry compare a --jsn", "did you mean --json?", "gan-registry compare --help)"),
        ("gan-registry --vresion", "did you mean --version?", "gan-registry --help)"),
        ("diagan reprot", "did you mean 'report'?", "diagan --help)"),
        ("diagan report --run x --turst", "did you mean --trust?", "diagan report --help)"),
    ],
)
def test_a_slip_is_named_with_what_was_meant_and_the_right_help(
    command: str, says: str, leads_to: str, capsys: Any
) -> None:
    code, _, err = said(capsys, command)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert says in err
    assert leads_to in err


def test_nothing_is_suggested_where_nothing_is_near(capsys: Any) -> None:
    _, _, err = said(capsys, "gan-registry train --config x --qqq")
    assert "did you mean" not in err


# --- completion ----------------------------------------------------------------------------------


PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "gan-registry": lambda: gan_registry.cli.main.build_parser(PluginManager()),
    "diagan": diagan_plugin.cli.build_parser,
}


def completed(*words: str) -> set[str]:
    """What bash offers for the last of the words, to a person who presses the key."""
    code = script(PARSERS[words[0]](), "bash")
    function = "_" + words[0].replace("-", "_")
    code += f'COMP_WORDS=("$@")\nCOMP_CWORD={len(words) - 1}\n{function}\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["gan-registry", "tr"], {"train"}),
        (["gan-registry", "--v"], {"--version"}),
        (["gan-registry", "train", "--samp"], {"--sampler", "--samples"}),
        (["gan-registry", "train", "--config", "gmm"], {"gmm25"}),
        (["gan-registry", "train", "--config", "gmm25", "--dia-rec"],
         {"--dia-record", "--dia-record-every", "--dia-record-fraction"}),
        (["gan-registry", "train", "--dia-record", ""], {"sweep", "stream"}),
        (["gan-registry", "train", "--sampler", "di"], {"dia"}),
        (["diagan", "rep"], {"report"}),
        (["diagan", "report", "--ru"], {"--run"}),
        (["diagan", "report", "--run", ""], set()),  # files, which the shell itself completes
    ],
)  # fmt: skip
def test_a_shell_completes(words: list[str], offered: set[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("program", MAINS)
def test_the_script_is_printed_for_either_shell(program: str, capsys: Any) -> None:
    _, bash, _ = said(capsys, f"{program} completion bash")
    _, zsh, _ = said(capsys, f"{program} completion zsh")
    assert bash == script(PARSERS[program](), "bash")
    assert zsh == "autoload -Uz bashcompinit && bashcompinit\n" + bash
    code, _, err = said(capsys, f"{program} completion fish")
    assert (code, "'bash', 'zsh'" in err) == (2, True)
