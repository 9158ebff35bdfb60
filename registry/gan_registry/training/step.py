"""One step of the training: a pure function of the run's state, its seed and the step's number."""

from __future__ import annotations

from gan_registry.seeding import seed_modules
from gan_registry.training.rates import set_learning_rates
from gan_registry.training.run import Run


def train_step(run: Run) -> None:
    """Updates D and G in turn, and what follows them; `run.step` counts the step afterwards."""
    timing = run.config.OPTIMIZATION
    # What modules draw themselves follows from the step; so do the learning rates.
    seed_modules(run.seed, run.rank, run.step, run.device)
    run.new_step()
    set_learning_rates(run)
    for network in (run.generator, run.discriminator):
        if not network.training:  # a walk over all modules, which small networks feel
            network.train()

    # D and G in turn.
    rounds = [
        (run.objective.update_discriminator, timing.d_updates_per_step),
        (run.objective.update_generator, timing.g_updates_per_step),
    ]
    for update, times in rounds if timing.d_first else reversed(rounds):
        for number in range(times):
            update(number)

    # The step is done: what follows it, in networks and in plugins.
    run.step += 1
    run.share_buffers()
    if run.average is not None:
        run.average.update(run.generator, run.step)
    run.hooks.step_end(run)
    run.health.step_end()
    if run.step == run.first_step + 1:
        # A state that cannot be saved is named now, not after hours.
        run.hooks.state(run)
    run.whole_step = run.step
