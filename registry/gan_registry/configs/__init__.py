"""Packaged configurations, chosen by name: `--config NAME` reads NAME.yaml of this folder."""
