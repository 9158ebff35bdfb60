"""One process's run of a trainer: what happens at each seam, in the order in which they are passed.

::

    training_loop                 the settings are known, in this process
      construct_class_by_name     the training data, G, D, the loss, the optimisers, one by one
      InfiniteSampler, DataLoader the draw: gan_build
      deepcopy                    the moving average of G
      construct_class_by_name     the loss comes last of the networks' users: gan_models_ready
      next(batches)               the first: gan_load_state, gan_train_start; else gan_step_end
      accumulate_gradients        the hooks of an update, see losses.py
      report0("Progress/kimg")    a tick is over, on every rank: gan_step_end, gan_state
      pickle.dump                 the plugins' state beside the snapshot
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch

from diagan_plugin.hosts.kit.launching import unnamed_main
from diagan_plugin.hosts.kit.loader import StreamLoader
from diagan_plugin.hosts.kit.outcome import log_line
from diagan_plugin.hosts.kit.session import Session, optimizer_of
from diagan_plugin.hosts.kit.settings import UNIFORM, Settings
from diagan_plugin.hosts.kit.state import read_file, write_file
from diagan_plugin.hosts.nvlabs.checkout import Trainer
from diagan_plugin.hosts.nvlabs.data import Batches, Images, TrainerOrder
from diagan_plugin.hosts.nvlabs.losses import LossWatch
from diagan_plugin.hosts.nvlabs.networks import host_networks
from diagan_plugin.hosts.nvlabs.settings import NvlabsSettings, state_path
from diagan_plugin.hosts.nvlabs.setup import set_up
from gan_registry.config.settings import options_as_yaml

_ROLES = {
    "training_set_kwargs": "data", "G_kwargs": "G", "D_kwargs": "D", "loss_kwargs": "loss",
}  # fmt: skip


class Adapter:
    """What the seams share.

    Args:
        settings: What was asked for.
        trainer: Whose checkout it is.
    """

    session: Session
    batches: Batches

    def __init__(self, settings: NvlabsSettings, trainer: Trainer) -> None:
        self.settings = settings
        self.trainer = trainer
        self._keywords: dict[str, Any] = {}
        self._built: dict[str, Any] = {}  # role → the first object of its class
        self._optimizers: list[torch.optim.Optimizer] = []
        self._order: Any = None  # the trainer's own sampler
        self._saved: dict[str, Any] | None = None  # the state to continue from
        self._due: dict[str, Any] | None = None  # the state to be saved
        self._fetches = self._ticks = 0
        self._is_open = False  # whether an iteration has begun and not ended

    # ------------------------------------------------------------------ building

    def training_loop(self, original: Callable[..., None], **keywords: Any) -> None:
        """Runs the trainer's loop."""
        if keywords["rank"] != 0:
            logging.getLogger("diagan_plugin").setLevel(logging.ERROR)  # rank 0 says it for all
        own_abort = keywords.get("abort_fn")
        self._keywords = keywords
        self._saved = self._state_of(keywords.get("resume_pkl"))

        def abort() -> bool:
            return self.session.run.stopped is not None or bool(own_abort and own_abort())

        with unnamed_main():  # loader workers need nothing of train.py
            original(**{**keywords, "abort_fn": abort})
        self._keywords = {}
        self.session.end()
        run = self.session.run
        if run.rank == 0 and run.folder is not None:
            print(f"report  {run.folder / 'report.html'}", flush=True)

    def _state_of(self, snapshot: str | None) -> dict[str, Any] | None:
        if snapshot is None or self.settings.fresh:
            return None
        path = state_path(snapshot)
        if not path.is_file():
            if self._keywords["rank"] == 0:
                print(f"there is no {path}: plugins start afresh", flush=True)
            return None
        return read_file(path, "delete it, or add --fresh, to start the plugins afresh")

    def construct(self, original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Builds one of the trainer's objects; those that matter are noted."""
        built = original(*args, **keywords)
        if not self._keywords:
            return built  # before the loop, or after
        for key, role in _ROLES.items():
            if role not in self._built and self._keywords[key]["class_name"] == keywords.get(
                "class_name"
            ):
                self._built[role] = built
                if role == "loss":
                    self._networks_ready()
                return built
        if isinstance(built, torch.optim.Optimizer):
            self._optimizers.append(built)
        return built

    def infinite_sampler(self, original: Callable[..., Any], **keywords: Any) -> Any:
        """Builds the trainer's sampler, and notes how."""
        built = original(**keywords)
        if self._keywords:
            whole = {**keywords, "rank": 0, "num_replicas": 1}
            self._order = built, lambda: iter(original(**whole))
        return built

    def data_loader(self, original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Builds a loader; that of the training batches draws as was asked for."""
        if self._order is None or keywords.get("sampler") is not self._order[0]:
            return original(*args, **keywords)
        given, dataset = self._keywords, keywords.pop("dataset")
        del keywords["sampler"]
        images = Images(dataset)
        # Mixed precision and augmentation are the trainer's; D sees so many samples at a time.
        piece = int(given.get("d_batch_gpu") or given["batch_gpu"])
        asked = Settings(
            sampler=self.settings.sampler, options=self.settings.options, loss=self.trainer.loss,
            seed=int(given["random_seed"]), groups=images.groups,
            group_names=images.group_names, folder=given["run_dir"],
        )  # fmt: skip
        done = 0 if self._saved is None else int(self._saved["step"])
        steps = math.ceil(given["total_kimg"] * 1000 / given["batch_size"])
        # R3GAN counts on from the snapshot; the others begin to count anew.
        total = max(steps, done + 1) if self.trainer.is_pairwise else done + steps
        session = set_up(
            self.trainer, asked, images, piece=piece, total_steps=total,
            device=torch.device("cuda", given["rank"]) if torch.cuda.is_available()
            else torch.device("cpu"), keywords=given,
        )  # fmt: skip
        run = session.run
        if asked.sampler == UNIFORM:
            run.sampler = TrainerOrder(len(images), self.trainer.name, self._order[1])
        run.loader = session.loader = StreamLoader(
            dataset, run.sampler, keywords.pop("batch_size"), rank=run.rank,
            world_size=run.world_size, **keywords,
        )  # fmt: skip
        self.session = session
        self.batches = Batches(
            session.loader, self._before_batch, lambda: iter(original([0]))
        )  # fmt: skip
        return self.batches

    def deepcopy(self, original: Callable[..., Any], network: Any, *args: Any) -> Any:
        """Copies; the first copy of G is its moving average."""
        copied = original(network, *args)
        if network is self._built.get("G"):
            self._built.setdefault("average", copied)
        return copied

    def _networks_ready(self) -> None:
        built, session = self._built, self.session
        session.networks(
            host_networks(
                self.trainer, built["G"], built["D"], built["average"], session.run.seed
            )
        )  # fmt: skip
        LossWatch(built["loss"], session.updates, self.batches, self.trainer.is_pairwise)

    # ------------------------------------------------------------------ training

    def _before_batch(self) -> None:
        """A batch is about to be read: the first of an iteration ends the one before."""
        is_first = self._fetches % self.trainer.batches == 0
        self._fetches += 1
        if not is_first:
            return
        if self._fetches == 1:
            self._start()
        self._end_step()
        self._is_open = True

    def _start(self) -> None:
        session, built = self.session, self._built
        discriminator = optimizer_of(built["D"], self._optimizers, "D")
        generator = optimizer_of(built["G"], self._optimizers, "G")
        session.start(discriminator, generator, self._saved)
        if self._saved is not None and isinstance(session.run.sampler, TrainerOrder):
            session.loader.seek(0)  # as the trainer does
        self._saved = None
        updates = session.updates

        def stepped(optimizer: Any, *_: Any) -> None:
            # The copy of an auxiliary discriminator's has the hook, too.
            if optimizer is discriminator:
                updates.stepped()

        discriminator.register_step_post_hook(stepped)

    def _end_step(self) -> None:
        if self._is_open:
            self._is_open = False
            self.session.step_end()

    def report0(self, original: Callable[..., Any], name: str, value: Any = None) -> Any:
        """Reports a number; that of the images begins the end of a tick, on every rank."""
        if name == "Progress/kimg" and self._keywords:
            self._end_step()
            self._tick(value * 1000)
        return original(name, value)

    def _tick(self, images: float) -> None:
        run, given = self.session.run, self._keywords
        line = log_line(run.take_log())
        if line and run.rank == 0:
            print(line, flush=True)
        every = given["network_snapshot_ticks"]
        is_last = images >= given["total_kimg"] * 1000 or run.stopped is not None
        if every is not None and (is_last or self._ticks % every == 0):
            self._due = {**self.session.state(), "host": self._described()}
        self._ticks += 1

    def _described(self) -> dict[str, Any]:
        """Returns what `diagan sample` has to know."""
        settings, dataset = self.settings, self.session.run.dataset
        return {
            "trainer": self.trainer.name, "num_samples": len(dataset),
            "batch": int(self._keywords["batch_size"]),
            "total_steps": self.session.run.total_steps,
            "shape": list(dataset.sample_shape), "classes": dataset.num_classes,
            "options": options_as_yaml(settings.options),
        }  # fmt: skip

    def dump(self, original: Callable[..., None], content: Any, file: Any, *args: Any) -> None:
        """Writes a snapshot, and the plugins' state beside it."""
        original(content, file, *args)
        if self._due is not None and isinstance(content, Mapping) and "G_ema" in content:
            write_file(state_path(file.name), self._due)
            self._due = None


class Namesake:
    """A module in the eyes of another one, with a function replaced.

    Args:
        module: The module.
        **replaced: Name → what is called, with the original as its first argument.
    """

    def __init__(self, module: ModuleType, **replaced: Callable[..., Any]) -> None:
        self._module = module
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._module, name)
        if name not in self._replaced:
            return found
        return lambda *args, **keywords: self._replaced[name](found, *args, **keywords)
