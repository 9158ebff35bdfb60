"""`--dry-run`: the resolved configuration, what will be done, and what it will cost."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gan_registry.config.schema import Config
from gan_registry.config.settings import options_as_yaml
from gan_registry.formatting import align, duration
from gan_registry.plugins import PluginManager
from gan_registry.training.build import NoDataError, build_data, build_networks, build_stream
from gan_registry.training.cost import measure
from gan_registry.training.run import Run
from gan_registry.training.weightless import META, parameters, weightless


def describe_plan(
    config: Config,
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    name: str,
    folder: Path,
) -> str:
    """Describes a run without starting it; nothing is written.

    The networks are built without weights, so that the largest take no memory and no time. The
    cost is that of a run without plugins, see :func:`gan_registry.training.cost.measure`. To it
    comes that of the extra samples that plugins say they pass through D. Without the data, the plan
    ends before what depends on them.

    Raises:
        UserError: The run could not be started as configured, for other reasons than that the data
            are missing.
    """
    resolved = {**config.model_dump(), "PLUGINS": options_as_yaml(options)}
    run = Run(config, plugins, options, None, config_name=name)
    run.hooks.build(run)
    rows = [["run folder", str(folder)], ["device", str(run.device)]]
    missing = ""
    try:
        build_data(run)
    except NoDataError as error:
        rows += [
            ["training samples", "unknown"],
            ["steps", str(run.total_steps)],
            ["epochs", "unknown"],
            ["estimate, in all", "none without the data"],
        ]
        missing = (
            "\n\nWithout the data it cannot be told what plugins will do, nor what it will cost.\n"
            f"{error}"
        )
    else:
        rows += [
            ["training samples", str(len(run.dataset))],
            ["steps", str(run.total_steps)],
            ["epochs", f"{run.total_steps * run.samples_per_step / len(run.dataset):.1f}"],
            *_plugins_and_cost(run),
        ]
    table = "\n".join(line for line in align([["plan", ""], *rows]))
    return f"{yaml.safe_dump(resolved, sort_keys=False)}\n{table}{missing}"


def _plugins_and_cost(run: Run) -> list[list[str]]:
    """Returns the rows that plugins add, and what all will cost."""
    rows, extra = [], 0
    for plugin, entries in run.hooks.plan(run):
        for label, value in entries.items():
            if label == "discriminator_samples":
                extra += int(value)
            else:
                rows.append([f"{plugin}: {label}", str(value)])
    checked = _with_networks(run)  # plugins may refuse them
    rows += [
        [f"parameters of {letter}", f"{parameters(network):,}"]
        for letter, network in (("G", checked.generator), ("D", checked.discriminator))
    ]
    cost = measure(run)
    training, passes = cost.step * run.total_steps, cost.sample * extra
    rows.append(["a step", f"{1000 * cost.step:.1f} ms{cost.said}"])
    rows.append(["estimate, training", duration(training)])
    if extra:
        rows.append(["estimate, extra passes", f"{duration(passes)} ({extra} samples)"])
    rows.append(["estimate, in all", f"about {duration(training + passes)}"])
    return rows


def _with_networks(run: Run) -> Run:
    """Returns a run with its networks, as plugins change them; without weights where that works.

    It does not where a network, or a plugin, computes while it is made, or complains: what is wrong
    with a network without weights would say nothing, so real ones are built then.

    Raises:
        UserError: The networks do not fit the data or the configuration, or do not work.
    """
    device, run.device = run.device, META
    try:
        with warnings.catch_warnings(), weightless():
            warnings.simplefilter("error", UserWarning)
            build_networks(run, trained=False)
        return run
    except Exception:
        real = Run(run.config, run.plugins, run.options, None, config_name=run.config_name)
        real.hooks.build(real)
        real.dataset, real.holdout = run.dataset, run.holdout
        build_stream(real)
    finally:
        run.device = device
    build_networks(real, trained=False)
    return real
