"""`python -m diagan_plugin` is the command `diagan`."""

from __future__ import annotations

from diagan_plugin.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
