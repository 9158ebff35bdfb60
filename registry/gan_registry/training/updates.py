"""One update of the discriminator and one of the generator.

Weights and hooks act on micro-batches; the host alone reduces: mean over the micro-batch of
weight × term, never renormalised, averaged over the micro-batches of the update.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gan_registry.errors import PluginError
from gan_registry.records import Fake, MicroBatch
from gan_registry.training.run import Run


class AdversarialObjective:
    """The game of one generator and one discriminator (objective `adversarial`).

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def update_discriminator(self, number: int) -> None:
        """Trains D once; see the function of that name."""
        update_discriminator(self._run, number)

    def update_generator(self, number: int) -> None:
        """Trains G once; see the function of that name."""
        update_generator(self._run, number)


def update_discriminator(run: Run, number: int) -> None:
    """Trains D once, on `acml_steps` micro-batches.

    Args:
        run: The run.
        number: The update's number within the step, from 0.
    """
    hooks = run.hooks
    settings = run.config.OPTIMIZATION
    shows_logits = hooks.implements("gan_real_logits")
    takes_weights = hooks.implements("gan_discriminator_weights")
    takes_penalty = hooks.implements("gan_discriminator_penalty")
    optimizer = run.optimizers["discriminator"]
    optimizer.zero_grad(set_to_none=True)
    batches = []
    total: Tensor | float = 0.0
    for piece, (z, y) in enumerate(_inputs(run, "discriminator", number)):
        # Real and generated samples through D.
        real = run.stream.next()
        with run.precision.autocast():
            with torch.no_grad():
                fake = Fake(run.generator(z, y).float(), z, y)
            real_out = run.discriminator(real.x, real.y)
            fake_out = run.discriminator(fake.x, fake.y)

        # Its loss in terms of each sample, or of each pair, which plugins see and weight.
        if run.loss.is_pairwise:
            terms = [run.loss.pair_terms(real_out, fake_out)]
        else:
            terms = [
                run.loss.real_terms(real_out, real.y),
                run.loss.fake_terms(fake_out, fake.y),
            ]
        _check_terms(run, *terms, size=len(real.x))
        if shows_logits or takes_weights:
            with torch.no_grad():
                real_logits = run.loss.log_density_ratio(real_out, real.y).float().detach()
                fake_logits = run.loss.log_density_ratio(fake_out, fake.y).float().detach()
        if shows_logits:
            hooks.real_logits(run, real, real_logits)
        if takes_weights:
            of_real, of_fake = hooks.discriminator_weights(
                run, real, fake, real_logits, fake_logits, real_out, fake_out
            )
            terms[0] = _weighted(terms[0], of_real)
            terms[-1] = _weighted(terms[-1], of_fake)  # a pair counts by both its samples' weights
        loss = terms[0].mean() if len(terms) == 1 else terms[0].mean() + terms[1].mean()

        # What is added: the backbone's own terms and regularisers, plugins' penalties.
        regularizer = run.regularization.discriminator(
            real, fake, real_out, fake_out, number, piece
        )
        if regularizer is not None:
            loss = loss + regularizer
        if takes_penalty:
            run.check_loss("loss/discriminator", loss)  # so that a penalty is not blamed for it
            penalty = hooks.discriminator_penalty(run, real, fake, real_out, fake_out)
            if penalty is not None:
                loss = loss + penalty

        # Gradients, added up over the micro-batches.
        if settings.acml_steps > 1:
            loss = loss / settings.acml_steps
        _backward(run, loss, "discriminator")
        total = total + loss.detach()
        batches.append(MicroBatch(real, fake, detached(real_out), detached(fake_out)))

    # One step of all ranks, and what follows it.
    run.average_gradients(run.discriminator)
    run.precision.step(optimizer, "discriminator")
    run.regularization.discriminator_stepped(batches, number)
    run.log({"loss/discriminator": total})
    run.health.discriminator_updated(batches, number)
    if hooks.implements("gan_discriminator_updated"):
        hooks.discriminator_updated(run, batches)


