# ruff: noqa: N802, N999
import torch
from torch.nn.functional import softplus


class AdversarialTraining:
    def __init__(self, generator, discriminator):
        self.Generator, self.Discriminator = generator, discriminator

    def AccumulateGeneratorGradients(self, noise, real, c, scale):
        of_fake = self.Discriminator(self.Generator(noise, c), c)
        loss = softplus(self.Discriminator(real, c) - of_fake)
        (scale * loss.mean()).backward()
        return loss

    def AccumulateDiscriminatorGradients(self, noise, real, c, gamma, scale):
        real = real.detach().requires_grad_()
        fake = self.Generator(noise, c).detach().requires_grad_()
        of_real, of_fake = self.Discriminator(real, c), self.Discriminator(fake, c)
        penalty = sum(
            torch.autograd.grad(out.sum(), x, create_graph=True)[0].square().sum((1, 2, 3))
            for out, x in ((of_real, real), (of_fake, fake))
        )
        loss = softplus(of_fake - of_real) + gamma / 2 * penalty
        (scale * loss.mean()).backward()
        return loss
