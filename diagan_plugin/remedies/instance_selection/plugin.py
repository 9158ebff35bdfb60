"""Instance selection: trains on the densest part of the data only (DeVries et al., 2020).

DeVries, Drozdzal and Taylor, *Instance Selection for GANs*, arXiv:2007.15255. Samples in sparse
regions of a feature space are never drawn: more fidelity from a smaller network, at the price of
diversity. The opposite of what Dia-GAN does, and here for contrast. It is a sampler: the dataset
stays whole, so that metrics and shares of groups are those of all the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.remedies.instance_selection.options import NAME, add_options
from diagan_plugin.unused import warn_of_unused
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun


class InstanceSelectionPlugin:
    """Instance selection as a sampler of the host's."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--instance-selection-…`."""
        add_options(parser)

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the sampler `instance_selection`."""
        catalogs.samplers.register(
            NAME, "diagan_plugin.remedies.instance_selection.sampler:build_sampler"
        )

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Warns of options that do nothing."""
        if run.config.RUN.sampler != NAME:
            warn_of_unused(run, NAME, f"--sampler {NAME}")

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how many samples will be drawn from."""
        if run.config.RUN.sampler != NAME:
            return None
        return {"samples kept": f"{run.sampler.num_samples} of {len(run.dataset)}"}

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds how many samples of each group were kept."""
        if run.config.RUN.sampler != NAME:
            return None
        from diagan_plugin.remedies.instance_selection.sampler import SelectedSampler

        if not isinstance(run.sampler, SelectedSampler):
            return None
        kept, dataset = run.sampler.kept, run.dataset
        entry: dict[str, Any] = {"samples": len(kept), "share": len(kept) / len(dataset)}
        if dataset.groups is not None:
            groups = dataset.groups[kept]
            entry["share_of_groups"] = {
                name: float((groups == number).mean())
                for number, name in enumerate(dataset.group_names)
            }
        return {NAME: entry}
