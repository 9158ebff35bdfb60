"""A second discriminator that goes on learning the data as they are, for rejection sampling.

Score-weighted sampling shows D the weighted distribution f·p_data, so its logit drifts towards
log(f·p_data/p_g), and rejecting by it would correct towards the wrong target. The auxiliary
discriminator is a copy of D, made when weighting starts, that is trained against the unweighted
data and the same fakes (Self-Diagnosing GAN, section 4.3): its logit estimates log(p_data/p_g).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from diagan_plugin.arguments import as_array, as_kind, as_state, as_whole
from diagan_plugin.auxiliary.batches import Batch, Parts, Provider, as_sequence, parts_of
from diagan_plugin.auxiliary.copy import SharedRates, copy_with_optimizer
from diagan_plugin.auxiliary.importance import importance_weights
from diagan_plugin.auxiliary.terms import (
    PerSampleTerms,
    accumulate_gradient,
    accumulate_regularised,
)
from diagan_plugin.recording.logit_modes import has_batch_norm
from gan_registry.records import AddedTerms, Fake, Real
from gan_registry.samplers.uniform import UniformSampler
from gan_registry.seeding import derive_seed, seeded_rng

AUXILIARY_MODES = ("uniform", "importance")
_STATE_VERSION = 1


class AuxiliaryLosses(NamedTuple):
    """Mean loss terms of one update over the effective batch: detached scalars on the device."""

    real: Tensor
    fake: Tensor


class AuxiliaryDiscriminator:
    """A copy of D with its own optimiser, trained towards the unweighted data distribution.

    Two ways: `uniform` takes own batches, drawn uniformly from the dataset (without replacement
    in each epoch of its own stream); `importance` reuses the host's weighted batches with weights
    1/(N·P_s(i)) and so needs no second loader. Both reuse the host's fakes: no generator pass.

    Nothing of the host changes: not D, its optimiser, its gradients, nor any random state. The own
    stream follows from (seed, number of the update); what modules and the dataset draw from global
    generators during a step (dropout, augmentation) is seeded from (seed, rank, call) and the
    generators are put back. It is trained as D is: with D's learning rate at the time, and with
    whatever `added` gives, such as the host's gradient penalty. Without that, where D needs it, the
    copy diverges.

    Args:
        discriminator: The host's D, as it is now; it is copied with its buffers.
        optimizer: D's optimiser. The copy has the same class, hyperparameters and flags (`fused`,
            `foreach`, …) and a copy of its state, such as Adam's moments. Later changes to its
            learning rates reach the copy.
        loss: Gives `real_terms(out, y)` and `fake_terms(out, y)`, each [B].
        num_samples: The size N of the dataset.
        seed: The run's seed, not negative.
        every: Only each `every`-th call of :meth:`step` trains; the first one does.
        mode: "uniform" or "importance".
        rank: This process's place among `world_size` processes; each takes its slice of the own
            stream. All ranks need batches of equal size.
        world_size: The number of processes.
        forward: `(network, x, y) -> raw output`; by default `network(x)`, or `network(x, y)` where
            there are labels.
        added: What is added to the loss, given the copy of D; none by default.
        average_gradients: Called with the list of parameters between backward and the optimiser's
            step, to average `.grad` over the ranks.

    Attributes:
        discriminator: The auxiliary network, in training mode after each step.
        optimizer: Its optimiser.
        forward: Calls it: `(network, x, y) -> raw output`.
        calls: How often :meth:`step` was called.

    Raises:
        ValueError: An argument is out of range; the optimiser does not hold D's parameters; or
            `mode="importance"` with batch norm in D: its batch statistics would be those of the
            weighted distribution, which no weight on the loss undoes.

    Example, after each update of D::

        auxiliary = AuxiliaryDiscriminator(D, optimizer_d, loss, len(data), seed=0)
        auxiliary.step(lambda indices: fetch(data, indices), fake)
    """

    def __init__(
        self,
        discriminator: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: PerSampleTerms,
        num_samples: int,
        *,
        seed: int,
        every: int = 1,
        mode: str = "uniform",
        rank: int = 0,
        world_size: int = 1,
        forward: Callable[[nn.Module, Tensor, Tensor | None], Any] | None = None,
        added: Callable[[nn.Module], AddedTerms | None] | None = None,
        average_gradients: Callable[[Sequence[nn.Parameter]], None] | None = None,
    ) -> None:
        num_samples, every = as_whole("num_samples", num_samples), as_whole("every", every)
        rank, world_size = as_whole("rank", rank), as_whole("world_size", world_size)
        seed = as_whole("seed", seed, 0)
        as_kind("discriminator", discriminator, nn.Module)
        as_kind("optimizer", optimizer, torch.optim.Optimizer)
        if as_kind("mode", mode, str) not in AUXILIARY_MODES:
            raise ValueError(f"Argument `mode` must be one of {AUXILIARY_MODES}, but got {mode!r}.")
        if mode == "importance" and has_batch_norm(discriminator):
            raise ValueError(
                "Argument `mode` must be 'uniform' for a discriminator with batch norm, but got "
                "'importance': the statistics of a weighted batch are those of the weighted "
                "distribution, and weights on the loss do not undo that."
            )
        if num_samples < 1 or every < 1:
            raise ValueError(
                "Arguments `num_samples` and `every` must be at least 1, "
                f"but got {num_samples} and {every}."
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"Argument `rank` must lie in [0, {world_size}), but got {rank}.")
        self.discriminator, self.optimizer = copy_with_optimizer(discriminator, optimizer)
        self._rates = SharedRates(discriminator, optimizer)
        self._added = None if added is None else added(self.discriminator)
        self.loss = loss
        self.num_samples = num_samples
        self.seed = seed
        self.every = every
        self.mode = mode
        self.rank = rank
        self.world_size = world_size
        self.calls = 0
        self.forward = forward or _default_forward
        self._average_gradients = average_gradients
        self._stream = UniformSampler(num_samples, derive_seed(seed, "auxiliary data"))
        self._weights: Tensor | None = None

    @property
    def due(self) -> bool:
        """Whether the next call of :meth:`step` will train."""
        return self.calls % self.every == 0

    @property
    def weight_variance(self) -> float | None:
        """Variance of the importance weights over draws, Σ_i 1/(N²·P_s(i)) − 1; None without."""
        return None if self._weights is None else float(self._weights.double().mean()) - 1

    def set_probabilities(self, probabilities: ArrayLike) -> None:
        """Tells, in importance mode, how the host draws the real batches of the next steps.

        Args:
            probabilities: Sampling probabilities P_s, [N]; positive, with sum 1.

        Raises:
            ValueError: As for :func:`importance_weights`, or of another length than the dataset.
        """
        weights = importance_weights(as_array("probabilities", probabilities))
        if len(weights) != self.num_samples:
            raise ValueError(
                f"Argument `probabilities` must have length {self.num_samples}, "
                f"but got {len(weights)}."
            )
        self._weights = torch.from_numpy(weights).float()

    def indices(self, batch_size: int) -> NDArray[np.int64]:
        """Returns this rank's own uniform batch for the current update.

        Update u covers positions [uB, (u+1)B) of the own stream, with B the batch size of all ranks
        together; rank r takes the r-th slice.

        Args:
            batch_size: This rank's effective batch size.

        Returns:
            Dataset indices, int64 [batch_size].
        """
        start = (self.calls // self.every * self.world_size + self.rank) * batch_size
        return self._stream.draw(start, start + batch_size)

    def step(
        self, reals: Provider | Batch | Sequence[Batch], fakes: Batch | Sequence[Batch]
    ) -> AuxiliaryLosses | None:
        """Trains on one effective batch: mean(real terms) + mean(fake terms), one optimiser step.

        Call it after each update of the host's D. Several micro-batches give the gradient of the
        mean over all of them, as one large batch would (without batch norm).

        Args:
            reals: A function that reads the samples at given dataset indices; it is asked for as
                many as there are fakes, a micro-batch at a time. Or the real (micro-)batches
                themselves: uniform ones, or in importance mode the host's, with `.indices`.
            fakes: The host's generated (micro-)batches; they are detached here.

        Returns:
            The mean terms, still on the device; None when this call was not :attr:`due`.

        Raises:
            ValueError: There are no samples; or, in importance mode, batches come without indices,
                or :meth:`set_probabilities` was never called.
        """
        due = self.due
        if due:
            losses = self._update(reals, [parts_of(batch) for batch in as_sequence(fakes)])
        self.calls += 1
        return losses if due else None

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values from which training goes on exactly.

        The probabilities of importance mode are not among them: they belong to the sampler.
        """
        return {
            "version": _STATE_VERSION,
            "num_samples": self.num_samples,
            "mode": self.mode,
            "calls": self.calls,
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned.

        Args:
            state: The state; its tensors may be on another device.

        Raises:
            ValueError: It is of another version, dataset size or mode.
        """
        for name, own in (
            ("version", _STATE_VERSION),
            ("num_samples", self.num_samples),
            ("mode", self.mode),
        ):
            if as_state(state).get(name) != own:
                raise ValueError(
                    f"Argument `state` must have {name} {own!r}, but got {state.get(name)!r}."
                )
        as_state(state, self.state_dict())
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.calls = int(state["calls"])

    def _update(
        self, reals: Provider | Batch | Sequence[Batch], fakes: list[Parts]
    ) -> AuxiliaryLosses:
        num_fakes = sum(len(part.x) for part in fakes)
        if callable(reals):
            if self.mode == "importance":
                raise ValueError(
                    "Argument `reals` must be the host's batches in importance mode, "
                    "but got a function."
                )
            num_reals = num_fakes
            parts: Iterable[Parts] = self._provided(reals, [len(part.x) for part in fakes])
        else:
            parts = given = [self._weighted(batch) for batch in as_sequence(reals)]
            num_reals = sum(len(part.x) for part in given)
        if not num_fakes or not num_reals:
            raise ValueError("Arguments `reals` and `fakes` must hold at least one sample each.")
        device = next(self.discriminator.parameters()).device
        self.discriminator.train()
        self._rates.give_to(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        with seeded_rng(device, self.seed, "auxiliary modules", self.rank, self.calls):
            call, loss = partial(self.forward, self.discriminator), self.loss
            if self._added is not None:
                totals = num_reals, num_fakes
                return self._regularised(self._added, call, parts, fakes, totals, device)
            losses = AuxiliaryLosses(
                real=accumulate_gradient(call, parts, num_reals, loss.real_terms, device),
                fake=accumulate_gradient(call, fakes, num_fakes, loss.fake_terms, device),
            )
            self._step()
        return losses

    def _regularised(
        self,
        added: AddedTerms,
        call: Callable[[Tensor, Tensor | None], Any],
        reals: Iterable[Parts],
        fakes: list[Parts],
        totals: tuple[int, int],
        device: torch.device,
    ) -> AuxiliaryLosses:
        """Takes the step with what is added to the loss, and what follows it."""
        update = self.calls // self.every

        def terms(real: Real, fake: Fake, real_out: Any, fake_out: Any, piece: int) -> Any:
            return added.terms(real, fake, real_out, fake_out, update, piece)

        pairs = zip(reals, fakes, strict=True)
        real, fake, seen = accumulate_regularised(call, pairs, totals, self.loss, terms, device)
        self._step()
        lazy = added.lazy_terms(seen, update)
        if lazy:
            self.optimizer.zero_grad(set_to_none=True)
            for term in lazy:
                torch.autograd.backward(term() / len(lazy))
            self._step()
        added.stepped()
        return AuxiliaryLosses(real, fake)

    def _step(self) -> None:
        if self._average_gradients is not None:
            self._average_gradients(list(self.discriminator.parameters()))
        self.optimizer.step()

    def _provided(self, provider: Provider, sizes: list[int]) -> Iterator[Parts]:
        indices = self.indices(sum(sizes))
        for part in np.split(indices, np.cumsum(sizes)[:-1]):
            yield Parts(*provider(part))

    def _weighted(self, batch: Batch) -> Parts:
        parts = parts_of(batch)
        if self.mode != "importance":
            return parts
        indices = getattr(batch, "indices", None)  # of a Tensor that is a method
        if not isinstance(indices, Tensor) or self._weights is None:
            raise ValueError(
                "Importance mode needs real batches with `.indices` and `set_probabilities`, "
                f"but got {'no probabilities' if self._weights is None else 'no indices'}."
            )
        return parts._replace(weights=self._weights[indices.cpu()])


def _default_forward(network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
    return network(x) if y is None else network(x, y)
