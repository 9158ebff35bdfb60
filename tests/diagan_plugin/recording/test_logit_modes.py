from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as legacy_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from diagan_plugin.recording.logit_modes import (
    LOGIT_MODES,
    depends_on_batch,
    has_batch_norm,
    logit_mode,
    resolve_logit_mode,
)


class Everything(nn.Module):
    """Batch norm, both spectral norms, dropout, a buffer that forward replaces, a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = spectral_norm(nn.Conv2d(1, 4, 3))
        self.norm2d = nn.BatchNorm2d(4)
        self.drop2d = nn.Dropout2d(0.5)
        self.linear = legacy_spectral_norm(nn.Linear(16, 8))
        self.norm1d = nn.BatchNorm1d(8, momentum=None)
        self.drop = nn.AlphaDropout(0.5)
        self.out = nn.Linear(8, 1)
        self.frozen = nn.Dropout(0.9)
        self.frozen.eval()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        h = self.drop2d(self.norm2d(self.conv(x))).relu().flatten(1)
        return self.out(self.frozen(self.drop(self.norm1d(self.linear(h)))))


def make(seed: int = 0) -> tuple[Everything, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, x = Everything(), torch.randn(6, 1, 4, 4)
        net(x)  # power iterations and running statistics are under way
    return net, x


def snapshot(net: nn.Module) -> tuple[list[bool], dict[str, tuple[int, Tensor]]]:
    buffers = {name: (id(b), b.clone()) for name, b in net.named_buffers()}
    return [module.training for module in net.modules()], buffers


def assert_unchanged(net: nn.Module, before: tuple[list[bool], dict[str, tuple[int, Tensor]]]):
    flags, buffers = before
    assert [module.training for module in net.modules()] == flags
    now = dict(net.named_buffers())
    assert now.keys() == buffers.keys()
    for name, (identity, value) in buffers.items():
        assert id(now[name]) == identity, name
        assert torch.equal(now[name], value), name


def test_without_the_context_a_training_forward_changes_every_kind_of_buffer():
    net, x = make()
    _, before = snapshot(net)
    net(x)
    changed = {n for n, b in net.named_buffers() if not torch.equal(b, before[n][1])}
    assert changed == before.keys()


@pytest.mark.parametrize("mode", LOGIT_MODES)
@pytest.mark.parametrize("fails", [False, True])
def test_flags_and_buffers_are_restored_bit_identically(mode, fails):
    net, x = make()
    before, weight = snapshot(net), net.linear.weight
    try:
        with torch.no_grad(), logit_mode(net, mode):
            net(x)
            net(x + 1)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert_unchanged(net, before)
    assert net.linear.weight is weight  # what the legacy hook leaves on the layer


def test_eval_mode_switches_every_module_off():
    net, _ = make()
    with logit_mode(net, "eval") as resolved:
        assert resolved == "eval"
        assert not any(module.training for module in net.modules())


def test_batchstat_is_batch_statistics_without_dropout():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    x = torch.randn(10, 3)
    with torch.no_grad(), logit_mode(net, "batchstat"):
        got = net(x)
    h = x.double() @ net[0].weight.double().T + net[0].bias.double()
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + net[1].eps).sqrt()
    want = h @ net[3].weight.double().T + net[3].bias.double()
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)


def test_train_mode_has_dropout_on_and_batch_statistics():
    net, _ = make()
    with logit_mode(net, "train"):
        assert net.norm2d.training
        assert net.norm1d.training
        assert net.drop.training
        assert net.drop2d.training


@pytest.mark.parametrize("mode", ["train", "batchstat"])
def test_power_iteration_rests_so_that_all_batches_meet_the_same_weights(mode):
    torch.manual_seed(0)
    for norm in (spectral_norm, legacy_spectral_norm):
        net = nn.Sequential(nn.BatchNorm1d(60), norm(nn.Linear(60, 50)))
        x = torch.randn(8, 60)
        with torch.no_grad():
            net(x)
            with logit_mode(net, mode):
                first, second = net(x), net(x)
            assert torch.equal(first, second)
            assert not torch.equal(net(x), net(x))  # it advances in plain training mode


def test_a_hook_on_a_module_of_ones_own_keeps_its_flag_and_is_undone():
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            assert self.training
            return super().forward(x)

    net = legacy_spectral_norm(Own(4, 3))
    before = net.weight_u.clone()
    with torch.no_grad(), logit_mode(net, "train"):
        net(torch.ones(2, 4))
        assert not torch.equal(net.weight_u, before)
    assert torch.equal(net.weight_u, before)


def test_a_graph_made_before_can_still_run_backward():
    net, x = make()
    loss = net(x).sum()
    with torch.no_grad(), logit_mode(net, "train"):
        net(x + 1)
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


class OwnBatchNorm(nn.BatchNorm1d):
    pass


@pytest.mark.parametrize("norm", [nn.SyncBatchNorm, OwnBatchNorm, nn.BatchNorm3d])
def test_subclasses_of_batch_norm_count(norm):
    net = nn.Sequential(nn.Linear(3, 3), norm(3)).eval()
    assert has_batch_norm(net)
    assert resolve_logit_mode("auto", net) == "batchstat"
    with logit_mode(net, "auto"):
        assert net[1].training
        assert not net[0].training
    assert not net[1].training


def test_auto_is_eval_without_batch_norm_and_other_modes_stay():
    net = nn.Sequential(nn.Linear(3, 3), nn.InstanceNorm1d(3), nn.Dropout())
    assert resolve_logit_mode("auto", net) == "eval"
    for mode in ("eval", "train", "batchstat"):
        assert resolve_logit_mode(mode, net) == mode


def test_dependence_on_the_batch():
    plain, norm = nn.Linear(2, 1), nn.Sequential(nn.BatchNorm1d(2))
    assert not depends_on_batch(plain, "eval")
    assert not depends_on_batch(norm, "eval")
    assert depends_on_batch(norm, "batchstat")
    assert depends_on_batch(plain, "train")
    assert depends_on_batch(nn.BatchNorm1d(2, track_running_stats=False), "eval")
    across = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    across[1].depends_on_batch = True
    assert depends_on_batch(across, "eval")


def test_unknown_mode():
    net = nn.Linear(2, 1).train()
    with pytest.raises(ValueError, match="Argument `mode` must be one of"), logit_mode(net, "test"):
        pass
    assert net.training
