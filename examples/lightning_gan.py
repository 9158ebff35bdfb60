"""Lightning's own GAN example (manual optimisation) on scikit-learn's digits, with Dia-GAN.

The module is as Lightning documents it; the two lines marked below are all that is added.
"""

from __future__ import annotations

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from diagan_plugin.hosts.lightning import DiaCallback, IndexedDataModule


class GAN(L.LightningModule):
    def __init__(self, latent_dim: int = 16, width: int = 64) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.latent_dim = latent_dim
        self.generator = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 64), nn.Tanh(),
            nn.Unflatten(1, (1, 8, 8)),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Sigmoid()
        )

    def training_step(self, batch):
        imgs, _ = batch
        optimizer_g, optimizer_d = self.optimizers()
        z = torch.randn(len(imgs), self.latent_dim).type_as(imgs)
        valid, fake = torch.ones(len(imgs), 1).type_as(imgs), torch.zeros(len(imgs), 1).type_as(imgs)

        self.toggle_optimizer(optimizer_g)
        g_loss = F.binary_cross_entropy(self.discriminator(self.generator(z)), valid)
        self.manual_backward(g_loss)
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)

        self.toggle_optimizer(optimizer_d)
        real_loss = F.binary_cross_entropy(self.discriminator(imgs), valid)
        fake_loss = F.binary_cross_entropy(self.discriminator(self.generator(z).detach()), fake)
        self.manual_backward((real_loss + fake_loss) / 2)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)

    def configure_optimizers(self):
        nets = self.generator, self.discriminator
        return [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in nets], []


def main(epochs: int = 30, folder: str = "dia_lightning", **trainer) -> DiaCallback:
    digits, labels = load_digits(return_X_y=True)
    images = torch.tensor(digits, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    data = TensorDataset(images, torch.as_tensor(labels))
    module = IndexedDataModule(data, batch_size=64)  # in place of the data module
    dia = DiaCallback("dia", {"dia": {"record_every": 8}}, groups=labels, folder=folder)  # and this
    L.Trainer(max_epochs=epochs, callbacks=[dia], **trainer).fit(GAN(), datamodule=module)
    return dia


if __name__ == "__main__":
    print(main().session.sample(1000, "drs").shape)  # corrected by rejection sampling
