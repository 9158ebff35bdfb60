from __future__ import annotations

import numpy as np
import pytest
import torch
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from torch.nn.functional import softplus

from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.regularizers.gradient_penalty import gradient_penalty, r1_penalty
from gan_registry.seeding import derive_seed, generator_for
from gan_registry.training.updates import update_discriminator

ALL = {
    "LOSS__apply_gp": True,
    "LOSS__apply_dra": True,
    "LOSS__apply_maxgp": True,
    "LOSS__apply_r1_reg": True,
    "LOSS__apply_lecam": True,
    "LOSS__lecam_ema_start_iter": 1,
    "LOSS__apply_cr": True,
    "LOSS__apply_bcr": True,
    "LOSS__apply_zcr": True,
    "LOSS__apply_fm": True,
    "LOSS__apply_wc": True,
}
AUGMENTED = {"AUG__cr_aug_type": "cr", "AUG__bcr_aug_type": "bcr"}


class Batches:
    """Keeps what D was last trained on."""

    @hookimpl
    def gan_discriminator_updated(self, run, batches):
        self.last = batches


def _update(**settings):
    """Trains a step, then does one more update of D; returns the run, the batch and D before it."""
    spy = Batches()
    config = points_config(OPTIMIZATION__total_steps=1, **settings)
    run = fit(config, plugins=manager(spy=spy))
    before = run.backbone.build("discriminator")
    before.load_state_dict(run.discriminator.state_dict())
    run.log({"loss/discriminator": 0.0})
    update_discriminator(run, 0)
    return run, spy.last[0], before


@pytest.mark.parametrize("name", ["gp", "r1_reg"])
def test_a_penalty_enters_the_loss_with_its_weight(name):
    weight = {"gp": "LOSS__gp_lambda", "r1_reg": "LOSS__r1_lambda"}[name]
    run, batch, before = _update(**{f"LOSS__apply_{name}": True, weight: 3.0})
    real, fake = before(batch.real.x).squeeze(1), before(batch.fake.x).squeeze(1)
    if name == "gp":
        rng = generator_for(run.seed, "regularization", 0, "host", run.step, 0)
        penalty = gradient_penalty(before, batch.real.x, batch.fake.x, generator=rng)
    else:
        penalty = r1_penalty(before, batch.real.x)
    expected = softplus(-real).mean() + softplus(fake).mean() + 3.0 * penalty
    assert penalty > 1e-6
    torch.testing.assert_close(run.noted()["loss/discriminator"], expected.item())


@pytest.mark.parametrize(("update", "factor"), [(1, 0), (3, 0), (4, 4), (6, 0), (8, 4)])
def test_r1_in_the_loop_is_scaled_by_its_interval_and_comes_that_rarely(update, factor):
    """Every 4th update, 4 times as strong: on average as much as with an interval of 1."""
    spy = Batches()
    config = points_config(
        OPTIMIZATION__total_steps=1, LOSS__apply_r1_reg=True, LOSS__r1_lambda=3.0,
        STYLEGAN__d_reg_interval=4,
    )  # fmt: skip
    run = fit(config, plugins=manager(spy=spy))
    before = run.backbone.build("discriminator")
    before.load_state_dict(run.discriminator.state_dict())
    run.step = update
    update_discriminator(run, 0)
    (batch,) = spy.last
    real, fake = before(batch.real.x).squeeze(1), before(batch.fake.x).squeeze(1)
    x = batch.real.x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(before(x).sum(), x)
    penalty = factor * 3.0 * gradient.square().sum(1).mean() / 2
    assert (float(penalty) > 1e-3) == (factor > 0)
    expected = softplus(-real).mean() + softplus(fake).mean() + penalty
    torch.testing.assert_close(run.noted()["loss/discriminator"], expected.item())


class StepsTaken:
    """Notes after each update of D how many steps its optimiser has taken."""

    def __init__(self):
        self.counts = [0]

    @hookimpl
    def gan_discriminator_updated(self, run):
        states = run.optimizers["discriminator"].state
        self.counts.append(int(states[next(run.discriminator.parameters())]["step"]))


def test_lazy_intervals_count_updates_not_steps():
    spy = StepsTaken()
    config = points_config(
        LOSS__apply_r1_reg=True, LOSS__r1_place="outside_loop", STYLEGAN__d_reg_interval=3,
        OPTIMIZATION__total_steps=4, OPTIMIZATION__d_updates_per_step=2,
    )  # fmt: skip
    fit(config, plugins=manager(spy=spy))
    # One step of the optimiser for the loss, and one more where R1 is due.
    taken = np.diff(spy.counts).tolist()
    assert taken == [2 if update % 3 == 0 else 1 for update in range(8)]


