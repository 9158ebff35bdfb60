"""What all tests share: two workers, one thread in each, helpers to import, a view of warnings."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
# How long an example takes says how busy the machine is.
settings.register_profile(
    "no clock", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no clock")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the number
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Makes plain `pytest` mean `pytest -n 2`, where pytest-xdist is there and of use.

    The option cannot stand in `addopts`: it would be an error without the plugin. Files and single
    tests that were asked for by name, and whatever wants the terminal, run in this process; so does
    everything with `-n 0`.
    """
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    if option.numprocesses is not None or option.tx or option.dist != "no":  # asked for otherwise
        return
    if option.usepdb or option.trace or option.collectonly or option.capture == "no":
        return
    if (os.cpu_count() or 1) < 2 or not all(os.path.isdir(path) for path in config.args):
        return
    option.numprocesses = 2
    # Tests that follow each other stay together, so that few fixtures are made by both workers.
    option.dist = "worksteal"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept of real data stays out of the user's own cache; subprocesses inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_REGISTRY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The networks here are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # for the processes that tests start
        yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_randomness() -> None:
    """Whatever draws from the global generators draws the same after any other tests, or none."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture
def warned() -> Iterator[Callable[[], list[str]]]:
    """Collects warnings; call it to read them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [str(item.message) for item in caught]
