"""What is added to the loss of a discriminator: the run's own, or another that is trained as it is.

Each regulariser is a pure function of :mod:`gan_registry.regularizers`; here is only when it acts
and with what weight. All are computed in float32, also where the networks are not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_registry.backbones.base import Backbone
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.live_run import LiveRun
from gan_registry.records import Fake, Real
from gan_registry.regularizers.consistency import (
    consistency,
    flip_and_shift,
    neighbouring_latent,
)
from gan_registry.regularizers.gradient_penalty import (
    dragan_penalty,
    gradient_penalty,
    max_gradient_penalty,
    r1_penalty,
)
from gan_registry.regularizers.lazy import is_regularised
from gan_registry.regularizers.lecam import LogitAverages
from gan_registry.regularizers.weight_clipping import clip_weights
from gan_registry.seeding import generator_for

_REGULARIZERS = ("gp", "dra", "maxgp", "r1_reg", "r2_reg", "lecam", "cr", "bcr", "zcr")


def lazy_intervals(backbone: Backbone, config: Config) -> dict[str, int]:
    """Returns the networks that are regularised in steps of their own, and how many apart.

    Their Adam takes the settings of :func:`gan_registry.regularizers.lazy.lazy_adam`.
    """
    intervals = dict(backbone.lazy_intervals())
    if config.LOSS.apply_r1_reg and config.LOSS.r1_place == "outside_loop":
        intervals["discriminator"] = r1_interval(config)
    return intervals


def r1_interval(config: Config) -> int:
    """Returns how many of D's updates lie between two R1 penalties."""
    usual = {"inside_loop": 1, "outside_loop": 16}  # the latter as in StyleGAN2
    return config.STYLEGAN.d_reg_interval or usual[config.LOSS.r1_place]


