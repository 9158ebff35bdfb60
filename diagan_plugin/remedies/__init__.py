"""Other published remedies for what a GAN fails to learn, one module each.

A module holds a pure function or small class for any loop and, at its end, the plugin class that
the host loads. As those are imported when the command line starts, no module here imports torch or
NumPy at its head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_registry.lazy import lazy_names

if TYPE_CHECKING:
    from diagan_plugin.remedies.gold import gold_weights as gold_weights
    from diagan_plugin.remedies.instance_selection.plugin import (
        select_instances as select_instances,
    )
    from diagan_plugin.remedies.loss_weighting.weights import loss_weights as loss_weights
    from diagan_plugin.remedies.mode_seeking import mode_seeking_term as mode_seeking_term
    from diagan_plugin.remedies.top_k import top_k_share as top_k_share
    from diagan_plugin.remedies.top_k import top_k_weights as top_k_weights

_HOME = {
    "gold_weights": "diagan_plugin.remedies.gold",
    "loss_weights": "diagan_plugin.remedies.loss_weighting.plugin",
    "mode_seeking_term": "diagan_plugin.remedies.mode_seeking",
    "select_instances": "diagan_plugin.remedies.instance_selection.plugin",
    "top_k_share": "diagan_plugin.remedies.top_k",
    "top_k_weights": "diagan_plugin.remedies.top_k",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
