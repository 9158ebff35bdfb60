"""Which discriminator rates the samples of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from torch import nn

from diagan_plugin.driver import AUXILIARY
from diagan_plugin.options import NAME
from diagan_plugin.postprocessing.fresh import fresh_judge
from diagan_plugin.postprocessing.judge import Judge
from diagan_plugin.postprocessing.options import PostOptions
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.training.run import Run

_LOG = logging.getLogger(__name__)


def choose_judge(run: Run, options: PostOptions, *, needs_ratio: bool = True) -> Judge:
    """Returns the discriminator that the options name.

    By default that is the auxiliary one where the run has one, as its ratio is unbiased by weighted
    sampling (Self-Diagnosing GAN, §4.3), else the run's own.

    Args:
        run: The run, trained.
        options: Its options.
        needs_ratio: Whether more than the order of the logits counts; what stands in the way is
            then warned of.

    Raises:
        UserError: The run has no auxiliary discriminator, though it is asked for.
    """
    if options.judge == "fresh":
        return fresh_judge(run, options.fresh_steps)
    auxiliary = run.additions.get(AUXILIARY)
    if isinstance(auxiliary, nn.Module) and options.judge != "own":
        measures_ratio = run.options.get(NAME, {}).get("aux_ratio", False)
        judge = Judge(run, auxiliary, logistic=bool(measures_ratio))
    elif options.judge == "auxiliary":
        raise UserError(
            "--post-judge auxiliary: this run has no auxiliary discriminator, as it did not get to "
            "weighted sampling or ran without; use --post-judge fresh."
        )
    else:
        judge = Judge(run, run.discriminator)
        if needs_ratio and run.config.RUN.sampler != "uniform":
            _LOG.warning(
                "The discriminator saw draws of the sampler %r, and its ratios are of those; "
                "drs_fresh and mh_fresh train one on the data as they are.",
                run.config.RUN.sampler,
            )
    if needs_ratio and not judge.is_density_ratio:
        _LOG.warning(
            "The loss %r has no density ratio. D's raw output stands in for it, so that what is "
            "accepted need not follow the data; drs_fresh and mh_fresh train a discriminator that "
            "has one.",
            run.config.LOSS.adv_loss,
        )
    return judge
