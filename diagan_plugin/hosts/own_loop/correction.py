"""Corrected samples of a loop of one's own: rejection by its discriminators (phase 3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.dia.auxiliary import auxiliary_loss
from diagan_plugin.dia.options import AUXILIARY
from diagan_plugin.hosts.own_loop.run import LoopRun
from diagan_plugin.postprocessing.options import BATCH, PostOptions
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.recording.logit_modes import logit_mode
from gan_registry.datasets.fetching import to_device
from gan_registry.seeding import derive_seed

_LOG = logging.getLogger(__name__)


def corrected(
    run: LoopRun,
    generate: Callable[[int], Tensor | tuple[Tensor, Tensor]],
    seed: int,
    options: Mapping[str, Any],
) -> RejectionSampler:
    """Returns a source of samples corrected by the auxiliary discriminator, or else by D.

    Args:
        run: The loop's run.
        generate: `n -> samples [n, ...]`, or `(samples, labels [n])` where D takes labels.
        seed: Seed of the decisions.
        options: More of :class:`RejectionSampler`. Where they say nothing of γ, it is found as the
            preset of Dia has it.

    Raises:
        ValueError: No discriminator was shown yet.
    """
    if not run.is_shown:
        raise ValueError("Call Dia.sweep or Dia.update before Dia.rejection.")
    auxiliary = run.additions.get(AUXILIARY)
    if isinstance(auxiliary, nn.Module):
        network, loss = auxiliary, auxiliary_loss(run)
    else:
        network, loss = run.discriminator, run.loss
        if run.sampler.probabilities_at(run.position) is not None:
            _LOG.warning(
                "D has learnt from weighted draws, and samples that it corrects follow those, not "
                'the data: make Dia(…, aux="uniform") for a discriminator of the data as they are.'
            )

    @torch.no_grad()
    def propose(n: int) -> tuple[Tensor, Tensor, Tensor | None]:
        made = generate(n)
        x, y = made if isinstance(made, tuple) else (made, None)
        if run.conditional and y is None:
            raise ValueError(
                "Argument `generate` must return samples and their labels, as D takes labels: "
                "lambda n: (x, y)."
            )
        labels = None if y is None else to_device(y, run.device)
        with logit_mode(network, "eval"):
            output = network(to_device(x, run.device), labels)
        return x, loss.log_density_ratio(output, labels).float(), y

    rng = torch.Generator().manual_seed(derive_seed(seed, "rejection"))
    if not {"gamma", "per_batch"} & options.keys():
        options = {**options, "per_batch": PostOptions.of(run).drs_gamma_over == BATCH}
    return RejectionSampler(propose, rng=rng, **options)