class DiscriminatorRegularization:
    """What a configuration, and the backbone by itself, add to the loss of a discriminator.

    It has a state and random draws of its own, so that one for a second discriminator leaves the
    first alone.

    Args:
        run: The run, with its networks.
        discriminator: The discriminator, called as `D(x, y)`; the run's own by default.
        name: Under which its state is added to the run, and which tells its draws from others'.

    Raises:
        UserError: A regulariser is of images, and the samples are none.
    """

    def __init__(
        self, run: LiveRun, discriminator: nn.Module | None = None, name: str = "host"
    ) -> None:
        self._run = run
        self._name = name
        self._settings = run.config.LOSS
        self._refuse_points()
        # Most runs ask for none of them, and then a step should not pay for any.
        self._is_active = any(
            getattr(self._settings, f"apply_{regularizer}") for regularizer in _REGULARIZERS
        )
        self._networks = run.backbone
        if discriminator is not None:
            # A backbone's terms are of its own discriminator, so a copy of it gets the other.
            self._networks = copy.copy(run.backbone)
            self._networks.discriminator = discriminator
        self._averages: LogitAverages | None = None
        if self._settings.apply_lecam:
            self._averages = LogitAverages(
                self._settings.lecam_ema_decay, self._settings.lecam_ema_start_iter
            )
            run.add(f"{name}.lecam", self._averages)

    def _refuse_points(self) -> None:
        for kind in ("cr", "bcr"):
            if getattr(self._settings, f"apply_{kind}"):
                shape = tuple(self._run.dataset.sample_shape)
                if len(shape) != 3:
                    raise UserError(
                        f"LOSS.apply_{kind} = True flips and shifts images, but the samples of the "
                        f"dataset {self._run.dataset.name!r} are of shape {shape}; set it to false."
                    )

    def terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, update: int, piece: int = 0
    ) -> Tensor | None:
        """Returns what is added to the loss on a micro-batch, a scalar or None.

        Args:
            real: Training samples.
            fake: Generated samples.
            real_out: The discriminator's output on the former, with its graph.
            fake_out: Its output on the latter, with its graph.
            update: How many updates there were before this one.
            piece: The micro-batch's number within the update.
        """
        own = self._networks.discriminator_terms(real, fake, real_out, fake_out)
        if not self._is_active:
            return own
        terms = [] if own is None else [own]
        terms += self._penalties(real, fake, real_out, fake_out, update, piece)
        return torch.stack(terms).sum() if terms else None

    def _penalties(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, update: int, piece: int
    ) -> list[Tensor]:
        run, loss, network = self._run, self._settings, self._networks.discriminator
        keys: dict[str, Any] = {"realness": self._networks.realness}
        rng = generator_for(run.seed, "regularization", run.rank, self._name, update, piece)
        draws = {**keys, "generator": rng}
        terms = []
        if loss.apply_gp:
            penalty = gradient_penalty(network, real.x, fake.x, real.y, **draws)
            terms.append(loss.gp_lambda * penalty)
        if loss.apply_dra:
            terms.append(loss.dra_lambda * dragan_penalty(network, real.x, real.y, **draws))
        if loss.apply_maxgp:
            penalty = max_gradient_penalty(network, real.x, fake.x, real.y, **draws)
            terms.append(loss.maxgp_lambda * penalty)
        if loss.apply_r1_reg and loss.r1_place == "inside_loop":
            interval = r1_interval(run.config)
            if is_regularised(update, interval):
                penalty = r1_penalty(network, real.x, real.y, **keys)
                terms.append(interval * loss.r1_lambda * penalty)
        if loss.apply_r2_reg:
            terms.append(loss.r2_lambda * r1_penalty(network, fake.x, fake.y, **keys))
        if self._averages is not None:
            terms.append(loss.lecam_lambda * self._lecam(self._averages, real_out, fake_out))
        if loss.apply_cr:
            terms.append(loss.cr_lambda * self._augmented(real, real_out, rng))
        if loss.apply_bcr:
            terms.append(loss.real_lambda * self._augmented(real, real_out, rng))
            terms.append(loss.fake_lambda * self._augmented(fake, fake_out, rng))
        if loss.apply_zcr:
            with torch.no_grad():
                near = neighbour(run, fake, rng)
            terms.append(loss.d_lambda * consistency(fake_out, network(near, fake.y)))
        return terms

    def lazy_terms(self, reals: Sequence[Real], update: int) -> list[Callable[[], Tensor]]:
        """Returns what a step of its own minimises after an update: one term a micro-batch.

        Args:
            reals: The training samples of the update's micro-batches.
            update: How many updates there were before this one.

        Returns:
            Functions that compute the terms, of which the step minimises the mean; none where no
            such step is due.
        """
        run, loss = self._run, self._settings
        if not (loss.apply_r1_reg and loss.r1_place == "outside_loop"):
            return []
        interval = r1_interval(run.config)
        if not is_regularised(update, interval):
            return []

        def penalty(real: Real) -> Tensor:
            return (loss.r1_lambda * interval) * r1_penalty(
                self._networks.discriminator, real.x, real.y, realness=self._networks.realness
            )

        return [partial(penalty, real) for real in reals]

    def stepped(self) -> None:
        """Does what follows each step of the discriminator's optimiser: weight clipping."""
        if self._settings.apply_wc:
            clip_weights(self._networks.discriminator, self._settings.wc_bound)

    def _lecam(self, averages: LogitAverages, real_out: Any, fake_out: Any) -> Tensor:
        run = self._run
        real, fake = run.loss.logits(real_out), run.loss.logits(fake_out)
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        means = run.group.sum(means) / run.world_size
        averages.update(means[0], means[1], run.step)
        return averages.penalty(real, fake, run.step)

    def _augmented(self, batch: Real | Fake, out: Any, rng: torch.Generator) -> Tensor:
        changed = flip_and_shift(batch.x, rng)
        return consistency(out, self._networks.discriminator(changed, batch.y))


def neighbour(run: LiveRun, fake: Fake, rng: torch.Generator) -> Tensor:
    """Generates samples [B, ...] from latents near those of others, for latent consistency."""
    z = neighbouring_latent(fake.z, run.config.LOSS.radius, run.config.MODEL.z_prior, rng)
    images: Tensor = run.generator(z, fake.y)
    return images.float()
