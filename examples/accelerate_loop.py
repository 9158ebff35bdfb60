"""Dia-GAN with Accelerate, which shards the draw. Run it by `accelerate launch` or by itself."""

from __future__ import annotations

import itertools

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin import Dia


def main(steps: int = 400, report: str = "dia_report.html", cpu: bool = False) -> Dia:
    accelerator = Accelerator(cpu=cpu)
    torch.manual_seed(0)  # the same data and weights in each process
    points = torch.cat([torch.randn(1900, 2), torch.randn(100, 2) * 0.1 + 4])  # 5 % lie apart
    generator = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 2))
    discriminator = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    g_optimizer, d_optimizer = (
        torch.optim.Adam(net.parameters(), 1e-3) for net in (generator, discriminator)
    )
    dia = Dia(TensorDataset(points), total_steps=steps, batch_size=64, aux="uniform",
              record_every=10, device=accelerator.device, shard="host",
              rank=accelerator.process_index, world_size=accelerator.num_processes)  # fmt: skip
    share = 64 // accelerator.num_processes  # Accelerate's batch size is that of one process
    loader = DataLoader(dia.dataset, batch_size=share, sampler=dia.sampler, drop_last=True)
    generator, discriminator, g_optimizer, d_optimizer, loader = accelerator.prepare(
        generator, discriminator, g_optimizer, d_optimizer, loader
    )
    noise = torch.Generator(accelerator.device).manual_seed(1 + accelerator.process_index)
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))

    for x, index in itertools.islice(epochs, steps):
        z = torch.randn(len(x), 2, device=accelerator.device, generator=noise)
        fake = generator(z)
        # One call of D: DistributedDataParallel allows one forward pass for each backward.
        real_out, fake_out = discriminator(torch.cat([x, fake.detach()])).chunk(2)
        d_optimizer.zero_grad()
        accelerator.backward(softplus(-real_out).mean() + softplus(fake_out).mean())
        d_optimizer.step()
        dia.update(discriminator, d_optimizer, index, fake)
        g_optimizer.zero_grad()
        accelerator.backward(softplus(-discriminator(fake)).mean())
        g_optimizer.step()
        dia.step()

    if accelerator.is_main_process:
        dia.report(report)
    accelerator.end_training()
    return dia


if __name__ == "__main__":
    main()
