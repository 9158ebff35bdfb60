"""Measurements: `benchmarks.speed` against peers, `benchmarks.claims` of the papers."""
