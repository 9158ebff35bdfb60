"""Sampling from a trained run, and measuring what comes out."""

from __future__ import annotations

BUILTIN = {"plain": "gan_registry.evaluation.sources:PlainSource"}
"""The host's post-processors: a factory takes (run, seed) and returns a `SampleSource`."""
