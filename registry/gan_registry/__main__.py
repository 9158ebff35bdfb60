"""`python -m gan_registry` is the command `gan-registry`."""

from __future__ import annotations

from gan_registry.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
