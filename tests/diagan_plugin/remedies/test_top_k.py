from __future__ import annotations

import math

import pytest
import torch
from small_runs import fit, manager, points_config, state_of

from diagan_plugin.remedies.top_k import TopKPlugin, top_k_share, top_k_weights
from gan_registry.config.load import validate_config
from gan_registry.errors import UserError


def test_a_batch_by_hand() -> None:
    weights = top_k_weights(torch.tensor([0.5, -1.0, 2.0, 0.0]), 0.5)
    assert weights.tolist() == [2.0, 0.0, 2.0, 0.0]
    terms = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert (weights * terms).mean() == (1.0 + 3.0) / 2  # the mean over the two best


def test_the_share_decays_by_epochs_to_its_floor() -> None:
    assert [top_k_share(epoch) for epoch in (0, 1, 2)] == pytest.approx([1.0, 0.99, 0.9801])
    last = math.floor(math.log(0.5) / math.log(0.99))  # 68
    assert top_k_share(last) > 0.5
    assert top_k_share(last + 1) == top_k_share(10_000) == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_have_mean_one_and_the_dtype_of_the_logits(dtype: torch.dtype) -> None:
    logits = torch.arange(16, dtype=dtype)
    for share, k in ((1.0, 16), (0.75, 12), (0.5, 8), (0.01, 1)):
        weights = top_k_weights(logits, share)
        assert weights.dtype == dtype
        assert weights.double().mean() == pytest.approx(1.0, rel=4e-3)
        assert weights.nonzero().flatten().tolist() == list(range(16 - k, 16))


def test_ties_nan_and_infinity() -> None:
    assert (top_k_weights(torch.zeros(8), 0.5) > 0).sum() == 4
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0])
    assert top_k_weights(odd, 0.5).tolist() == [0.0, 2.0, 0.0, 2.0]
    assert top_k_weights(torch.empty(0), 0.5).tolist() == []
    assert top_k_weights(torch.zeros(1), 0.5).tolist() == [1.0]
    assert (top_k_weights(torch.zeros(100), 0.57) > 0).sum() == 57
    for logits, share in ((torch.zeros(4, 1), 0.5), (torch.zeros(4), 0.0), (torch.zeros(4), 1.5)):
        with pytest.raises(ValueError, match="Argument"):
            top_k_weights(logits, share)


def test_leaving_out_the_worst_moves_samples_nearer_to_the_modes() -> None:
    """D slopes towards the mode at 0 near it, and away from it far out, where no data lie.

    Sinha et al., section 3: the gradient of the samples that D likes least points the wrong way.
    """

    def step(share: float) -> float:
        x = torch.tensor([-0.4, 0.2, 0.5, 3.0], requires_grad=True)
        logits = torch.where(x < 2, 1 - x.square(), x - 6)  # −3 at 3, and rising outwards
        weights = top_k_weights(logits, share)
        (gradient,) = torch.autograd.grad((weights * -logits).mean(), x)
        return float((x - 0.5 * gradient).detach().abs().mean())

    assert step(0.75) < step(1.0)


def test_studiogans_keys_and_the_epochs_of_a_run() -> None:
    content = points_config(DATA__options={"num_samples": 32}).model_dump()
    content["LOSS"] |= {"apply_topk": True, "topk_gamma": 0.5, "topk_nu": 0.25}
    plugins = manager(top_k=TopKPlugin())
    config = validate_config(content, "the test", plugins.catalogs.claims)
    assert config.PLUGINS == {"top_k": {"enabled": True, "gamma": 0.5, "nu": 0.25}}
    run = fit(config, plugins=plugins)  # 6 steps of 16 samples; an epoch has two steps
    assert run.step == 6

    def at(step: int) -> list[float]:
        run.step = step
        (weights,) = run.plugins.hooks.hook.gan_generator_weights(
            run=run, fake=None, logits=torch.arange(16.0), fake_out=None
        )
        return sorted(set(weights.tolist()))

    assert [at(step) for step in (0, 1, 2, 4, 6)] == [[1], [1], [0, 2], [0, 4], [0, 4]]
    by_flags = points_config(DATA__options={"num_samples": 32})
    by_flags.PLUGINS = {"top_k": {"enabled": True, "gamma": 0.5, "nu": 0.25}}
    same = fit(by_flags, plugins=manager(top_k=TopKPlugin()))
    one, other = state_of(run), state_of(same)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_share_out_of_range_is_refused() -> None:
    config = points_config()
    config.PLUGINS = {"top_k": {"nu": 0.0}}
    with pytest.raises(UserError, match="above 0 and at most 1"):
        fit(config, plugins=manager(top_k=TopKPlugin()))
    for arguments in ((-1,), (1, 0.0), (1, 0.9, 2.0)):
        with pytest.raises(ValueError, match="Argument"):
            top_k_share(*arguments)