def test_lazy_r1_steps_apart_with_scaled_adam():
    config = points_config(
        LOSS__apply_r1_reg=True, LOSS__r1_place="outside_loop", STYLEGAN__d_reg_interval=3,
        OPTIMIZATION__total_steps=7, OPTIMIZATION__beta1=0.5, OPTIMIZATION__d_lr=1e-3,
    )  # fmt: skip
    run = fit(config)
    optimizer = run.optimizers["discriminator"]
    group = optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(1e-3 * 3 / 4)
    assert group["betas"] == (pytest.approx(0.5**0.75), pytest.approx(0.999**0.75))
    # Seven updates, and one more after the numbers 0, 3 and 6; a bias that no gradient of the
    # output with respect to the input depends on sits those out.
    assert {int(state["step"]) for state in optimizer.state.values()} == {7, 10}
    assert int(optimizer.state[next(run.discriminator.parameters())]["step"]) == 10
    assert run.optimizers["generator"].param_groups[0]["lr"] == 1e-3


def test_lazy_r1_equals_the_step_taken_apart():
    changes = {"LOSS__r1_place": "outside_loop", "STYLEGAN__d_reg_interval": 2}
    run, batch, before = _update(LOSS__apply_r1_reg=True, LOSS__r1_lambda=2.0, **changes)
    # By hand: one step on the loss, then one on interval · λ · R1, by the same optimiser.
    reference = fit(
        points_config(OPTIMIZATION__total_steps=1, LOSS__apply_r1_reg=True,
                      LOSS__r1_lambda=2.0, **changes)
    )  # fmt: skip
    network, optimizer = reference.discriminator, reference.optimizers["discriminator"]
    for mine, theirs in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    network.train()
    optimizer.zero_grad()
    real, fake = network(batch.real.x).squeeze(1), network(batch.fake.x).squeeze(1)
    (softplus(-real).mean() + softplus(fake).mean()).backward()
    optimizer.step()
    # The update's number over the run is 1, which an interval of 2 leaves without R1.
    for mine, theirs in zip(network.parameters(), run.discriminator.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    run.step = 2
    spy = run.plugins.hooks.get_plugin("spy")
    update_discriminator(run, 0)
    batch = spy.last[0]
    optimizer.zero_grad()
    real, fake = network(batch.real.x).squeeze(1), network(batch.fake.x).squeeze(1)
    (softplus(-real).mean() + softplus(fake).mean()).backward()
    optimizer.step()
    optimizer.zero_grad()
    (2 * 2.0 * r1_penalty(network, batch.real.x)).backward()
    optimizer.step()
    for mine, theirs in zip(network.parameters(), run.discriminator.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_weights_are_clipped_after_every_step():
    run = fit(points_config(LOSS__adv_loss="wasserstein", LOSS__apply_wc=True))
    largest = max(float(p.detach().abs().max()) for p in run.discriminator.parameters())
    assert largest == pytest.approx(0.01)


def test_everything_at_once_resumes_bit_for_bit(tmp_path):
    changes = {**ALL, **AUGMENTED, "MODEL__d_bn": False, "MODEL__d_dropout": 0.0}
    config = digits_config(OPTIMIZATION__total_steps=5, **changes)
    whole = fit(config, tmp_path / "whole")
    fit(digits_config(OPTIMIZATION__total_steps=2, **changes), tmp_path / "parts")
    resumed = fit(config, tmp_path / "parts")
    assert_equal_runs(whole, resumed)
    assert torch.isfinite(whole.additions["host.lecam"].real)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"LOSS__lecam_ema_start_iter"}))
def test_each_changes_the_training(name):
    settings = {"LOSS__lecam_ema_start_iter": 0} if "lecam" in name else dict(AUGMENTED)
    plain, changed = (
        fit(digits_config(OPTIMIZATION__total_steps=4, MODEL__d_bn=False, **settings, **extra))
        for extra in ({}, {name: True})
    )
    network = "generator" if name == "LOSS__apply_fm" else "discriminator"
    pairs = zip(
        getattr(plain, network).parameters(), getattr(changed, network).parameters(), strict=True
    )
    assert any(not torch.equal(one, other) for one, other in pairs)


# --- labels -------------------------------------------------------------------------------------


