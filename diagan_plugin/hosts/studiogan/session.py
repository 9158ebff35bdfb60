"""One process's run of StudioGAN: what happens at each seam, in the order in which they are passed.

::

    load_worker                      options are final: gan_build
      DataLoader                     the training data are known: indices, the sampler
      load_generator_discriminator   networks exist: gan_models_ready
      load_StudioGAN_ckpts           resuming: gan_load_state
      define_losses                  hooks around LOSS.d_loss and LOSS.g_loss
      prepare_train_iter             gan_train_start
      train_discriminator, train_generator    a step: gan_real_logits, weights, penalties,
          sample_data_basket, sample_zy,      gan_discriminator_updated, gan_step_end
          generate_images, apply_apa_aug
      log_train_statistics           what plugins log
      save                           model=DIA-… beside StudioGAN's checkpoints
      load_best_model                gan_train_end has been; evaluation begins
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from diagan_plugin.hosts.kit.outcome import log_line
from diagan_plugin.hosts.kit.settings import PLAIN
from diagan_plugin.hosts.studiogan import state as states
from diagan_plugin.hosts.studiogan.batches import is_training_loader
from diagan_plugin.hosts.studiogan.building import (
    build_absent_data,
    build_backbone,
    build_training_loader,
)
from diagan_plugin.hosts.studiogan.clock import Clock
from diagan_plugin.hosts.studiogan.evaluation import Evaluation
from diagan_plugin.hosts.studiogan.losses import LossSeam
from diagan_plugin.hosts.studiogan.outcome import write_outcome
from diagan_plugin.hosts.studiogan.record import write_record
from diagan_plugin.hosts.studiogan.refusals import check
from diagan_plugin.hosts.studiogan.run import StudioRun
from diagan_plugin.hosts.studiogan.settings import Settings
from diagan_plugin.hosts.studiogan.updates import Updates
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager, asked_plugins
from gan_registry.training.distributed import Group


class Session:
    """What the seams share.

    Args:
        settings: What was asked for.
        modules: StudioGAN's modules `utils.misc` and `utils.sample`.
    """

    run: StudioRun
    updates: Updates
    clock: Clock

    def __init__(self, settings: Settings, misc: Any, sample: Any) -> None:
        self.settings = settings
        self.plugins = PluginManager()
        self._misc = misc
        self._sample = sample
        self._cfgs: Any = None
        self._is_training = False  # from gan_train_start to gan_train_end
        self._worker: Any = None  # of a training; knows whether StudioGAN is still in its loop
        self._saved: dict[str, Any] | None = None  # the state to continue from
        self._due: dict[str, Any] | None = None  # the state to be saved
        self._evaluation: Evaluation | None = None
        self._losses: LossSeam | None = None

    # ------------------------------------------------------------------ beginning

    def load_worker(
        self, original: Callable[..., Any], local_rank: int, cfgs: Any, gpus_per_node: int,
        run_name: str, hdf5_path: Any,
    ) -> Any:  # fmt: skip
        """Runs StudioGAN's worker in this process."""
        self._begin(cfgs, local_rank, gpus_per_node, run_name)
        try:
            result = original(local_rank, cfgs, gpus_per_node, run_name, hdf5_path)
        except BaseException:
            if self._is_training:
                # Plugins may still write what they have; what they run into is not the news.
                with contextlib.suppress(Exception):
                    self.run.hooks.train_end(self.run)
            raise
        if self._evaluation is not None and self.run.rank == 0:
            for name, value in self._evaluation.statistics().items():
                print(f"{self.settings.samples}: {name} {value:.4g}", flush=True)
        return result

    def _begin(self, cfgs: Any, local_rank: int, gpus_per_node: int, run_name: str) -> None:
        settings, plugins = self.settings, self.plugins
        group = Group()
        if cfgs.RUN.distributed_data_parallel:
            rank = int(cfgs.RUN.current_node) * gpus_per_node + local_rank
            group = Group(rank, int(cfgs.OPTIMIZATION.world_size))
        if group.rank != 0:
            logging.getLogger("diagan_plugin").setLevel(logging.ERROR)  # rank 0 says it for all
        # With --freezeD StudioGAN takes the weights alone, for a run of its own.
        given = cfgs.RUN.ckpt_dir if cfgs.RUN.freezeD == -1 else None
        folder = Path(given or os.path.join(cfgs.RUN.save_dir, "checkpoints", run_name))
        chosen = [("samplers", settings.sampler), ("postprocessors", settings.samples)]
        asked = asked_plugins(plugins, settings.options, chosen)
        check(cfgs, plugins, asked, group.world_size, settings.samples)
        needed = cfgs.RUN.train or settings.samples != PLAIN
        if needed and given is not None:
            self._saved = states.read(folder, "best" if cfgs.RUN.load_best else "current")
        self._cfgs = cfgs
        self.run = StudioRun(
            cfgs, plugins, settings.options, asked, group=group,
            device=torch.device("cuda", local_rank) if torch.cuda.is_available()
            else torch.device("cpu"),
            folder=folder, sampler=settings.sampler, samples=settings.samples,
            seed=cfgs.RUN.seed if self._saved is None else self._saved["seed"],
        )  # fmt: skip
        self.updates = Updates(self.run)
        self.clock = Clock(self.run, self.updates, self._step_done)
        if cfgs.RUN.train:
            self.run.hooks.build(self.run)

    # ------------------------------------------------------------------ building

    def data_loader(self, original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Builds a loader; that of the training batches with indices and the sampler."""
        if not (self._cfgs.RUN.train and is_training_loader(keywords)):
            return original(*args, **keywords)
        run = self.run
        if self._saved is None and run.world_size > 1:
            # Without --seed StudioGAN draws one on each node.
            seed = [run.seed]
            distributed.broadcast_object_list(seed, 0)
            run.seed = int(seed[0])
        position = 0 if self._saved is None else int(self._saved["position"])
        return build_training_loader(run, original, keywords, position)

    def load_generator_discriminator(self, original: Callable[..., Any], **keywords: Any) -> Any:
        """Builds StudioGAN's networks, and lets plugins add theirs."""
        built = original(**keywords)
        run = self.run
        build_backbone(run, original, keywords, built, self._sample.stylegan_generate_images)
        if not self._cfgs.RUN.train:
            if self._saved is None:
                return built  # plugins have nothing to go by
            build_absent_data(run, self._saved)
        self.updates.watch(built[3])
        run.hooks.models_ready(run)
        return built

    def load_checkpoints(self, original: Callable[..., Any], **keywords: Any) -> Any:
        """Loads StudioGAN's checkpoint, and the plugins' part of it."""
        loaded = original(**keywords)
        run, step = self.run, int(loaded[1])
        run.step = run.first_step = step
        run.optimizers = {
            "generator": keywords["g_optimizer"],
            "discriminator": keywords["d_optimizer"],
        }
        if self._saved is None:
            if self._cfgs.RUN.train and self._cfgs.RUN.freezeD == -1 and run.rank == 0:
                print(
                    f"there is no model={states.MODEL}-… in {keywords['ckpt_dir']}: plugins start "
                    f"afresh at step {step}",
                    flush=True,
                )
        elif int(self._saved["step"]) != step:
            raise UserError(
                f"The plugins' state is of step {self._saved['step']}, StudioGAN's checkpoint of "
                f"step {step}; start anew with --fresh."
            )
        else:
            states.restore(run, self._saved)
            self._saved = None
        return loaded

    def define_losses(self, original: Callable[..., Any], cfgs: Any) -> None:
        """Puts the hooks around the adversarial losses."""
        self._losses = LossSeam(self.updates)
        self._losses.define_losses(original, cfgs)

    # ------------------------------------------------------------------ training

    def prepare_train_iter(
        self, original: Callable[..., Any], worker: Any, epoch_counter: int
    ) -> Any:
        """Begins the training."""
        self._worker = worker
        run, settings = self.run, worker.OPTIMIZATION
        optimizers = {"generator": settings.g_optimizer, "discriminator": settings.d_optimizer}
        run.optimizers = optimizers
        updates = self.updates
        settings.d_optimizer.register_step_post_hook(lambda *_: updates.stepped())

        def restart() -> None:
            # With persistent workers this is the same iterator, begun anew.
            if hasattr(worker, "train_iter"):
                worker.train_iter = iter(worker.train_dataloader)

        run.restart_reading = restart
        if run.rank == 0:
            run.folder.mkdir(parents=True, exist_ok=True)
            write_record(run.folder, self.settings.command, finished=False)
        self._is_training = True
        run.hooks.train_start(run)
        return original(worker, epoch_counter)

    def sample_data_basket(self, original: Callable[..., Any], worker: Any) -> Any:
        """Reads a basket."""
        images, labels = original(worker)
        if self._is_training:
            self.updates.basket_read(images, labels, worker.OPTIMIZATION.batch_size)
        return images, labels

    def sample_zy(self, original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Draws latents and labels."""
        drawn = original(*args, **keywords)
        self.updates.latents = drawn[0]
        return drawn

    def generate_images(self, original: Callable[..., Any], **keywords: Any) -> Any:
        """Generates samples: those of a training step are noted, others may be post-processed."""
        # After the last step StudioGAN may evaluate once more to choose the best checkpoint.
        in_loop = self._is_training or getattr(self._worker, "training", False)
        if self.settings.samples != PLAIN and not in_loop:
            if self._evaluation is None:
                self._evaluation = Evaluation(self.run)
            if self._evaluation.applies(keywords):
                return self._evaluation.generate_images(self._misc.peel_model, keywords)
        generated = original(**keywords)
        if keywords["is_train"]:
            self.updates.generated(generated[0], generated[1])
        return generated

    def apply_apa(
        self, original: Callable[..., Tensor], real: Tensor, *args: Any, **keywords: Any
    ) -> Tensor:
        """Replaces some real samples by generated ones (adaptive pseudo augmentation)."""
        replaced = original(real, *args, **keywords)
        self.updates.replaced(real, replaced)
        return replaced

    def _step_done(self, is_last: bool) -> None:
        run = self.run
        if run.step % self._cfgs.RUN.save_freq == 0:
            # Here, where every rank passes; StudioGAN saves on rank 0 alone.
            self._due = states.collect(run)
        if is_last:
            self._is_training = run.feed.live = False
            run.hooks.train_end(run)
            if run.rank == 0:
                write_outcome(run)
                write_record(run.folder, self.settings.command, finished=True)

    def log_statistics(
        self, original: Callable[..., Any], worker: Any, *args: Any, **keywords: Any
    ) -> Any:
        """Writes what plugins log below StudioGAN's own line."""
        result = original(worker, *args, **keywords)
        line = log_line(self.run.take_log())
        if line and worker.logger:
            worker.logger.info(line)
        return result

    # ------------------------------------------------------------------ checkpoints

    def save(self, original: Callable[..., Any], worker: Any, step: int, is_best: bool) -> Any:
        """Writes StudioGAN's checkpoint and, beside it, the plugins' part."""
        kept = ["current", "best"] if is_best else ["current"]
        due, folder = self._due, Path(worker.RUN.ckpt_dir)
        if due is not None and due["step"] == step:
            for when in kept:
                states.write(folder, when, due)
        result = original(worker, step, is_best)
        for when in kept:
            states.remove_others(folder, when, step)
        return result

    def load_best_model(self, original: Callable[..., Any], **keywords: Any) -> Any:
        """Loads the best checkpoint for evaluation, with the networks that plugins had added then.

        Without one, which only a metric during training chooses, the weights stay as they are.
        """
        folder = Path(keywords["ckpt_dir"])
        pattern = os.path.join(glob.escape(str(folder)), "model=G-best-weights-step*.pth")
        if not glob.glob(pattern):
            print("no best checkpoint was chosen: the last weights are evaluated", flush=True)
            return self.run.step
        step = original(**keywords)
        best = states.read(folder, "best")
        if best is not None:
            self.run.additions = states.best_networks(self.run, best)
        self._evaluation = None
        return step
