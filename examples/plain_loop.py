"""Dia-GAN in a training loop of one's own: all three phases. Lines with a number are Dia's."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from diagan_plugin import Dia

RARE = 100


def main(steps: int = 1500, report: str = "dia_report.html") -> dict[str, float]:
    points = torch.cat([torch.randn(1900, 2), torch.randn(RARE, 2) * 0.1 + 4])  # 5 % lie apart
    data = TensorDataset(points)
    groups = [0] * 1900 + [1] * RARE
    generator = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
                              nn.Linear(64, 2))  # fmt: skip
    discriminator = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64),
                                  nn.LeakyReLU(0.2), nn.Linear(64, 1))  # fmt: skip
    g_optimizer, d_optimizer = (
        torch.optim.Adam(net.parameters(), 1e-3, betas=(0.5, 0.9))
        for net in (generator, discriminator)
    )
    dia = Dia(data, total_steps=steps, batch_size=64, aux="uniform", record_every=10,  # 1
              groups=groups, group_names=("usual", "rare"))  # fmt: skip
    loader = DataLoader(dia.dataset, batch_size=64, sampler=dia.sampler)  # 2
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))

    for x, index in itertools.islice(epochs, steps):
        fake = generator(torch.randn(len(x), 2))
        d_loss = (softplus(-discriminator(x)) + softplus(discriminator(fake.detach()))).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        dia.update(discriminator, d_optimizer, index, fake)  # 3: the auxiliary discriminator
        g_loss = softplus(-discriminator(fake)).mean()
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        dia.step()  # 4: sweeps the data and sets the weights when it is time

    dia.report(report)  # 5
    with torch.no_grad():
        plain = generator(torch.randn(2000, 2))
        source = dia.rejection(lambda n: generator(torch.randn(n, 2)), burn_in=2000)  # 6
        kept = torch.cat([batch.x for batch in source.sample(2000)])
    return {name: float((x > 3).all(1).float().mean()) for name, x in (("plain", plain),
                                                                       ("drs", kept))}  # fmt: skip


if __name__ == "__main__":
    print({name: f"{share:.1%} rare, of 5 %" for name, share in main().items()})
