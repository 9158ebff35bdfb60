"""Adversarial losses, chosen by name (`LOSS.adv_loss`)."""

from __future__ import annotations

BUILTIN = {
    "MH": "gan_registry.losses.multi_hinge:MultiHinge",
    "f_js": "gan_registry.losses.f_gan:JensenShannon",
    "f_js_minimax": "gan_registry.losses.f_gan:JensenShannonMinimax",
    "f_kl": "gan_registry.losses.f_gan:KullbackLeibler",
    "f_kl_minimax": "gan_registry.losses.f_gan:KullbackLeiblerMinimax",
    "f_reverse_kl": "gan_registry.losses.f_gan:ReverseKullbackLeibler",
    "hinge": "gan_registry.losses.hinge:Hinge",
    "least_square": "gan_registry.losses.least_squares:LeastSquares",
    "logistic": "gan_registry.losses.logistic:Logistic",
    "minimax": "gan_registry.losses.logistic:Minimax",
    "relativistic": "gan_registry.losses.relativistic:Relativistic",
    "vanilla": "gan_registry.losses.logistic:Vanilla",
    "wasserstein": "gan_registry.losses.wasserstein:Wasserstein",
}
