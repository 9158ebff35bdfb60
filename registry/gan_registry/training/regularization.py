"""The regularisers that a configuration asks for (`LOSS.apply_…`), at their places in a step.

Each is a pure function of :mod:`gan_registry.regularizers`; here is only when it acts and with
what weight. All are computed in float32, also where the networks are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan_registry.backbones.base import Backbone
from gan_registry.config.schema import Config
from gan_registry.live_run import LiveRun
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.regularizers.consistency import (
    consistency,
    flip_and_shift,
    latent_diversity,
    neighbouring_latent,
)
from gan_registry.regularizers.feature_matching import feature_matching
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

_AVERAGES = "host.lecam"


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


class Regularization:
    """What is added to the losses of D and G, micro-batch by micro-batch, and after their steps.

    Args:
        run: The run, with its networks.
        backbone: Its backbone, which may have lazy terms of its own.
    """

    def __init__(self, run: LiveRun, backbone: Backbone) -> None:
        self._run = run
        self._backbone = backbone
        self._settings = run.config.LOSS
        # Most runs ask for none of them, and then a step should not pay for any.
        self._of_discriminator = any(
            getattr(self._settings, f"apply_{name}")
            for name in ("gp", "dra", "maxgp", "r1_reg", "lecam", "cr", "bcr", "zcr")
        )
        self._real: Real | None = None  # of D's latest micro-batch, for feature matching
        self._averages: LogitAverages | None = None
        if self._settings.apply_lecam:
            self._averages = LogitAverages(
                self._settings.lecam_ema_decay, self._settings.lecam_ema_start_iter
            )
            run.add(_AVERAGES, self._averages)

    def discriminator(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, number: int, piece: int
    ) -> Tensor | None:
        """Returns what is added to D's loss on a micro-batch, a scalar or None.

        Args:
            real: Training samples.
            fake: Generated samples.
            real_out: D's output on the former, with its graph.
            fake_out: D's output on the latter, with its graph.
            number: The update's number within the step.
            piece: The micro-batch's number within the update.
        """
        run, loss = self._run, self._settings
        self._real = real
        if not self._of_discriminator:
            return None
        keys: dict[str, Any] = {"realness": run.backbone.realness}
        draws = {**keys, "generator": self._rng("discriminator", number, piece)}
        terms = []
        if loss.apply_gp:
            penalty = gradient_penalty(run.discriminator, real.x, fake.x, real.y, **draws)
            terms.append(loss.gp_lambda * penalty)
        if loss.apply_dra:
            penalty = dragan_penalty(run.discriminator, real.x, real.y, **draws)
            terms.append(loss.dra_lambda * penalty)
        if loss.apply_maxgp:
            penalty = max_gradient_penalty(run.discriminator, real.x, fake.x, real.y, **draws)
            terms.append(loss.maxgp_lambda * penalty)
        if loss.apply_r1_reg and loss.r1_place == "inside_loop":
            interval = r1_interval(run.config)
            if is_regularised(self._count("d", number), interval):
                penalty = r1_penalty(run.discriminator, real.x, real.y, **keys)
                terms.append(interval * loss.r1_lambda * penalty)
        if self._averages is not None:
            terms.append(loss.lecam_lambda * self._lecam(self._averages, real_out, fake_out))
        if loss.apply_cr:
            terms.append(loss.cr_lambda * self._augmented(real, real_out, draws["generator"]))
        if loss.apply_bcr:
            terms.append(loss.real_lambda * self._augmented(real, real_out, draws["generator"]))
            terms.append(loss.fake_lambda * self._augmented(fake, fake_out, draws["generator"]))
        if loss.apply_zcr:
            with torch.no_grad():
                near = self._neighbour(fake, draws["generator"])
            terms.append(loss.d_lambda * consistency(fake_out, run.discriminator(near, fake.y)))
        return torch.stack(terms).sum() if terms else None

    def discriminator_stepped(self, batches: Sequence[MicroBatch], number: int) -> None:
        """Does what follows D's step: lazy R1 in a step of its own, and weight clipping.

        Args:
            batches: The micro-batches of the update.
            number: The update's number within the step.
        """
        run, loss = self._run, self._settings
        if loss.apply_r1_reg and loss.r1_place == "outside_loop":
            interval = r1_interval(run.config)
            weight = loss.r1_lambda * interval

            def penalty(batch: MicroBatch) -> Tensor:
                return weight * r1_penalty(
                    run.discriminator, batch.real.x, batch.real.y, realness=run.backbone.realness
                )

            if is_regularised(self._count("d", number), interval):
                self._own_step("discriminator", [partial(penalty, batch) for batch in batches])
        if loss.apply_wc:
            clip_weights(run.discriminator, loss.wc_bound)

    def generator(self, fake: Fake, number: int, piece: int) -> Tensor | None:
        """Returns what is added to G's loss on a micro-batch, a scalar or None."""
        run, loss = self._run, self._settings
        terms = []
        if loss.apply_fm and self._real is not None:
            with torch.no_grad():
                of_real = run.backbone.features(self._real.x)
            distance = feature_matching(of_real, run.backbone.features(fake.x), loss.fm_reduction)
            terms.append(loss.fm_lambda * distance)
        if loss.apply_zcr:
            near = self._neighbour(fake, self._rng("generator", number, piece))
            terms.append(loss.g_lambda * latent_diversity(fake.x, near))
        return torch.stack(terms).sum() if terms else None

    def generator_stepped(
        self, inputs: Sequence[tuple[Tensor, Tensor | None]], number: int
    ) -> None:
        """Does what follows G's step: the backbone's lazy terms in a step of their own.

        Args:
            inputs: Latents and labels of the update's micro-batches.
            number: The update's number within the step.
        """
        interval = self._backbone.lazy_intervals().get("generator")
        if interval is None or not is_regularised(self._count("g", number), interval):
            return
        terms = self._backbone.lazy_generator_terms
        self._own_step("generator", [partial(terms, z, y) for z, y in inputs])

    def _own_step(self, network: str, penalties: Sequence[Callable[[], Tensor | None]]) -> None:
        run = self._run
        optimizer = run.optimizers[network]
        optimizer.zero_grad(set_to_none=True)
        for compute in penalties:
            penalty = compute()
            if penalty is not None:
                run.precision.backward(penalty / len(penalties), network)
        run.average_gradients(getattr(run, network))
        run.precision.step(optimizer, network)

    def _count(self, network: str, number: int) -> int:
        per_step = getattr(self._run.config.OPTIMIZATION, f"{network}_updates_per_step")
        return int(per_step * self._run.step + number)

    def _rng(self, *purpose: int | str) -> torch.Generator:
        run = self._run
        return generator_for(run.seed, "regularization", run.rank, run.step, *purpose)

    def _lecam(self, averages: LogitAverages, real_out: Any, fake_out: Any) -> Tensor:
        run = self._run
        real, fake = run.loss.logits(real_out), run.loss.logits(fake_out)
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        means = run.group.sum(means) / run.world_size
        averages.update(means[0], means[1], run.step)
        return averages.penalty(real, fake, run.step)

    def _augmented(self, batch: Real | Fake, out: Any, rng: torch.Generator) -> Tensor:
        changed = flip_and_shift(batch.x, rng)
        return consistency(out, self._run.discriminator(changed, batch.y))

    def _neighbour(self, fake: Fake, rng: torch.Generator) -> Tensor:
        run = self._run
        z = neighbouring_latent(fake.z, self._settings.radius, run.config.MODEL.z_prior, rng)
        images: Tensor = run.generator(z, fake.y)
        return images.float()
