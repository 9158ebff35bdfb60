# ruff: noqa: N802
from importlib.util import find_spec

import torch
from torch.nn.functional import softplus
from torch_utils import training_stats

if find_spec("R3GAN"):
    from R3GAN.Trainer import AdversarialTraining

    class R3GANLoss:
        def __init__(self, G, D, augment_pipe=None):
            self.trainer = AdversarialTraining(G, D)

        def accumulate_gradients(self, phase, real_img, real_c, gen_z, gamma, gain):
            if phase == "G":
                loss = self.trainer.AccumulateGeneratorGradients(gen_z, real_img, real_c, gain)
            else:
                loss = self.trainer.AccumulateDiscriminatorGradients(
                    gen_z, real_img, real_c, gamma, gain
                )
            training_stats.report(f"Loss/{phase}/loss", loss)


class StyleGAN2Loss:
    def __init__(self, device, G_mapping, G_synthesis, D, augment_pipe=None, r1_gamma=10):
        self.G_mapping, self.G_synthesis, self.D = G_mapping, G_synthesis, D
        self.r1_gamma = r1_gamma

    def run_D(self, img, c, sync):
        img = img + 0.01 * torch.randn_like(img)  # an augmentation
        return self.D(img, c)

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        if phase == "Gmain":
            out = self.run_D(self.G_synthesis(self.G_mapping(gen_z, gen_c)), gen_c, sync=False)
            training_stats.report("Loss/G/loss", softplus(-out)).mean().mul(gain).backward()
        if phase == "Dmain":
            fake = self.G_synthesis(self.G_mapping(gen_z, gen_c))
            of_fake = softplus(self.run_D(fake, gen_c, sync=False))
            of_fake.mean().mul(gain).backward()
        if phase in ("Dmain", "Dreg"):
            real = real_img.detach().requires_grad_(phase == "Dreg")
            out = self.run_D(real, real_c, sync=sync)
            loss = softplus(-out)
            if phase == "Dmain":
                training_stats.report("Loss/D/loss", of_fake.detach() + loss)
            else:
                (slope,) = torch.autograd.grad(out.sum(), real, create_graph=True)
                loss = slope.square().sum((1, 2, 3)) * self.r1_gamma / 2
            loss.mean().mul(gain).backward()
