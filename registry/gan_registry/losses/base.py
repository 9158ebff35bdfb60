"""What an adversarial loss is: three per-sample terms and a reading of the density ratio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from gan_registry.regularizers.full_precision import at_least_float32


class Loss(ABC):
    """An adversarial loss in per-sample terms; the host alone weights and averages them.

    D minimises `mean(w_real * real_terms) + mean(w_fake * fake_terms)` and G minimises
    `mean(w * generator_terms)`. Every method takes D's raw output `out` and the labels `y` (int64
    [B] or None) and returns [B], computed in float32 at least, whatever the precision of `out`.

    Args:
        realness: Reads one realness logit per sample, [B], from D's raw output; usually
            `Backbone.realness`.

    Attributes:
        realness: Reads the logits.
        is_density_ratio: Whether `log_density_ratio` estimates log(p_data / p_g) where D is
            optimal. If not, it is a surrogate of which only the order and the spread mean anything.
        is_ratio_up_to_constant: Whether it estimates that ratio but for a constant, the same for
            all samples; `is_density_ratio` is False then.
        is_shift_invariant: Whether a constant added to all that D says changes nothing, so that the
            size of its output has no meaning.
        is_pairwise: Whether both networks are trained by :meth:`pair_terms`. The terms of single
            samples are then those beside a partner whose logit is 0.
        options: Keys of the configuration's section `LOSS` that the constructor also takes, each as
            a keyword argument with a default.
    """

    is_density_ratio: ClassVar[bool]
    is_ratio_up_to_constant: ClassVar[bool] = False
    is_shift_invariant: ClassVar[bool] = False
    is_pairwise: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, realness: Callable[[Any], Tensor]) -> None:
        self.realness = realness

    @abstractmethod
    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns D's loss for each real sample, [B]."""

    @abstractmethod
    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns D's loss for each generated sample, [B]."""

    @abstractmethod
    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns G's loss for each generated sample, [B]."""

    @abstractmethod
    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns log(p_data(x) / p_g(x)) for each sample as D sees it, or its surrogate, [B]."""

    def pair_terms(self, out: Any, other: Any) -> Tensor:
        """Returns the loss of each pair that would have `out` above `other`, [B].

        D minimises it of real samples above generated ones, and G of generated above real ones.
        Only a loss that `is_pairwise` has it.
        """
        raise NotImplementedError(f"{type(self).__name__} is a loss of single samples.")

    def logits(self, out: Any) -> Tensor:
        """Returns the realness logits [B], in float32 if they came in half precision."""
        return at_least_float32(self.realness(out))


class LogitLoss(Loss):
    """What most losses have in common: G wants its samples taken for real, and v stands for r.

    G's loss of a sample is what D's would be if it were real, and D's raw output v is the log
    density ratio r or its surrogate. A loss overrides what is otherwise.
    """

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns the terms of real samples, [B]: where D is surely right, they don't saturate."""
        return self.real_terms(out, y)

    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns D's raw output v itself, [B]."""
        return self.logits(out)
