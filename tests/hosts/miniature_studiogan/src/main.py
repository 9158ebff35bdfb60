"""Reads the arguments and starts one worker, or several by torch's spawn."""

import random
from argparse import ArgumentParser

import config
import loader
import torch
import torch.multiprocessing as mp


def main():
    parser = ArgumentParser()
    parser.add_argument("-cfg", "--cfg_file", required=True)
    parser.add_argument("-data", "--data_dir")
    parser.add_argument("-save", "--save_dir", default="./")
    parser.add_argument("-ckpt", "--ckpt_dir")
    parser.add_argument("-best", "--load_best", action="store_true")
    parser.add_argument("--seed", type=int, default=-1)
    parser.add_argument("-DDP", "--distributed_data_parallel", action="store_true")
    parser.add_argument("--backend", default="nccl")
    parser.add_argument("--num_workers", type=int, default=8)
    parser.add_argument("-t", "--train", action="store_true")
    parser.add_argument("-metrics", "--eval_metrics", nargs="+", default=["fid"])
    parser.add_argument("-ref", "--ref_dataset", default="train")
    parser.add_argument("--print_freq", type=int, default=100)
    parser.add_argument("--save_freq", type=int, default=2000)
    given = parser.parse_args()
    gpus = torch.cuda.device_count()
    cfgs = config.Configurations(given.cfg_file)
    cfgs.update(vars(given))
    cfgs.OPTIMIZATION.world_size = gpus
    if cfgs.RUN.seed == -1:
        cfgs.RUN.seed = random.randint(1, 4096)
    name = f"{cfgs.DATA.name}-train-{random.SystemRandom().randrange(10**9)}"
    return cfgs, gpus, name, torch.cuda.current_device()


if __name__ == "__main__":
    cfgs, gpus, name, rank = main()
    if cfgs.RUN.distributed_data_parallel and cfgs.OPTIMIZATION.world_size > 1:
        mp.set_start_method("spawn", force=True)
        context = torch.multiprocessing.spawn(
            fn=loader.load_worker, args=(cfgs, gpus, name, None), nprocs=gpus, join=False
        )
        context.join()
        for process in context.processes:
            process.kill()
    else:
        loader.load_worker(
            local_rank=rank, cfgs=cfgs, gpus_per_node=gpus, run_name=name, hdf5_path=None
        )
