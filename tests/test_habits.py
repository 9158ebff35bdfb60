"""What contributors and releases rely on: workflows, pre-commit and templates say what is so."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: str) -> list[str]:
    """The commands of all jobs of a workflow."""
    jobs = read(WORKFLOWS / workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_lowest_python_is_tested_and_so_are_four_more(setup: Any) -> None:
    lowest = setup["options"]["python_requires"].removeprefix(">=")
    jobs = read(WORKFLOWS / "tests.yml")["jobs"]
    tested = jobs["tests"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(int(lowest.split(".")[1]), 15)]
    (python,) = [s["with"]["python-version"] for s in jobs["lowest"]["steps"] if "with" in s]
    assert python == lowest


def test_workflows_lint_type_check_and_install_what_there_is(setup: Any) -> None:
    commands = steps("tests.yml")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("ruff check .", "ruff format --check .", "mypy", "mkdocs build --strict"):
        assert command in commands
        assert re.search(rf"^\s*{re.escape(command)}( |$)", ci, re.MULTILINE), command
    extras = {extra for command in commands for extra in re.findall(r"\.\[(\w+)\]", command)}
    assert extras == {"docs", "test"}
    assert extras <= set(setup["options.extras_require"])
    assert ".ci/run" in commands


def test_each_requirement_has_a_lowest_version(setup: Any) -> None:
    """The job with the lowest dependencies would take the very first release otherwise."""
    listed = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    for line in "\n".join(listed).split("\n"):
        assert not line or ">=" in line or line.startswith("diagan-plugin["), line


def test_only_the_release_may_publish_and_it_keeps_no_secret() -> None:
    release = read(WORKFLOWS / "release.yml")
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    for path in WORKFLOWS.iterdir():
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}
        assert "secrets." not in path.read_text(encoding="utf-8")
        writing = [n for n, job in workflow["jobs"].items() if "permissions" in job]
        assert writing == (["docs", "publish"] if path.name == "release.yml" else [])
    assert release["jobs"]["docs"]["permissions"] == {"contents": "write"}  # the branch of the site


def test_a_release_is_refused_whose_tag_is_not_the_version(setup: Any) -> None:
    (check,) = [command for command in steps("release.yml") if "GITHUB_REF_NAME" in command]
    pattern = re.search(r'"(.*)\$\{GITHUB_REF_NAME#v\}"', check)
    assert pattern is not None
    line = pattern.group(1) + setup["metadata"]["version"]
    assert line in (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()


def test_a_commit_is_judged_by_the_tools_of_the_test_extra(setup: Any) -> None:
    (repository,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    named = {hook["entry"].split()[0] for hook in repository["hooks"]}
    tools = re.findall(r"^[\w-]+", setup["options.extras_require"]["test"], re.MULTILINE)
    assert named == {"ruff", "mypy", "pytest"} <= set(tools)


@pytest.mark.parametrize("name", ["bug", "method"])
def test_issue_templates_ask_for_something(name: str) -> None:
    template = read(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert template["name"]
    assert template["description"]
    ids = [part["id"] for part in template["body"]]
    assert len(set(ids)) == len(ids)
    assert any(part.get("validations", {}).get("required") for part in template["body"])
