"""A plugin that has nothing to do with any method: it checks what the hooks receive."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from gan_registry.hookspecs import hookimpl


class Watch:
    def __init__(self) -> None:
        self.log: dict[str, Any] = {"shown": [], "updates": [], "steps": [], "loaded": None}

    @hookimpl
    def gan_add_options(self, parser):
        group = parser.add_argument_group("probe")
        group.add_argument("--probe", dest="probe.on", action="store_true", default=False)
        for name, default in (
            ("even_from", -1), ("kill_at", -1), ("fail_at", -1), ("stop_at", -1),
        ):  # fmt: skip
            flag = f"--probe-{name.replace('_', '-')}"
            group.add_argument(flag, dest=f"probe.{name}", type=int, default=default)
        for name in ("real", "fake", "generator", "penalty"):
            group.add_argument(f"--probe-{name}", dest=f"probe.{name}", type=float, default=None)

    @hookimpl
    def gan_register(self, catalogs):
        catalogs.samplers.register("probe", "studiogan_probe:build_sampler")

    @hookimpl
    def gan_models_ready(self, run):
        if run.options["probe"]["on"]:
            with torch.random.fork_rng(devices=[]):
                run.add("probe.network", torch.nn.Linear(2, 1))

    @hookimpl
    def gan_real_logits(self, run, real, logits):
        if not run.options["probe"]["on"]:
            return
        x, y = run.dataset.__getitems__(real.indices)
        for own, other in zip(real.x, x, strict=True):
            assert torch.equal(own, other) or torch.equal(own, other.flip(-1))
        assert real.y is None or torch.equal(real.y, y)
        assert logits.shape == (len(real.x),)
        assert not logits.requires_grad
        assert logits.dtype == torch.float32
        self.log["shown"].append((run.step, real.indices))

    @hookimpl
    def gan_discriminator_updated(self, run, batches):
        if not run.options["probe"]["on"]:
            return
        indices = torch.cat([batch.real.indices for batch in batches])
        self.log["updates"].append((run.step, run.position, indices))
        if run.config.RUN.sampler == "probe":
            share = run.drawn(batches)[run.rank :: run.world_size]
            assert indices.tolist() == share.tolist()

    @hookimpl
    def gan_step_end(self, run):
        options = run.options["probe"]
        if not options["on"]:
            return
        self.log["steps"].append(run.step)
        if run.step == options["even_from"]:
            weights = torch.zeros(len(run.dataset), dtype=torch.float64)
            weights[::2] = 1.0
            run.set_weights((weights / weights.sum()).numpy())
        if run.step == options["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if run.step == options["fail_at"]:
            raise RuntimeError("the probe fails")
        if run.step == options["stop_at"]:
            run.stop("asked to")

    @hookimpl
    def gan_train_end(self, run):
        if run.options["probe"]["on"]:
            torch.save(self.log, run.folder / f"probe-{run.rank}.pt")

    @hookimpl
    def gan_state(self, run):
        if not run.options["probe"]["on"]:
            return None
        return {"version": 1, "steps": len(self.log["steps"])}

    @hookimpl
    def gan_load_state(self, run, state):
        self.log["loaded"] = state["steps"]


class Probe(Watch):
    """Weighs and penalises, too."""

    @hookimpl
    def gan_discriminator_weights(self, run, real, fake, real_logits, fake_logits, fake_out):
        if not run.options["probe"]["on"]:
            return None
        assert real.x.shape == fake.x.shape
        assert len(fake.z) == len(fake.x)
        assert fake.y is None or len(fake.y) == len(fake.x)
        assert torch.equal(run.loss.log_density_ratio(fake_out, fake.y).detach(), fake_logits)
        assert not isinstance(fake_out, dict) or "h" in fake_out
        return tuple(
            None if weight is None else torch.full_like(logits, weight)
            for weight, logits in (
                (run.options["probe"]["real"], real_logits),
                (run.options["probe"]["fake"], fake_logits),
            )
        )

    @hookimpl
    def gan_generator_weights(self, run, fake, logits):
        weight = run.options["probe"]["generator"]
        if run.options["probe"]["on"]:
            assert fake.x.requires_grad
        return None if weight is None else torch.full_like(logits, weight)

    @hookimpl
    def gan_discriminator_penalty(self, run, fake):
        penalty = run.options["probe"]["penalty"]
        return None if penalty is None else fake.x.new_full((), penalty)

    @hookimpl
    def gan_generator_penalty(self, run, fake):
        penalty = run.options["probe"]["penalty"]
        return None if penalty is None else fake.x.new_full((), penalty)


def build_sampler(run):
    from diagan_plugin.sampling.sampler import DiaSampler

    return DiaSampler(len(run.dataset), seed=run.seed)
