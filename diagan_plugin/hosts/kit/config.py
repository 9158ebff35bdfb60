"""A host's settings in the sections of `gan_registry`'s own configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_origin

from gan_registry.config.schema import Config, Section


def merged_config(given: Any, **run: Any) -> SimpleNamespace:
    """Returns what is known of a host's settings, with the defaults of `gan_registry` beside it.

    So a plugin finds every key that it finds in `gan_registry`'s own run.

    Args:
        given: Sections as attributes, with keys as attributes; its keys come before the defaults,
            and need not be among `gan_registry`'s. The sections are copied.
        **run: Keys of the section `RUN` that come before those of `given`.
    """
    config = SimpleNamespace(PLUGINS={})
    for name, field in Config.model_fields.items():
        section: Any = field.annotation
        # Python 3.10 takes a mapping of such-and-such for a class.
        if get_origin(section) is not None or not issubclass(section, Section):
            continue
        values = {
            key: entry.get_default(call_default_factory=True)
            for key, entry in section.model_fields.items()
            if not entry.is_required()
        }
        known = vars(getattr(given, name, SimpleNamespace()))
        setattr(config, name, SimpleNamespace(**{**values, **known}))
    vars(config.RUN).update(run)
    return config
