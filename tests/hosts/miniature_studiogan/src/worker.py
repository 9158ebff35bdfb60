"""Trains, saves and evaluates."""

import os

import numpy as np
import torch
import torch.distributed as dist
import utils.apa_aug as apa_aug
import utils.misc as misc
import utils.sample as sample


class WORKER:
    def __init__(
        self,
        cfgs,
        run_name,
        Gen,
        Gen_mapping,
        Gen_synthesis,
        Dis,
        train_dataloader,
        global_rank,
        local_rank,
        logger,
        best_step,
        best_fid,
    ):
        self.cfgs, self.run_name = cfgs, run_name
        self.Gen, self.Gen_mapping, self.Gen_synthesis = Gen, Gen_mapping, Gen_synthesis
        self.Dis, self.train_dataloader = Dis, train_dataloader
        self.global_rank, self.local_rank, self.logger = global_rank, local_rank, logger
        self.best_step, self.best_fid = best_step, best_fid
        self.losses = {"gen_loss": [], "dis_loss": []}
        self.cfgs.define_losses()
        self.DATA, self.MODEL, self.LOSS = cfgs.DATA, cfgs.MODEL, cfgs.LOSS
        self.OPTIMIZATION, self.AUG, self.RUN = cfgs.OPTIMIZATION, cfgs.AUG, cfgs.RUN
        self.is_stylegan = self.MODEL.backbone == "stylegan2"
        self.DDP = self.RUN.distributed_data_parallel
        self.lossy = torch.full((self.OPTIMIZATION.batch_size,), self.DATA.num_classes)
        if self.DDP:
            self.group = dist.new_group(list(range(self.OPTIMIZATION.world_size)))

    def prepare_train_iter(self, epoch_counter):
        self.epoch_counter = epoch_counter
        if self.DDP:
            self.train_dataloader.sampler.set_epoch(self.epoch_counter)
        self.train_iter = iter(self.train_dataloader)

    def sample_data_basket(self):
        try:
            images, labels = next(self.train_iter)
        except StopIteration:
            self.epoch_counter += 1
            if self.DDP:
                self.train_dataloader.sampler.set_epoch(self.epoch_counter)
            self.train_iter = iter(self.train_dataloader)
            images, labels = next(self.train_iter)
        size = self.OPTIMIZATION.batch_size
        return torch.split(images, size), torch.split(labels, size)

    def generate(self, is_train, y_sampler="totally_random"):
        return sample.generate_images(
            z_prior=self.MODEL.z_prior,
            truncation_factor=-1.0,
            batch_size=self.OPTIMIZATION.batch_size,
            z_dim=self.MODEL.z_dim,
            num_classes=self.DATA.num_classes,
            y_sampler=y_sampler,
            radius="N/A",
            generator=self.Gen,
            discriminator=self.Dis,
            is_train=is_train,
            LOSS=self.LOSS,
            RUN=self.RUN,
            MODEL=self.MODEL,
            device=self.local_rank,
            is_stylegan=self.is_stylegan,
            generator_mapping=self.Gen_mapping,
            generator_synthesis=self.Gen_synthesis,
            style_mixing_p=0.0,
            stylegan_update_emas=False,
            cal_trsp_cost=False,
        )

    def train_discriminator(self, current_step):
        self.Gen.requires_grad_(False)
        self.Dis.requires_grad_(True)
        optimizer, number = self.OPTIMIZATION.d_optimizer, 0
        image_basket, label_basket = self.sample_data_basket()
        for _ in range(self.OPTIMIZATION.d_updates_per_step):
            optimizer.zero_grad()
            for _ in range(self.OPTIMIZATION.acml_steps):
                real, labels = image_basket[number], label_basket[number]
                fake, fake_labels, *_ = self.generate(True)
                if self.AUG.apply_apa:
                    p = self.AUG.apa_initial_augment_p
                    real = apa_aug.apply_apa_aug(real, fake.detach(), p, self.local_rank)
                real_dict = self.Dis(real, labels)
                fake_dict = self.Dis(fake, fake_labels, adc_fake=False)
                if self.LOSS.adv_loss == "MH":
                    loss = self.LOSS.d_loss(DDP=self.DDP, **real_dict)
                    loss += self.LOSS.d_loss(fake_dict["adv_output"], self.lossy, DDP=self.DDP)
                else:
                    loss = self.LOSS.d_loss(
                        real_dict["adv_output"], fake_dict["adv_output"], DDP=self.DDP
                    )
                loss = loss / self.OPTIMIZATION.acml_steps
                number += 1
                loss.backward()
            optimizer.step()
        return "N/A", loss

    def train_generator(self, current_step):
        self.Gen.requires_grad_(True)
        self.Dis.requires_grad_(False)
        optimizer = self.OPTIMIZATION.g_optimizer
        for _ in range(self.OPTIMIZATION.g_updates_per_step):
            optimizer.zero_grad()
            for _ in range(self.OPTIMIZATION.acml_steps):
                fake, fake_labels, *_ = self.generate(True)
                fake_dict = self.Dis(fake, fake_labels)
                if self.LOSS.adv_loss == "MH":
                    loss = self.LOSS.mh_lambda * self.LOSS.g_loss(DDP=self.DDP, **fake_dict)
                else:
                    loss = self.LOSS.g_loss(fake_dict["adv_output"], DDP=self.DDP)
                if self.LOSS.apply_fm:
                    (real, *_), (labels, *_) = self.sample_data_basket()
                    real_h = self.Dis(real, labels)["h"].detach()
                    loss += (real_h.mean(0) - fake_dict["h"].mean(0)).abs().mean()
                loss = loss / self.OPTIMIZATION.acml_steps
                loss.backward()
            optimizer.step()
        return loss

    def log_train_statistics(self, current_step, real_cond_loss, gen_acml_loss, dis_acml_loss):
        self.losses["gen_loss"].append(gen_acml_loss.item())
        self.losses["dis_loss"].append(dis_acml_loss.item())
        self.logger.info(
            f"Step: {current_step + 1} Gen_loss: {gen_acml_loss.item():<.4} "
            f"Dis_loss: {dis_acml_loss.item():<.4}"
        )
        folder = os.path.join(self.RUN.save_dir, "statistics", self.run_name)
        os.makedirs(folder, exist_ok=True)
        np.save(os.path.join(folder, "losses.npy"), self.losses)

    def evaluate(self, step, training):
        self.Gen.eval()
        with torch.no_grad():
            batches = [self.generate(False) for _ in range(4)]
        self.Gen.train()
        images, labels = (torch.cat([batch[k] for batch in batches]) for k in (0, 1))
        assert len(images) == len(labels) == 4 * self.OPTIMIZATION.batch_size
        score = float(images.mean().abs())
        if self.global_rank == 0:
            self.logger.info(f"FID score (Step: {step}): {score}")
        is_best = training and (self.best_fid is None or score <= self.best_fid)
        if is_best:
            self.best_fid, self.best_step = score, step
        return is_best

    def save(self, step, is_best):
        generator = misc.peel_model(self.Gen)
        g = {
            "state_dict": generator.state_dict(),
            "optimizer": self.OPTIMIZATION.g_optimizer.state_dict(),
        }
        d = {
            "state_dict": misc.peel_model(self.Dis).state_dict(),
            "step": step,
            "optimizer": self.OPTIMIZATION.d_optimizer.state_dict(),
            "run_name": self.run_name,
            "epoch": self.epoch_counter,
            "best_step": self.best_step,
            "best_fid": self.best_fid,
        }
        for when in ["best", "current"] if is_best else ["current"]:
            misc.save_model(model="G", when=when, step=step, ckpt_dir=self.RUN.ckpt_dir, states=g)
            misc.save_model(model="D", when=when, step=step, ckpt_dir=self.RUN.ckpt_dir, states=d)
