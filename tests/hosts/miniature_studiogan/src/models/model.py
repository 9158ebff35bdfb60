"""Networks of a few parameters, with the calls of StudioGAN's."""

import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self, z_dim, num_classes, img_size):
        super().__init__()
        self.size = img_size
        self.embedding = nn.Embedding(num_classes, z_dim)
        self.linear = nn.Linear(z_dim, 3 * img_size**2)

    def forward(self, z, label, shared_label=None, eval=False):
        h = torch.tanh(self.linear(z + self.embedding(label)))
        return h.reshape(-1, 3, self.size, self.size)


class StyleGenerator(nn.Module):
    def __init__(self, z_dim, num_classes, img_size):
        super().__init__()
        self.mapping = Mapping(z_dim, num_classes)
        self.synthesis = nn.Sequential(
            nn.Linear(z_dim, 3 * img_size**2), nn.Tanh(), nn.Unflatten(1, (3, img_size, img_size))
        )


class Mapping(nn.Module):
    def __init__(self, z_dim, num_classes):
        super().__init__()
        self.linear = nn.Linear(z_dim + num_classes, z_dim)

    def forward(self, z, c):
        return self.linear(torch.cat([z, c.float()], 1))


class Discriminator(nn.Module):
    def __init__(self, num_classes, img_size, method, group_size):
        super().__init__()
        self.method, self.group_size = method, group_size
        outputs = num_classes + 1 if method == "MH" else 1
        self.features = nn.Sequential(
            nn.Flatten(), nn.utils.spectral_norm(nn.Linear(3 * img_size**2, 8)), nn.LeakyReLU(0.1)
        )
        self.linear = nn.utils.spectral_norm(nn.Linear(8, outputs))
        self.embedding = nn.Embedding(num_classes, 8)

    def forward(self, x, label, eval=False, adc_fake=False):
        h = self.features(x)
        if self.method == "SPD":
            group = min(self.group_size, len(x))
            spread = h.reshape(group, -1, 8).std(0, correction=0).mean(1)
            h = h + spread.repeat(group)[:, None]
        if self.method == "MH":
            output = torch.squeeze(self.linear(h))
        elif self.method == "SPD":
            output = self.linear(h) + (self.embedding(label) * h).sum(1, keepdim=True)
        else:
            output = torch.squeeze(self.linear(h)) + (self.embedding(label) * h).sum(1)
        return {"h": h, "adv_output": output, "label": label}


def load_generator_discriminator(DATA, OPTIMIZATION, MODEL, STYLEGAN, MODULES, RUN, device, logger):
    is_style = MODEL.backbone == "stylegan2"
    make = StyleGenerator if is_style else Generator
    gen = make(MODEL.z_dim, DATA.num_classes, DATA.img_size)
    parts = (gen.mapping, gen.synthesis) if is_style else (None, None)
    dis = Discriminator(
        DATA.num_classes, DATA.img_size, MODEL.d_cond_mtd, STYLEGAN.d_epilogue_mbstd_group_size
    )
    if device == 0:
        logger.info(dis)
    return gen, *parts, dis, None, None, None, None
