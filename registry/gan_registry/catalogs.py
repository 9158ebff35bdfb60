"""Catalogs: everything a run can choose by name, from the host and from plugins alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gan_registry.errors import PluginError, UserError, unknown_name

Factory = Callable[..., Any]
HOST = "gan_registry"


class Catalog:
    """Maps names to factories of one kind of component.

    Args:
        kind: What the names stand for, in the singular, e.g. "backbone".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Factory | str] = {}
        self._owners: dict[str, str] = {}

    def register(self, name: str, factory: Factory | str, *, plugin: str | None = None) -> None:
        """Adds a component.

        Args:
            name: The name to choose it by.
            factory: A callable, or `module:attribute`, which is imported on first use.
            plugin: The name of the plugin that adds it; the host fills it in during
                `gan_register`.

        Raises:
            PluginError: The name is taken or no name, or the factory is neither callable nor a
                path.
        """
        owner = plugin or self._current_owner
        if not isinstance(name, str) or not name or name != name.strip() or "\n" in name:
            raise PluginError(
                f"Plugin {owner!r} registers a {self.kind} under {name!r}, which is no name."
            )
        if name in self._factories:
            raise PluginError(
                f"Plugin {owner!r} registers the {self.kind} {name!r}, which {self._owners[name]!r}"
                " has registered already; one of the two must take another name."
            )
        is_path = isinstance(factory, str) and factory.count(":") == 1
        if not (is_path or callable(factory)):
            raise PluginError(
                f"Plugin {owner!r} registers the {self.kind} {name!r} with {factory!r}, which is "
                "neither callable nor of the form 'module:attribute'."
            )
        self._factories[name] = factory
        self._owners[name] = owner

    _current_owner = HOST

    def __getitem__(self, name: str) -> Factory:
        """Returns the factory of that name.

        Raises:
            UserError: Nothing has that name; the message lists the known ones.
            PluginError: The factory's module cannot be imported.
        """
        if name not in self._factories:
            raise unknown_name(self.kind, name, self._factories)
        factory = self._factories[name]
        if isinstance(factory, str):
            module, _, attribute = factory.partition(":")
            try:
                factory = getattr(importlib.import_module(module), attribute)
            except UserError:
                raise
            except (Exception, SystemExit) as error:  # a module may do anything when it is imported
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise PluginError(
                    f"The {self.kind} {name!r} of {self._owners[name]!r} cannot be imported from "
                    f"{module}: {reason}"
                ) from error
            if not callable(factory):
                raise PluginError(f"The {self.kind} {name!r}, {module}:{attribute}, is no factory.")
            self._factories[name] = factory
        return factory

    def owner(self, name: str) -> str:
        """Returns the name of the plugin that registered `name`."""
        return self._owners[name]

    def of_plugins(self) -> list[str]:
        """Returns the names that plugins have registered."""
        return [name for name in self if self._owners[name] != HOST]

    def snapshot(self) -> tuple[dict[str, Factory | str], dict[str, str]]:
        """Returns a copy of what is registered, for :meth:`restore`."""
        return dict(self._factories), dict(self._owners)

    def restore(self, snapshot: tuple[dict[str, Factory | str], dict[str, str]]) -> None:
        """Forgets everything that was registered since a snapshot."""
        self._factories, self._owners = snapshot

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))

    def __len__(self) -> int:
        return len(self._factories)


KINDS: Mapping[str, str] = {
    "backbones": "backbone",
    "losses": "loss",
    "objectives": "objective",
    "datasets": "dataset",
    "samplers": "sampler",
    "postprocessors": "post-processor",
    "features": "feature extractor",
    "metrics": "metric",
}

_BUILTIN_MODULES = {
    "backbones": "gan_registry.backbones",
    "losses": "gan_registry.losses",
    "datasets": "gan_registry.datasets",
    "objectives": "gan_registry.training.objectives",
    "samplers": "gan_registry.training",
    "postprocessors": "gan_registry.evaluation",
    "features": "gan_registry.features",
    "metrics": "gan_registry.metrics",
}


class Catalogs:
    """All catalogs, one attribute each; filled with the host's own components when made.

    Attributes:
        claims: Host config keys that plugins understand: `SECTION.key` → `plugin.option`.
    """

    backbones: Catalog
    losses: Catalog
    objectives: Catalog
    datasets: Catalog
    samplers: Catalog
    postprocessors: Catalog
    features: Catalog
    metrics: Catalog

    def __init__(self) -> None:
        self.claims: dict[str, str] = {}
        for plural, kind in KINDS.items():
            catalog = Catalog(kind)
            setattr(self, plural, catalog)
            if plural in _BUILTIN_MODULES:
                for name, path in importlib.import_module(_BUILTIN_MODULES[plural]).BUILTIN.items():
                    catalog.register(name, path, plugin=HOST)

    def __iter__(self) -> Iterator[tuple[str, Catalog]]:
        return ((plural, getattr(self, plural)) for plural in KINDS)

    def claim(self, key: str, option: str) -> None:
        """Declares that a host config key is understood by a plugin.

        Without a claim, keys of StudioGAN's that the host does not support are refused where a
        configuration turns them on; see :mod:`gan_registry.config.studiogan`.

        Args:
            key: `SECTION.key`, e.g. "LOSS.apply_topk".
            option: `plugin.option` that takes the value.

        Raises:
            PluginError: Another option claims the key, or it is one of the host's own.
        """
        from gan_registry.config.schema import Config  # pydantic is not needed for --help

        section, _, name = key.partition(".")
        field = Config.model_fields.get(section)
        if field is None or not name or section == "PLUGINS":
            raise PluginError(
                f"{option!r} claims the config key {key!r}, which is not of the form SECTION.key."
            )
        if name in getattr(field.annotation, "model_fields", {}):
            raise PluginError(f"{option!r} claims the config key {key}, which is the host's own.")
        if self.claims.get(key, option) != option:
            raise PluginError(
                f"The config key {key} is claimed by both {self.claims[key]!r} and {option!r}; "
                "disable one of the plugins with GAN_REGISTRY_DISABLE=name."
            )
        self.claims[key] = option

    def set_owner(self, plugin: str) -> None:
        """Names the plugin on whose behalf components are registered from now on."""
        for _, catalog in self:
            catalog._current_owner = plugin

    def snapshot(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Returns a copy of all registrations and claims, for :meth:`restore`."""
        return {plural: catalog.snapshot() for plural, catalog in self}, dict(self.claims)

    def restore(self, snapshot: tuple[dict[str, Any], dict[str, str]]) -> None:
        """Forgets everything that was registered or claimed since a snapshot."""
        catalogs, self.claims = snapshot
        for plural, catalog in self:
            catalog.restore(catalogs[plural])
