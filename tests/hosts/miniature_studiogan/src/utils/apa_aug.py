"""Adaptive pseudo augmentation."""

import torch


def apply_apa_aug(real_images, fake_images, apa_p, local_rank):
    flag = (torch.rand(len(real_images), 1, 1, 1) < apa_p).float()
    if not flag.any():
        return real_images
    return fake_images * flag + real_images * (1 - flag)
