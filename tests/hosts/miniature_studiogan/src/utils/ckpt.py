"""Loads checkpoints."""

import glob
import os

import torch

import utils.misc as misc


def _load(ckpt_dir, model, when):
    (path,) = glob.glob(
        os.path.join(glob.escape(ckpt_dir), f"model={model}-{when}-weights-step=*.pth")
    )
    return torch.load(path, weights_only=True)


def load_StudioGAN_ckpts(  # noqa: N802
    ckpt_dir,
    load_best,
    Gen,
    Dis,
    g_optimizer,
    d_optimizer,
    run_name,
    apply_g_ema,
    Gen_ema,
    ema,
    is_train,
    RUN,
    logger,
    global_rank,
    device,
    cfg_file,
):
    when = "best" if load_best else "current"
    g, d = _load(ckpt_dir, "G", when), _load(ckpt_dir, "D", when)
    Gen.load_state_dict(g["state_dict"])
    Dis.load_state_dict(d["state_dict"])
    if is_train:
        g_optimizer.load_state_dict(g["optimizer"])
        d_optimizer.load_state_dict(d["optimizer"])
    best = d["best_step"], d["best_fid"]
    return d["run_name"], d["step"], d["epoch"], 4, 0.0, *best, ckpt_dir, None, logger


def load_best_model(ckpt_dir, Gen, Dis, apply_g_ema, Gen_ema, ema):
    d = _load(ckpt_dir, "D", "best")
    misc.peel_model(Gen).load_state_dict(_load(ckpt_dir, "G", "best")["state_dict"])
    misc.peel_model(Dis).load_state_dict(d["state_dict"])
    return d["step"]
