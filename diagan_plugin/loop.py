"""A training loop of one's own, as the hooks see it: a run that is not the host's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from diagan_plugin.options import NAME
from diagan_plugin.sampler import DiaSampler
from gan_registry.datasets.base import Dataset, Indices, Ints
from gan_registry.datasets.fetching import fetch
from gan_registry.plugins import PluginManager
from gan_registry.training.distributed import Group


class IndexedDataset(torch.utils.data.Dataset[Any]):
    """A dataset whose items carry their index: `(x, y)` becomes `(x, y, index)`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self._dataset[index]
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        return (*parts, index)


class LoopDataset(Dataset):
    """A user's dataset as the plugins see it: fetched by index, with a fingerprint and groups."""

    name = "own dataset"

    def __init__(
        self,
        dataset: Any,
        groups: npt.ArrayLike | None,
        group_names: Sequence[str],
        value_range: tuple[float, float] | None,
    ) -> None:
        self._dataset = dataset
        if len(dataset) == 0:
            raise ValueError("Argument `dataset` must hold at least one sample, but got none.")
        x, _ = fetch(dataset, np.zeros(1, np.int64))
        self.sample_shape = tuple(x.shape[1:])
        self.kind = "image" if len(self.sample_shape) == 3 else "points"
        self.value_range = value_range if self.kind == "image" else None
        if groups is not None:
            self.groups = np.asarray(groups, np.int64)
            if self.groups.shape != (len(dataset),):
                raise ValueError(
                    f"Argument `groups` must be of shape ({len(dataset)},), but got "
                    f"{self.groups.shape}."
                )
            count = int(self.groups.max(initial=-1)) + 1
            self.group_names = tuple(group_names) or tuple(f"group {i}" for i in range(count))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples [B, ...] and labels [B] (zeros where the dataset has none)."""
        rows: Ints = np.asarray(indices, np.int64)
        x, y = fetch(self._dataset, rows)
        return x.float(), torch.zeros(len(x), dtype=torch.int64) if y is None else y


class LoopRun:
    """What the hooks need of a run, for a loop that is not the host's."""

    generator = None
    discriminator: nn.Module | None = None
    folder = None

    def __init__(
        self,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        dataset: Dataset,
        sampler: DiaSampler,
        loss: Any,
        *,
        total_steps: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        world_size: int,
        weighted: bool,
        loss_name: str,
        fingerprint: str,
    ) -> None:
        self.plugins = plugins
        self.options = options
        self.dataset = dataset
        self.fingerprint = fingerprint
        self.sampler = sampler
        self.loss = loss
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.samples_per_step = batch_size
        self.seed = seed
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.group = Group(rank, world_size)
        self.step = 0
        self.postprocessors: list[str] = []
        self.additions: dict[str, Any] = {}
        self.logged: dict[str, Any] = {}
        self.config = SimpleNamespace(
            RUN=SimpleNamespace(sampler=NAME if weighted else "own", seed=seed),
            LOSS=SimpleNamespace(adv_loss=loss_name),
        )

    def logits(
        self, x: Tensor, y: Tensor | None = None, discriminator: nn.Module | None = None
    ) -> Tensor:
        """Returns the log-density ratio [B] that D assigns to samples."""
        network = discriminator or self.discriminator
        assert network is not None
        ratio: Tensor = self.loss.log_density_ratio(network(x), None)
        return ratio

    def set_weights(self, weights: npt.NDArray[np.float64]) -> None:
        """Draws by `weights` [N] from the next index that the loader has not asked for."""
        self.sampler.set_weights(weights)

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes numbers for :attr:`Dia.logged`."""
        self.logged.update(values)
