"""What the two networks play for, chosen by name (`LOSS.objective`)."""

from __future__ import annotations

from typing import Protocol

BUILTIN = {"adversarial": "gan_registry.training.updates:AdversarialObjective"}


class Objective(Protocol):
    """One update of D and one of G; the catalog `objectives` maps names to factories of a run.

    The host calls them as often, and in the order, that the configuration asks for. An objective
    fires the hooks at their places, as :mod:`gan_registry.training.updates` does.
    """

    def update_discriminator(self, number: int) -> None:
        """Trains D once; `number` is the update's number within the step, from 0."""
        ...

    def update_generator(self, number: int) -> None:
        """Trains G once; `number` is the update's number within the step, from 0."""
        ...
