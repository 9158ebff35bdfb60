"""What several modules need."""

import glob
import os

import torch
from torch.nn.parallel import DistributedDataParallel


def peel_model(model):
    return model.module if isinstance(model, DistributedDataParallel) else model


def save_model(model, when, step, ckpt_dir, states):
    for old in glob.glob(os.path.join(ckpt_dir, f"model={model}-{when}-weights-step=*.pth")):
        os.remove(old)
    torch.save(states, os.path.join(ckpt_dir, f"model={model}-{when}-weights-step={step}.pth"))
