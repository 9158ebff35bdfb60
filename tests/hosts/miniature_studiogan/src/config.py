"""The configuration: sections of plain attributes."""

from types import SimpleNamespace

import utils.losses as losses
import yaml

DEFAULTS = {
    "DATA": {"name": "tiny", "img_size": 8, "num_classes": 2},
    "MODEL": {
        "backbone": "resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "z_dim": 4,
        "z_prior": "gaussian", "apply_g_ema": False, "info_type": "N/A",
    },
    "LOSS": {
        "adv_loss": "hinge", "apply_lo": False, "apply_topk": False, "apply_fm": False,
        "mh_lambda": 1.0, "radius": "N/A",
    },
    "OPTIMIZATION": {
        "batch_size": 4, "acml_steps": 1, "d_updates_per_step": 1, "g_updates_per_step": 1,
        "total_steps": 6, "d_first": True, "d_lr": 0.01, "g_lr": 0.01,
    },
    "STYLEGAN": {"d_epilogue_mbstd_group_size": 4, "style_mixing_p": 0.0},
    "AUG": {"apply_apa": False, "apa_initial_augment_p": 0.0},
    "RUN": {
        "current_node": 0, "freezeD": -1, "langevin_sampling": False, "truncation_factor": -1.0,
        "truncation_cutoff": None,
    },
}  # fmt: skip


class Configurations:
    def __init__(self, cfg_file):
        with open(cfg_file) as file:
            given = yaml.safe_load(file)
        for section, values in DEFAULTS.items():
            setattr(self, section, SimpleNamespace(**{**values, **given.get(section, {})}))
        self.MODULES = SimpleNamespace()

    def update(self, values):
        vars(self.RUN).update(values)

    def define_losses(self):
        if self.LOSS.adv_loss == "MH":
            self.LOSS.d_loss = self.LOSS.g_loss = losses.multi_hinge
        else:
            self.LOSS.d_loss, self.LOSS.g_loss = losses.LOSSES[self.LOSS.adv_loss]
