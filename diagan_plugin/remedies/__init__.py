"""Other published remedies for what a GAN fails to learn, one module each.

A module, or a folder where it takes more than one, holds a pure function or small class for any
loop and the plugin class that the host loads. As those classes are imported when the command line
starts, no module with one imports torch or NumPy at its head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_registry.lazy import lazy_names

if TYPE_CHECKING:
    from diagan_plugin.remedies.gold import gold_weights as gold_weights
    from diagan_plugin.remedies.inclusive.matching import imle_term as imle_term
    from diagan_plugin.remedies.instance_selection.selection import (
        select_instances as select_instances,
    )
    from diagan_plugin.remedies.loss_weighting.weights import loss_weights as loss_weights
    from diagan_plugin.remedies.mixtures.mix_plus_gan import (
        mixture_entropy_term as mixture_entropy_term,
    )
    from diagan_plugin.remedies.mode_seeking import mode_seeking_term as mode_seeking_term
    from diagan_plugin.remedies.mode_seeking import mode_seeking_weight as mode_seeking_weight
    from diagan_plugin.remedies.pacgan.networks import pack as pack
    from diagan_plugin.remedies.top_k import top_k_share as top_k_share
    from diagan_plugin.remedies.top_k import top_k_weights as top_k_weights

_HOME = {
    "gold_weights": "diagan_plugin.remedies.gold",
    "imle_term": "diagan_plugin.remedies.inclusive.matching",
    "loss_weights": "diagan_plugin.remedies.loss_weighting.weights",
    "mixture_entropy_term": "diagan_plugin.remedies.mixtures.mix_plus_gan",
    "mode_seeking_term": "diagan_plugin.remedies.mode_seeking",
    "mode_seeking_weight": "diagan_plugin.remedies.mode_seeking",
    "pack": "diagan_plugin.remedies.pacgan.networks",
    "select_instances": "diagan_plugin.remedies.instance_selection.selection",
    "top_k_share": "diagan_plugin.remedies.top_k",
    "top_k_weights": "diagan_plugin.remedies.top_k",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
