"""What an adapter can do for plugins: the hooks it fires, and a refusal where one needs more.

A plugin needs each hook that it implements, except those of :data:`DESCRIBING`, which announce or
describe its work and do not do it. Free of torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gan_registry import hookspecs
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager

DESCRIBING = frozenset(
    {
        "gan_add_options", "gan_register", "gan_plan", "gan_metrics", "gan_result", "gan_report",
    }
)  # fmt: skip
"""Hooks without which a plugin still does its work."""

ALL_HOOKS = frozenset(name for name in vars(hookspecs) if name.startswith("gan_"))

FIRED = frozenset(
    {
        "gan_build", "gan_models_ready", "gan_train_start", "gan_real_logits",
        "gan_discriminator_weights", "gan_discriminator_penalty", "gan_discriminator_updated",
        "gan_generator_weights", "gan_generator_penalty", "gan_step_end", "gan_train_end",
        "gan_state", "gan_load_state", "gan_result", "gan_report",
    }
)  # fmt: skip
"""Those of an adapter that lacks no seam. Logging is left to the hosts."""


@dataclass(frozen=True)
class Capabilities:
    """The hooks that an adapter fires.

    Args:
        host: The host's name, for messages.
        hooks: Names of the hooks that are fired at the host's seams.
        reasons: Hook → why it is not fired, as the end of a sentence; optional.

    Raises:
        ValueError: A name is no hook's.
    """

    host: str
    hooks: frozenset[str]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = (set(self.hooks) | set(self.reasons)) - ALL_HOOKS
        if unknown:
            raise ValueError(f"Argument `hooks` must name hooks, but got {sorted(unknown)}.")

    def missing(self, plugins: PluginManager) -> dict[str, list[str]]:
        """Returns the plugins that need a hook which is not fired: name → those hooks, sorted."""
        found = {
            info.name: sorted(set(info.hooks) - self.hooks - DESCRIBING)
            for info in plugins.infos.values()
            if info.skipped is None
        }
        return {name: hooks for name, hooks in found.items() if hooks}

    def check(self, plugins: PluginManager, asked: Collection[str]) -> None:
        """Refuses plugins that were asked for and cannot do their work on this host.

        Args:
            plugins: The loaded plugins.
            asked: Those that the run asks for; see :func:`gan_registry.plugins.asked_plugins`.

        Raises:
            UserError: Names the plugin, the hook and the reason.
        """
        for name, hooks in sorted(self.missing(plugins).items()):
            if name not in asked:
                continue
            reasons = dict.fromkeys(self.reasons[hook] for hook in hooks if hook in self.reasons)
            why = f": {'; '.join(reasons)}" if reasons else ""
            raise UserError(
                f"The plugin {name!r} needs {', '.join(hooks)}, which the adapter for {self.host} "
                f"does not fire{why}. Leave its options out, or use 'gan-registry train'."
            )
