"""Adapters: each lets a framework of its own fire the hooks, with the framework's source untouched.

An adapter builds a `run` from what its host keeps, fires the hooks at the host's seams through a
:class:`gan_registry.dispatch.Dispatcher`, and names no method: every plugin works there. What it
cannot fire it says by :class:`diagan_plugin.hosts.kit.capabilities.Capabilities`.
"""
