"""Lightning's own GAN example on scikit-learn's digits, with Dia-GAN by the two marked lines."""

from __future__ import annotations

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import binary_cross_entropy as bce
from torch.utils.data import TensorDataset

from diagan_plugin.hosts.lightning import DiaCallback, IndexedDataModule


class GAN(L.LightningModule):
    def __init__(self, latent_dim: int = 16, width: int = 64) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.latent_dim = latent_dim
        hidden = nn.Linear(latent_dim, width)
        self.generator = nn.Sequential(hidden, nn.ReLU(), nn.Linear(width, 64), nn.Tanh())
        self.discriminator = nn.Sequential(
            nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Linear(width, 1), nn.Sigmoid()
        )

    def training_step(self, batch):
        imgs, _ = batch
        optimizer_g, optimizer_d = self.optimizers()
        z = torch.randn(len(imgs), self.latent_dim).type_as(imgs)
        valid, fake = imgs.new_ones(len(imgs), 1), imgs.new_zeros(len(imgs), 1)
        self.toggle_optimizer(optimizer_g)
        self.manual_backward(bce(self.discriminator(self.generator(z)), valid))
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)
        self.toggle_optimizer(optimizer_d)
        real_loss = bce(self.discriminator(imgs), valid)
        fake_loss = bce(self.discriminator(self.generator(z).detach()), fake)
        self.manual_backward((real_loss + fake_loss) / 2)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)

    def configure_optimizers(self):
        nets = self.generator, self.discriminator
        return [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in nets], []


def main(epochs: int = 30, folder: str = "dia_lightning", **trainer) -> DiaCallback:
    digits, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(digits).float() / 8 - 1, torch.as_tensor(labels))
    module = IndexedDataModule(data, batch_size=64)  # in place of the data module
    dia = DiaCallback("dia", {"dia": {"record_every": 8}}, groups=labels, folder=folder)  # and this
    L.Trainer(max_epochs=epochs, callbacks=[dia], **trainer).fit(GAN(), datamodule=module)
    return dia


if __name__ == "__main__":
    print(main().session.sample(1000, "drs").shape)  # corrected by rejection sampling
