"""The few collective operations that training needs; each is nothing at all for one process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: This process's number, from 0.
        world_size: How many there are.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> Group:
        """Returns the group that torch.distributed was initialised with, or a group of one."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Averages gradients over the ranks in one flat all-reduce.

        Done by hand rather than by a DDP wrapper, so that penalties, double backward and networks
        that plugins replace or add need no special care.
        """
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.world_size
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, piece in zip(gradients, torch.split(flat, sizes), strict=True):
            gradient.copy_(piece.view_as(gradient))

    def sum(self, tensor: Tensor) -> Tensor:
        """Adds up a tensor over the ranks, in place, and returns it."""
        if self.world_size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def wait(self, device: torch.device) -> None:
        """Waits until every process has come as far."""
        if self.world_size > 1:
            self.sum(torch.zeros(1, device=device)).item()

    def mean(self, values: dict[str, float], device: torch.device) -> dict[str, float]:
        """Averages numbers over the ranks, all of which must give the same names.

        By way of the device, as NCCL, which GPUs take, adds up nothing that is elsewhere.
        """
        if self.world_size == 1 or not values:
            return values
        numbers = list(values.values())
        total = self.sum(torch.tensor(numbers, dtype=torch.float64, device=device))
        return dict(zip(values, (total / self.world_size).tolist(), strict=True))

    def share_buffers(self, network: torch.nn.Module) -> None:
        """Gives every rank the buffers of rank 0, such as batch norm's running statistics.

        Each rank's own follow its own share of the batches; without this, ranks would evaluate and
        record with different networks, and only rank 0's would be in the checkpoint.
        """
        if self.world_size == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in network.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer)
        for buffers in by_type.values():
            flat = torch.cat([buffer.flatten() for buffer in buffers])
            distributed.broadcast(flat, 0)
            sizes = [buffer.numel() for buffer in buffers]
            for buffer, piece in zip(buffers, torch.split(flat, sizes), strict=True):
                buffer.copy_(piece.view_as(buffer))

    def gather(self, tensor: Tensor) -> Tensor:
        """Joins the ranks' slices of a batch to the whole of it, in the batch's own order.

        Args:
            tensor: [B / world_size, ...], of the same shape on every rank; rank r holds the samples
                r, r + world_size, r + 2·world_size, … of the batch, as the stream deals them out.

        Returns:
            [B, ...] on every rank.
        """
        if self.world_size == 1:
            return tensor
        tensor = tensor.contiguous()
        slices = [torch.empty_like(tensor) for _ in range(self.world_size)]
        distributed.all_gather(slices, tensor)
        return torch.stack(slices, 1).flatten(0, 1)
