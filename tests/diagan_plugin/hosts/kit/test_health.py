"""The health of a host's training is watched through its adapter, as that of the host's own is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_runs import manager
from torch import nn
from torch.utils.data import TensorDataset

from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from gan_registry.records import Fake, Real

STEPS, BATCH = 3, 10


@pytest.mark.parametrize(
    ("level", "samples", "found"),
    [(0.0, 1.0, set()), (-50.0, 1.0, {"discriminator_dead"}), (0.0, 0.0, {"generator_dead"})],
)
def test_a_host_s_networks_are_watched(
    tmp_path: Path, level: float, samples: float, found: set[str]
) -> None:
    data = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    session = Session(
        Capabilities("Mine", ALL_HOOKS), Settings(plugins=manager(), folder=str(tmp_path)),
        TensorDataset(data), batch_size=BATCH, total_steps=STEPS, device=torch.device("cpu"),
    )  # fmt: skip
    discriminator = nn.Linear(2, 1)
    views = NetworkView(nn.Linear(2, 2), False), NetworkView(discriminator, False)
    session.networks(HostNetworks(*views, gaussian(2)))
    session.start(torch.optim.Adam(discriminator.parameters()))
    for _ in range(STEPS):
        real = Real(torch.arange(BATCH), data[:BATCH])
        fake = Fake(samples * data[BATCH : 2 * BATCH], data[BATCH : 2 * BATCH])
        outs = (discriminator(x)[:, 0] + level for x in (real.x, fake.x))
        session.updates.discriminator(real, fake, *outs)
        session.updates.stepped()
        session.step_end()
    session.end()
    assert set(session.run.findings) == found
    told = json.loads((tmp_path / "result.json").read_text())["health"]
    assert {entry["name"] for entry in told} == found