def _conditional(**changes):
    return digits_config(
        DATA__img_size=32, MODEL__backbone="resnet", MODEL__g_cond_mtd="cBN",
        MODEL__g_conv_dim=2, MODEL__d_conv_dim=2, OPTIMIZATION__batch_size=8,
        OPTIMIZATION__total_steps=2, MODEL__d_bn=False, MODEL__d_dropout=0.0, **changes,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "loss"), [("PD", "hinge"), ("AC", "logistic"), ("MH", "MH")])
def test_conditional_networks_train_and_resume(method, loss, tmp_path):
    changes = {"MODEL__d_cond_mtd": method, "LOSS__adv_loss": loss}
    run = fit(_conditional(**changes), tmp_path)
    assert run.generate(3).y.shape == (3,)
    longer = _conditional(
        **changes,
    )
    longer.OPTIMIZATION.total_steps = 4
    resumed = fit(longer, tmp_path)
    whole = fit(longer)
    assert_equal_runs(whole, resumed)


def test_labels_come_as_often_as_in_the_data():
    run = fit(_conditional(MODEL__d_cond_mtd="PD", LOSS__adv_loss="hinge"))
    data = np.bincount(run.dataset.labels, minlength=10) / len(run.dataset)
    for purpose in ("a", "b", "c"):
        drawn = run.labels(20_000, purpose)
        assert drawn.dtype == torch.int64
        shares = np.bincount(drawn.numpy(), minlength=10) / 20_000
        assert np.abs(shares - data).max() < 4 * np.sqrt(0.1 * 0.9 / 20_000)
    assert torch.equal(run.labels(50, "a"), run.labels(50, "a"))
    assert not torch.equal(run.labels(50, "a"), run.labels(50, "b"))


def test_labels_that_nobody_sees_are_refused():
    config = digits_config()
    config.MODEL.g_cond_mtd = (
        "cBN"  # past the check of the configuration, as a plugin's backbone is
    )
    with pytest.raises(UserError, match=r"'dcgan' takes no class labels"):
        fit(config)


def test_classes_are_drawn_evenly_when_asked_to():
    run = fit(digits_config(RUN__sampler="class_balanced", OPTIMIZATION__total_steps=1))
    size = len(run.dataset)
    counts = np.bincount(run.dataset.labels[run.sampler.draw(0, size)])
    assert set(counts.tolist()) <= {size // 10, size // 10 + 1}


def test_an_unconditional_run_has_no_labels():
    assert fit(points_config(OPTIMIZATION__total_steps=1)).labels(3, "x") is None


# --- data ---------------------------------------------------------------------------------------


def test_half_of_the_images_are_mirrored_by_their_place_in_the_stream():
    config = digits_config(PRE__apply_rflip=True, OPTIMIZATION__total_steps=1)
    plain = digits_config(OPTIMIZATION__total_steps=1)
    mirrored, straight = fit(config), fit(plain)
    flips = 0
    for _ in range(10):
        one, other = mirrored.stream.next(), straight.stream.next()
        assert torch.equal(one.indices, other.indices)
        same = (one.x == other.x).flatten(1).all(1)
        turned = (one.x == other.x.flip(-1)).flatten(1).all(1)
        assert bool((same | turned).all())
        flips += int((turned & ~same).sum())
    assert 100 < flips < 220  # of 320, a few of which are symmetric
    # Another sequence of batches from the same place: the same mirror images.
    mirrored.stream.seek(mirrored.stream.position - 32)
    assert torch.equal(mirrored.stream.next().x, one.x)
    assert derive_seed(0, "flip") == mirrored.stream.flip_seed


@pytest.mark.parametrize("kind", ["cr", "bcr"])
def test_points_are_not_flipped_and_shifted(kind: str):
    changes = {f"LOSS__apply_{kind}": True, f"AUG__{kind}_aug_type": kind}
    with pytest.raises(UserError, match=rf"LOSS\.apply_{kind} = True .* 'gmm25' are of shape \(2,"):
        fit(points_config(**changes))


def test_points_are_never_mirrored():
    assert fit(points_config(PRE__apply_rflip=True)).stream.flip_seed is None


def test_a_group_is_thinned_to_its_share():
    run = fit(digits_config(DATA__minority={"green": 0.02}, OPTIMIZATION__total_steps=1))
    assert (run.dataset.groups == 1).mean() == pytest.approx(0.02, abs=5e-4)
    with pytest.raises(UserError, match="blue"):
        fit(digits_config(DATA__minority={"blue": 0.02}))
