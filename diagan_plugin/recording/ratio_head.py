"""A logistic layer on D's features, which measures the density ratio where D's own loss has none.

Under the hinge or the Wasserstein loss D's output is no log-density ratio. The paper (§5.2,
"Extension to hinge loss") names a remedy: attach an auxiliary layer to D and train it with the
original GAN loss. This is that layer. D itself is not touched: no gradient flows into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from diagan_plugin.arguments import as_kind, as_whole, check_data

LEARNING_RATE = 2e-3
"""Of Adam: the layer has to keep up with features that D goes on changing."""


class RatioHead(nn.Module):
    """Reads log p_data(x)/p_g(x) off D's features by logistic regression.

    Features are standardised first by their running mean and deviation, as a linear layer on
    features of unlike scales learns slowly.

    Args:
        num_features: Dimension F of D's features.

    Attributes:
        optimizer: Adam on the layer.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        num_features = as_whole("num_features", num_features, 1)
        self.standardise = nn.BatchNorm1d(num_features, affine=False)
        self.linear = nn.Linear(num_features, 1)
        # A ratio of 1 everywhere is what one knows before the first batch.
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.optimizer = torch.optim.Adam(self.parameters(), LEARNING_RATE)

    def forward(self, features: Tensor) -> Tensor:
        """Returns log-density ratios, float32 [B], of samples with features [B, F]."""
        ratios: Tensor = self.linear(self.standardise(features.float())).squeeze(1)
        return ratios

    def update(
        self,
        real: Tensor,
        fake: Tensor,
        average_gradients: Callable[[Iterable[nn.Parameter]], None] | None = None,
    ) -> Tensor:
        """Takes one step on the logistic loss.

        Args:
            real: Features of training samples, [B, F]; detached here.
            fake: Features of generated samples, [B', F]; detached here.
            average_gradients: Averages them over the ranks, between backward and step.

        Returns:
            The loss before the step, a scalar on the device.
        """
        size = self.linear.in_features
        for name, features in (("real", real), ("fake", fake)):
            check_data(name, as_kind(name, features, Tensor))
            if features.dim() != 2 or features.shape[1] != size or not features.shape[0]:
                raise ValueError(
                    f"Argument `{name}` must be [B, {size}], but got {list(features.shape)}."
                )
            if not features.is_floating_point():
                raise TypeError(
                    f"Argument `{name}` must be floating-point, but got {features.dtype}."
                )
        self.train()
        # In one pass, so that both are standardised alike.
        ratios = self(torch.cat([real.detach(), fake.detach()]))
        loss = softplus(-ratios[: len(real)]).mean() + softplus(ratios[len(real) :]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if average_gradients is not None:
            average_gradients(self.parameters())
        self.optimizer.step()
        self.eval()
        return loss.detach()
