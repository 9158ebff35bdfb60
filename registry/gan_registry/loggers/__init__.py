"""Loggers: plugins that send what a run writes into its folder to an experiment tracker too."""

from __future__ import annotations
