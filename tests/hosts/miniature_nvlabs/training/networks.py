import torch
from torch import nn


class Mapping(nn.Module):
    def __init__(self, z_dim, c_dim):
        super().__init__()
        self.layer = nn.Linear(z_dim + c_dim, 16)
        self.register_buffer("w_avg", torch.zeros(16))

    def forward(self, z, c, skip_w_avg_update=False):
        ws = self.layer(torch.cat([z, c], 1)).tanh()
        if self.training and not skip_w_avg_update:
            self.w_avg.lerp_(ws.detach().mean(0), 0.1)
        return ws


class Synthesis(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape, self.layer = shape, nn.Linear(16, shape[0] * shape[1] ** 2)

    def forward(self, ws, force_fp32=False):
        noise = 0.01 * torch.randn(len(ws), 1, device=ws.device)
        return (self.layer(ws) + noise).tanh().unflatten(1, (self.shape[0], self.shape[1], -1))


class Generator(nn.Module):
    def __init__(self, z_dim, c_dim, img_resolution, img_channels=3):
        super().__init__()
        self.z_dim, self.c_dim = z_dim, c_dim
        self.mapping, self.synthesis = (
            Mapping(z_dim, c_dim),
            Synthesis((img_channels, img_resolution)),
        )

    def forward(self, z, c):
        return self.synthesis(self.mapping(z, c))


class Deviation(nn.Module):
    def __init__(self, group_size):
        super().__init__()
        self.group_size = group_size

    def forward(self, x):
        size = min(self.group_size, len(x))
        spread = x.unflatten(0, (size, -1)).std(0, correction=0).mean(1)
        return torch.cat([x, spread.repeat(size)[:, None]], 1)


class Discriminator(nn.Module):
    def __init__(self, c_dim, img_resolution, img_channels=3, group_size=4):
        super().__init__()
        self.body = nn.Linear(img_channels * img_resolution**2, 16)
        self.deviation = Deviation(group_size) if group_size else None
        self.head = nn.Linear(16 + bool(group_size), max(c_dim, 1))

    def forward(self, img, c, force_fp32=False):
        h = nn.functional.softplus(self.body(img.flatten(1)))
        out = self.head(h if self.deviation is None else self.deviation(h))
        return (out * c).sum(1, keepdim=True) if c.shape[1] else out


class FlatDiscriminator(Discriminator):
    def forward(self, img, c):
        return super().forward(img, c).flatten()
