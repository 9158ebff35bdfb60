"""LeCam regularisation for little data (Tseng et al., 2021), in StudioGAN's form."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from gan_registry.regularizers.full_precision import at_least_float32


def lecam_penalty(
    real_logits: Tensor, fake_logits: Tensor, real_average: Tensor, fake_average: Tensor
) -> Tensor:
    """Computes mean max(0, v_real - α_fake)² + mean max(0, α_real - v_fake)².

    α are moving averages of D's logits over the steps. The paper squares the differences
    themselves; the authors' code and StudioGAN's cut them at 0 first, which is followed here.

    Args:
        real_logits: D's logits of training samples, [B].
        fake_logits: D's logits of generated samples, [B].
        real_average: α_real, a scalar.
        fake_average: α_fake, a scalar.

    Returns:
        A scalar, in float32 at least; without gradients towards the averages.
    """
    real = relu(at_least_float32(real_logits) - fake_average.detach())
    fake = relu(real_average.detach() - at_least_float32(fake_logits))
    return real.square().mean() + fake.square().mean()


class LogitAverages(nn.Module):
    """Exponential moving averages of D's mean logits.

    A module, so that its two buffers are saved and moved with the networks. No update waits for the
    device.

    Args:
        decay: Weight of the past, `LOSS.lecam_ema_decay`.
        start: `LOSS.lecam_ema_start_iter`: before this step the average is the latest mean alone.

    Attributes:
        real: α_real, a float32 scalar; NaN before the first update.
        fake: α_fake, likewise.

    Raises:
        ValueError: `decay` is outside [0, 1).
    """

    real: Tensor
    fake: Tensor

    def __init__(self, decay: float = 0.99, start: int = 0) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"Argument `decay` must be within [0, 1), but got {decay}.")
        self._decay = decay
        self._start = start
        self.register_buffer("real", torch.tensor(float("nan")))
        self.register_buffer("fake", torch.tensor(float("nan")))

    @torch.no_grad()
    def update(self, real_mean: Tensor, fake_mean: Tensor, step: int) -> None:
        """Takes in the mean logits of one update of D.

        Args:
            real_mean: Mean logit of the training samples, a scalar; over all processes, where
                there are several.
            fake_mean: Mean logit of the generated samples, likewise.
            step: The step of the run.
        """
        decay = 0.0 if step < self._start else self._decay
        for average, mean in ((self.real, real_mean), (self.fake, fake_mean)):
            mean = mean.float()
            average.copy_(torch.where(average.isnan(), mean, decay * average + (1 - decay) * mean))

    def penalty(self, real_logits: Tensor, fake_logits: Tensor, step: int) -> Tensor:
        """Computes :func:`lecam_penalty` against the averages; 0 up to and including `start`."""
        if step <= self._start:
            return real_logits.new_zeros((), dtype=torch.float32)
        return lecam_penalty(real_logits, fake_logits, self.real, self.fake)
