"""The methods that are compared, all by their published or default settings."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Method

DIA = {"RUN.sampler": "dia"}

WITHOUT = Method(DIA, {"PLUGINS.dia.phase1": 1.0})
"""Drawn as `--sampler uniform` draws, sample by sample; so it shares phase 1 with the others."""

PAPER = Method(DIA, {"PLUGINS.dia.preset": "paper"}, (PLAIN, "drs"))
FEEDBACK = Method(DIA, {"PLUGINS.dia.rule": "feedback"}, (PLAIN, "drs"))

OURS = {"vanilla": WITHOUT, "paper": PAPER, "feedback": FEEDBACK}

OTHERS = {
    "GOLD": Method({"PLUGINS.gold.enabled": True}),
    "top-k": Method({"PLUGINS.top_k.enabled": True}),
    "PacGAN": Method({"PLUGINS.pacgan.size": 2}),
    "mode seeking": Method({"PLUGINS.mode_seeking.weight": 0.05}),
    "Inclusive GAN": Method({"PLUGINS.inclusive.weight": 0.1}),
}
"""Other published remedies, without Dia."""

QUICK = {
    "OPTIMIZATION.total_steps": 40, "PLUGINS.dia.record_every": 4,
    "PLUGINS.dia.record_fraction": 1.0, "RUN.num_eval": 400,
}  # fmt: skip
"""Makes runs on digits tiny, to see that everything works."""