def update_generator(run: Run, number: int) -> None:
    """Trains G once, on `acml_steps` micro-batches.

    Args:
        run: The run.
        number: The update's number within the step, from 0.
    """
    hooks = run.hooks
    settings = run.config.OPTIMIZATION
    takes_weights = hooks.implements("gan_generator_weights")
    takes_penalty = hooks.implements("gan_generator_penalty")
    optimizer = run.optimizers["generator"]
    optimizer.zero_grad(set_to_none=True)
    total: Tensor | float = 0.0
    reals = run.stream.recent() if run.loss.is_pairwise else []
    # D is only looked through here: without this its own gradients would be computed in vain.
    trainable = [p for p in run.discriminator.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        inputs = _inputs(run, "generator", number)
        for piece, (z, y) in enumerate(inputs):
            # Generated samples through D.
            with run.precision.autocast():
                fake = Fake(run.generator(z, y).float(), z, y)
                fake_out = run.discriminator(fake.x, fake.y)

            # Its loss in terms of each sample, which plugins weight; in pairs, beside a real one.
            if reals:
                with torch.no_grad(), run.precision.autocast():
                    real_out = run.discriminator(reals[piece].x, reals[piece].y)
                terms = run.loss.pair_terms(fake_out, real_out)
            else:
                terms = run.loss.generator_terms(fake_out, fake.y)
            _check_terms(run, terms, size=len(fake.x))
            if takes_weights:
                with torch.no_grad():
                    logits = run.loss.log_density_ratio(fake_out, fake.y).float().detach()
                terms = _weighted(terms, hooks.generator_weights(run, fake, logits, fake_out))
            loss = terms.mean()

            # What is added: the backbone's own terms and regularisers, plugins' penalties.
            regularizer = run.regularization.generator(fake, fake_out, number, piece)
            if regularizer is not None:
                loss = loss + regularizer
            if takes_penalty:
                run.check_loss("loss/generator", loss)
                penalty = hooks.generator_penalty(run, fake, fake_out)
                if penalty is not None:
                    loss = loss + penalty

            # Gradients, added up over the micro-batches.
            if settings.acml_steps > 1:
                loss = loss / settings.acml_steps
            _backward(run, loss, "generator")
            total = total + loss.detach()
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)

    # One step of all ranks, and what follows it.
    run.average_gradients(run.generator)
    run.precision.step(optimizer, "generator")
    run.regularization.generator_stepped(inputs, number)
    run.log({"loss/generator": total})


def _backward(run: Run, loss: Tensor, network: str) -> None:
    """Adds the gradients of a loss; names the plugins with a part in it if there are none."""
    try:
        run.precision.backward(loss, network)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise run.hooks.backward_failed(error) from error


def _inputs(run: Run, network: str, number: int) -> list[tuple[Tensor, Tensor | None]]:
    """Draws G's latents and labels for an update, as one draw over all micro-batches and ranks.

    So that 1 × 64 and 4 × 16, and one process and four, see the same numbers.
    """
    settings = run.config.OPTIMIZATION
    count, purpose = settings.batch_size * settings.acml_steps, (network, run.step, number)

    def share(drawn: Tensor) -> list[Tensor]:
        pieces = torch.split(drawn, settings.batch_size)
        return [piece[run.rank :: run.world_size] for piece in pieces]

    z, y = run.latents(count, *purpose), run.labels(count, *purpose)
    if settings.acml_steps == run.world_size == 1:
        return [(z, y)]
    labels: list[Any] = [None] * settings.acml_steps if y is None else share(y)
    return list(zip(share(z), labels, strict=True))


def _weighted(terms: Tensor, weights: Tensor | None) -> Tensor:
    return terms if weights is None else terms * weights.to(terms.dtype)


def _check_terms(run: Run, *groups: Tensor, size: int) -> None:
    for terms in groups:
        # At most: a discriminator that packs samples has one output for several.
        if terms.ndim != 1 or len(terms) > size:
            raise PluginError(
                f"The loss {run.config.LOSS.adv_loss!r} returned terms of shape "
                f"{tuple(terms.shape)} for a batch of {size}; it must return one term a sample."
            )


def detached(output: Any) -> Any:
    """Returns a network's output without its graph: the tensors in dicts, lists and tuples, too."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, dict):
        return {key: detached(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        parts = [detached(value) for value in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return output
