import argparse
import os
import tempfile

import torch
from training import training_loop


def subprocess_fn(rank, keywords, folder):
    if keywords["num_gpus"] > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=keywords["num_gpus"]
        )
    training_loop.training_loop(rank=rank, **keywords)


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("gpus", 1), ("batch", 8), ("piece", 8), ("nimg", 80), ("tick", 32),
                          ("cond", 0), ("mirror", 0), ("workers", 0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("outdir", "data", "resume"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    pairs = os.path.exists(os.path.join(os.path.dirname(__file__), "R3GAN"))
    run_dir = os.path.join(given.outdir, f"{len(os.listdir(given.outdir)):05d}-run")
    os.makedirs(run_dir)
    keywords = {
        "run_dir": run_dir,
        "training_set_kwargs": {
            "class_name": "training.dataset.ImageFolderDataset", "path": given.data,
            "use_labels": bool(given.cond), "xflip": bool(given.mirror),
        },
        "data_loader_kwargs": {"num_workers": given.workers},
        "G_kwargs": {"class_name": "training.networks.Generator", "z_dim": 4},
        "D_kwargs": {"class_name": "training.networks.Discriminator"},
        "G_opt_kwargs": {"class_name": "torch.optim.Adam", "lr": 1e-3, "betas": [0, 0.99]},
        "D_opt_kwargs": {"class_name": "torch.optim.Adam", "lr": 1e-3, "betas": [0, 0.99]},
        "loss_kwargs": {"class_name": "training.loss.StyleGAN2Loss", "r1_gamma": 1.0},
        "random_seed": 0, "num_gpus": given.gpus, "batch_size": given.batch,
        "total_kimg": given.nimg / 1000, "kimg_per_tick": given.tick / 1000,
        "network_snapshot_ticks": 1, "resume_pkl": given.resume,
    }  # fmt: skip
    if pairs:
        keywords["D_kwargs"] = {
            "class_name": "training.networks.FlatDiscriminator", "group_size": 0,
        }  # fmt: skip
        keywords["loss_kwargs"] = {"class_name": "training.loss.R3GANLoss"}
        keywords |= {"d_batch_gpu": given.piece, "g_batch_gpu": given.piece}
    else:
        keywords["batch_gpu"] = given.piece
    if given.gpus == 1:
        subprocess_fn(0, keywords, None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(
                fn=subprocess_fn, args=(keywords, folder), nprocs=given.gpus
            )


if __name__ == "__main__":
    main()
