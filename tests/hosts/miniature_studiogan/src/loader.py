"""Builds everything, trains, and evaluates."""

import logging
import os
import sys

import models.model as model
import torch
import torch.distributed as dist
import utils.ckpt as ckpt
from data_util import Dataset_
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from worker import WORKER


def load_worker(local_rank, cfgs, gpus_per_node, run_name, hdf5_path):
    if "none" in cfgs.RUN.eval_metrics:
        cfgs.RUN.eval_metrics = []
    if cfgs.RUN.distributed_data_parallel:
        dist.init_process_group(
            cfgs.RUN.backend, rank=local_rank, world_size=cfgs.OPTIMIZATION.world_size
        )
    global_rank = local_rank
    torch.manual_seed(cfgs.RUN.seed + global_rank)
    logger = None
    if global_rank == 0:
        logger = logging.getLogger("miniature")
        logger.setLevel(logging.INFO)
        logger.handlers = [logging.StreamHandler(sys.stdout)]
    train_dataset = train_sampler = train_dataloader = None
    if cfgs.RUN.train:
        train_dataset = Dataset_(cfgs.RUN.data_dir, train=True, random_flip=True)
    if cfgs.RUN.distributed_data_parallel:
        cfgs.OPTIMIZATION.batch_size //= cfgs.OPTIMIZATION.world_size
        train_sampler = DistributedSampler(
            train_dataset, num_replicas=cfgs.OPTIMIZATION.world_size, rank=local_rank,
            shuffle=True, drop_last=True,
        )  # fmt: skip
    settings = cfgs.OPTIMIZATION
    basket = settings.batch_size * settings.acml_steps * settings.d_updates_per_step
    if cfgs.RUN.train:
        train_dataloader = DataLoader(
            dataset=train_dataset, batch_size=basket, shuffle=(train_sampler is None),
            num_workers=cfgs.RUN.num_workers, sampler=train_sampler, drop_last=True,
            persistent_workers=cfgs.RUN.num_workers > 0,
        )  # fmt: skip
    gen, mapping, synthesis, dis, *_ = model.load_generator_discriminator(
        DATA=cfgs.DATA,
        OPTIMIZATION=settings,
        MODEL=cfgs.MODEL,
        STYLEGAN=cfgs.STYLEGAN,
        MODULES=cfgs.MODULES,
        RUN=cfgs.RUN,
        device=local_rank,
        logger=logger,
    )
    settings.g_optimizer = torch.optim.Adam(gen.parameters(), settings.g_lr)
    settings.d_optimizer = torch.optim.Adam(dis.parameters(), settings.d_lr)
    step, epoch, best_step, best_fid = 0, 0, 0, None
    if cfgs.RUN.ckpt_dir is not None:
        run_name, step, epoch, _, _, best_step, best_fid, _, _, logger = ckpt.load_StudioGAN_ckpts(
            ckpt_dir=cfgs.RUN.ckpt_dir,
            load_best=cfgs.RUN.load_best,
            Gen=gen,
            Dis=dis,
            g_optimizer=settings.g_optimizer,
            d_optimizer=settings.d_optimizer,
            run_name=run_name,
            apply_g_ema=False,
            Gen_ema=None,
            ema=None,
            is_train=cfgs.RUN.train,
            RUN=cfgs.RUN,
            logger=logger,
            global_rank=global_rank,
            device=local_rank,
            cfg_file=cfgs.RUN.cfg_file,
        )
    elif local_rank == 0:
        cfgs.RUN.ckpt_dir = os.path.join(cfgs.RUN.save_dir, "checkpoints", run_name)
        os.makedirs(cfgs.RUN.ckpt_dir)
    if cfgs.RUN.distributed_data_parallel:
        gen, dis = DistributedDataParallel(gen), DistributedDataParallel(dis)
    worker = WORKER(
        cfgs=cfgs,
        run_name=run_name,
        Gen=gen,
        Gen_mapping=mapping,
        Gen_synthesis=synthesis,
        Dis=dis,
        train_dataloader=train_dataloader,
        global_rank=global_rank,
        local_rank=local_rank,
        logger=logger,
        best_step=best_step,
        best_fid=best_fid,
    )
    if cfgs.RUN.train:
        worker.training = True
        worker.prepare_train_iter(epoch_counter=epoch)
        while step <= settings.total_steps:
            if settings.d_first:
                cls_loss, d_loss = worker.train_discriminator(current_step=step)
                g_loss = worker.train_generator(current_step=step)
            else:
                g_loss = worker.train_generator(current_step=step)
                cls_loss, d_loss = worker.train_discriminator(current_step=step)
            if global_rank == 0 and (step + 1) % cfgs.RUN.print_freq == 0:
                worker.log_train_statistics(
                    current_step=step,
                    real_cond_loss=cls_loss,
                    gen_acml_loss=g_loss,
                    dis_acml_loss=d_loss,
                )
            step += 1
            if step % cfgs.RUN.save_freq == 0:
                is_best = False
                if cfgs.RUN.eval_metrics:
                    is_best = worker.evaluate(step=step, training=True)
                if global_rank == 0:
                    worker.save(step=step, is_best=is_best)
                if cfgs.RUN.distributed_data_parallel:
                    dist.barrier(worker.group)
    worker.training = False
    if global_rank == 0:
        step = ckpt.load_best_model(
            ckpt_dir=cfgs.RUN.ckpt_dir, Gen=gen, Dis=dis, apply_g_ema=False, Gen_ema=None, ema=None
        )
    if cfgs.RUN.eval_metrics:
        worker.evaluate(step=step, training=False)
