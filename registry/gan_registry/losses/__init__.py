"""Adversarial losses, chosen by name (`LOSS.adv_loss`)."""

from __future__ import annotations

BUILTIN = {
    "hinge": "gan_registry.losses.hinge:Hinge",
    "logistic": "gan_registry.losses.logistic:Logistic",
    "minimax": "gan_registry.losses.logistic:Minimax",
    "vanilla": "gan_registry.losses.logistic:Vanilla",
}
