from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from diagan_plugin import Dia
from diagan_plugin.hosts.kit.dataset import HostDataset, names_in


class Folder(Dataset[Any]):
    """As torchvision's folders are: `samples` and `root`."""

    root = "/data"
    samples: ClassVar[Any] = [(f"/data/cat/{i}.png", 0) for i in range(6)]

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 2, 2), float(index)), 0


class Own(Folder):
    def sample_names(self, rows: Any) -> list[str]:
        return [f"own {row}" for row in rows]


class Other(Folder):
    samples: ClassVar[Any] = torch.zeros(6, 2)  # no list of files


ROWS = np.array([4, 1])


def test_names_of_a_users_dataset() -> None:
    assert names_in(Folder(), ROWS) == ["cat/4.png", "cat/1.png"]
    assert names_in(Subset(Folder(), [5, 3]), np.array([1])) == ["cat/3.png"]
    assert names_in(Own(), ROWS) == ["own 4", "own 1"]
    assert names_in(Other(), ROWS) is None
    assert names_in(TensorDataset(torch.zeros(6, 2)), ROWS) is None
    plain = HostDataset(TensorDataset(torch.zeros(6, 2)), None, (), None)
    assert plain.sample_names([2]) == ["row 2"]


def test_a_loop_of_ones_own_names_its_files() -> None:
    discriminator = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    dia = Dia(Folder(), total_steps=4, batch_size=2, weighted=False, record_every=1)
    for _ in range(4):
        dia.sweep(discriminator)
        dia.step()
    assert dia.diagnosis().name(3) == "cat/3.png"
