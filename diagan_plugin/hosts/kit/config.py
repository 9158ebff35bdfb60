"""A host's settings in the sections of `gan_registry`'s own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ConfigDict

from gan_registry.config.schema import Config, Section

SECTIONS = tuple(name for name, value in Config() if isinstance(value, Section))
"""Names of the sections, e.g. "OPTIMIZATION"; `PLUGINS` is none, as options are apart."""


def host_config(known: Mapping[str, Mapping[str, Any]]) -> Config:
    """Returns what is known of a host's settings, with the defaults of `gan_registry` beside it.

    So a plugin finds every key that it finds in `gan_registry`'s own run.

    Args:
        known: Section → key → value. The values are the host's own and are not checked; its keys
            need not be among `gan_registry`'s.
    """
    config = Config.model_construct()
    for name in SECTIONS:
        section: Section = getattr(config, name)
        # Not assigned, which would check the host's own values.
        config.__dict__[name] = _open(type(section)).model_construct(None, **known.get(name, {}))
    return config


@cache
def _open(section: type[Section]) -> type[Section]:
    """Returns a section that also takes keys which are not its own."""
    settings = ConfigDict(extra="allow", validate_assignment=False)
    return type(section.__name__, (section,), {"model_config": settings, "__module__": __name__})
