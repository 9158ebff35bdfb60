# ruff: noqa: N999
