"""The kernel distance (KID) of given features against torch-fidelity's."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits

from benchmarks.speed.harness import Row, Settings, alternate, at_least, peer
from gan_registry.metrics.kernel import kernel_distance

NAME = "kid"
_AIM = at_least(1.2)


def run(settings: Settings) -> list[Row]:
    """Measures the published subsets of 1,000, five of the hundred."""
    theirs = peer("torch_fidelity.metric_kid", "torch-fidelity").kid_features_to_metric
    size, width, subset = (300, 32, 100) if settings.quick else (5_000, 2_048, 1_000)
    rng = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(size, width, generator=rng) for _ in range(2))
    count, values = 5, dict[str, float]()

    def run_ours() -> None:
        values["ours"] = kernel_distance(real, fake, subset_size=subset, num_subsets=count).mean

    def run_theirs() -> None:
        found = theirs(
            real, fake, kid_subsets=count, kid_subset_size=subset, rng_seed=0, verbose=False
        )
        values["theirs"] = found["kernel_inception_distance_mean"]

    with threadpool_limits(settings.threads):
        pair = alternate(run_ours, run_theirs, settings.pairs(5))
    label = f"{count} subsets of {subset:,} × {width:,} features"
    note = f"distances {values['ours']:.3g} and {values['theirs']:.3g}, of other subsets"
    return [pair.row(NAME, label, _AIM, note=note)]
