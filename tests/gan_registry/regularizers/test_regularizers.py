from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_registry.regularizers.consistency import (
    consistency,
    flip_and_shift,
    latent_diversity,
    neighbouring_latent,
)
from gan_registry.regularizers.feature_matching import feature_matching
from gan_registry.regularizers.gradient_penalty import (
    dragan_penalty,
    gradient_penalty,
    max_gradient_penalty,
    r1_penalty,
)
from gan_registry.regularizers.lazy import is_regularised, lazy_adam
from gan_registry.regularizers.lecam import LogitAverages, lecam_penalty
from gan_registry.regularizers.path_length import path_length_penalty
from gan_registry.regularizers.weight_clipping import clip_weights

# Values are read off penalties that still carry a graph.
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
SHAPE = (6, 3, 4, 4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int, shape=SHAPE, dtype=torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


class Linear(nn.Module):
    """D(x) = w·x, whose gradient is w everywhere."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(scale * images(9, (math.prod(SHAPE[1:]),)))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x.flatten(1) @ self.w.to(x.dtype)


class Quadratic(nn.Module):
    """D(x) = a·‖x‖² / 2, whose gradient is a·x."""

    def __init__(self, a: float = 0.3) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.a.to(x.dtype) * x.flatten(1).square().sum(1, keepdim=True) / 2


def norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


#: each penalty as a function of D alone, and what it is for a linear D with a gradient of norm n
PENALTIES = {
    "gp": (lambda D: gradient_penalty(D, images(1), images(2), generator=seeded()),
           lambda n: (n - 1) ** 2),
    "dragan": (lambda D: dragan_penalty(D, images(1), generator=seeded()),
               lambda n: (n - 1) ** 2),
    "maxgp": (lambda D: max_gradient_penalty(D, images(1), images(2), generator=seeded()),
              lambda n: n**2),
    "r1": (lambda D: r1_penalty(D, images(1)), lambda n: n**2 / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_penalties_of_a_linear_discriminator_and_their_gradients(name):
    penalty, formula = PENALTIES[name]
    network = Linear(0.2)
    norm = float(network.w.detach().norm())
    value = penalty(network)
    assert value.shape == ()
    assert float(value) == pytest.approx(formula(norm), rel=1e-9)
    value.backward()
    slope = (formula(norm + 1e-6) - formula(norm - 1e-6)) / 2e-6
    expected = slope * network.w.detach() / norm
    torch.testing.assert_close(network.w.grad, expected, rtol=1e-5, atol=1e-8)


def test_points_lie_between_real_and_generated_samples_one_share_for_each_pair():
    real, fake = images(1), images(2)
    alpha = torch.rand(6, 1, 1, 1, generator=seeded(5)).double()
    points = alpha * real + (1 - alpha) * fake
    D, a = Quadratic(), 0.3
    value = gradient_penalty(D, real, fake, generator=seeded(5))
    assert float(value) == pytest.approx(float(((a * norms(points) - 1) ** 2).mean()))
    value = max_gradient_penalty(D, real, fake, generator=seeded(5))
    assert float(value) == pytest.approx(float((a * norms(points)).max() ** 2))
    # The same generator state, the same points; another, others.
    again = gradient_penalty(D, real, fake, generator=seeded(5))
    other = gradient_penalty(D, real, fake, generator=seeded(6))
    assert float(again) == float(gradient_penalty(D, real, fake, generator=seeded(5)))
    assert float(again) != float(other)


def test_dragan_looks_up_to_half_a_deviation_above_the_data():
    real = images(1)
    rng = seeded(5)
    alpha = torch.rand(6, 1, 1, 1, generator=rng).double()
    noise = torch.rand(SHAPE, generator=rng).double()
    points = real + alpha * 0.5 * np.std(real.numpy(), ddof=1) * noise
    value = dragan_penalty(Quadratic(), real, generator=seeded(5))
    assert float(value) == pytest.approx(float(((0.3 * norms(points) - 1) ** 2).mean()))


def test_r1_is_half_the_mean_squared_gradient():
    real = images(1)
    expected = float((0.5 * (0.3 * norms(real)) ** 2).mean())
    assert float(r1_penalty(Quadratic(), real)) == pytest.approx(expected)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_global_random_state_and_the_samples_are_left_alone(name):
    before = torch.get_rng_state()
    PENALTIES[name][0](Linear())
    assert torch.equal(torch.get_rng_state(), before)
    real = images(1).requires_grad_()
    gradient_penalty(Linear(), real, real, generator=seeded()).backward()
    assert real.grad is None


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("flat", [False, True])
def test_labels_containers_and_points_in_the_plane(name, flat):
    shape = (6, 2) if flat else SHAPE
    labels = torch.arange(6)
    seen = []

    def conditional(x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        seen.append(y)
        return {"adv_output": (x.flatten(1).square().sum(1) * (1 + y) / 2)[:, None], "h": x}

    real, fake = images(1, shape), images(2, shape)
    if name == "r1":
        value = r1_penalty(conditional, real, labels)
        expected = (0.5 * ((1 + labels) * norms(real)) ** 2).mean()
        assert float(value) == pytest.approx(float(expected))
    elif name == "dragan":
        dragan_penalty(conditional, real, labels, generator=seeded())
    else:
        function = gradient_penalty if name == "gp" else max_gradient_penalty
        function(conditional, real, fake, labels, generator=seeded())
    assert seen[0] is labels
    tupled = r1_penalty(lambda x, y: (x.flatten(1).sum(1), None), real)
    assert float(tupled) == pytest.approx(math.prod(shape[1:]) / 2)
    custom = r1_penalty(
        lambda x, y: torch.stack([x.flatten(1).sum(1), x.flatten(1).sum(1) * 2], 1),
        real, realness=lambda out: out[:, 1] - out[:, 0],
    )  # fmt: skip
    assert float(custom) == pytest.approx(math.prod(shape[1:]) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_penalties_are_in_float32_under_autocast_and_for_half_precision_samples(dtype):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 1))
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(0.3 * images(number, parameter.shape, torch.float32))
    D = lambda x, y: network(x)  # noqa: E731
    real, fake = images(1).to(dtype), images(2).to(dtype)
    whole = real.float(), fake.float()

    def penalties(real: Tensor, fake: Tensor) -> list[Tensor]:
        return [
            gradient_penalty(D, real, fake, generator=seeded()),
            dragan_penalty(D, real, generator=seeded()),
            max_gradient_penalty(D, real, fake, generator=seeded()),
            r1_penalty(D, real),
        ]

    expected = penalties(*whole)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = penalties(real, fake)
    for value, reference in zip(actual, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-7)
    sum(actual).backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters() if p.grad is not None)


def test_a_flat_discriminator_gives_finite_gradients():
    network = Linear(0.0)
    for penalty, formula in PENALTIES.values():
        network.w.grad = None
        value = penalty(network)
        assert float(value) == formula(0.0)
        value.backward()
        assert torch.isfinite(network.w.grad).all()


def test_single_and_empty_batches_and_mismatched_ones():
    network = Linear(0.2)
    norm = float(network.w.detach().norm())
    one, none = images(1)[:1], images(1)[:0]
    for size, batch in ((1, one), (0, none)):
        values = {
            "gp": gradient_penalty(network, batch, batch, generator=seeded()),
            "dragan": dragan_penalty(network, batch, generator=seeded()),
            "maxgp": max_gradient_penalty(network, batch, batch, generator=seeded()),
            "r1": r1_penalty(network, batch),
        }
        for name, value in values.items():
            assert float(value) == pytest.approx(PENALTIES[name][1](norm) if size else 0.0), name
    scalar = dragan_penalty(lambda x, y: 2 * x, torch.ones(1, 1), generator=seeded())
    assert float(scalar) == 1.0  # the deviation of one number is no NaN
    with pytest.raises(ValueError, match="shape of `real`"):
        gradient_penalty(network, images(1), one, generator=seeded())


def test_a_gradient_penalty_keeps_a_wasserstein_discriminator_near_slope_1():
    # Without one, D's loss falls without bound.
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    real, fake = images(1, (64, 1), torch.float32) + 2, images(2, (64, 1), torch.float32)
    rng = seeded()
    for _ in range(300):
        optimizer.zero_grad()
        loss = network(fake).mean() - network(real).mean()
        loss = loss + 10 * gradient_penalty(lambda x, y: network(x), real, fake, generator=rng)
        loss.backward()
        optimizer.step()
    gap = float(real.mean() - fake.mean())
    assert float(network.weight.detach()) == pytest.approx(1 + gap / 20, abs=0.02)  # the optimum


@pytest.mark.parametrize("interval", [1, 4, 16])
def test_lazy_adam_leaves_learning_rate_and_memory_over_an_interval_as_they_were(interval):
    """For a constant gradient, k + 1 lazy steps do what k plain ones do, to the moments too."""

    def run(lr: float, betas: tuple[float, float], steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = torch.optim.Adam([parameter], lr=lr, betas=betas)
        for _ in range(steps):
            parameter.grad = torch.full((1,), 0.7, dtype=torch.float64)
            optimizer.step()
        return parameter.detach(), optimizer.state[parameter]

    lr, betas = 0.002, (0.5, 0.99)
    steps = interval + 1 if interval > 1 else 1
    lazy, lazy_state = run(*lazy_adam(lr, betas, interval), steps)
    plain, plain_state = run(lr, betas, interval)
    torch.testing.assert_close(lazy, plain, rtol=1e-6, atol=0)
    for moment in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(lazy_state[moment], plain_state[moment], rtol=1e-9, atol=0)


def test_lazy_adam_numbers():
    # StyleGAN2's own (Karras et al., 2020, appendix B): 0.0025 and 0.99 with k = 16 for D.
    lr, betas = lazy_adam(0.0025, (0.0, 0.99), 16)
    assert lr == pytest.approx(0.00235294, rel=1e-5)
    assert betas == (0.0, pytest.approx(0.990586, rel=1e-6))
    assert lazy_adam(0.1, (0.5, 0.9), 1) == (0.1, (0.5, 0.9))
    with pytest.raises(ValueError, match="interval"):
        lazy_adam(0.1, (0.5, 0.9), 0)
    assert [n for n in range(10) if is_regularised(n, 4)] == [0, 4, 8]


def test_weight_clipping_bounds_every_parameter_and_no_buffer():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    with torch.no_grad():
        network[0].weight.copy_(images(0, (3, 4)))
        network[2].weight.fill_(0.005)
        network[1].running_var.fill_(7.0)
    reference = {name: p.detach().clone() for name, p in network.named_parameters()}
    clip_weights(network, 0.01)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, reference[name].clamp(-0.01, 0.01))
        assert parameter.requires_grad
    assert (network[1].weight == 0.01).all()
    assert (network[1].running_var == 7.0).all()
    for bound in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="bound"):
            clip_weights(network, bound)


def test_feature_matching_is_the_distance_of_means():
    real, fake = images(1, (8, 5)).requires_grad_(), images(2, (4, 5)).requires_grad_()
    distance = np.abs(fake.detach().numpy().mean(0) - real.detach().numpy().mean(0))
    assert float(feature_matching(real, fake)) == pytest.approx(distance.mean())
    total = feature_matching(real, fake, "sum")
    assert float(total) == pytest.approx(distance.sum())
    total.backward()
    assert real.grad is None
    torch.testing.assert_close(fake.grad.abs(), torch.full((4, 5), 0.25, dtype=torch.float64))
    half = feature_matching(real.bfloat16(), fake.bfloat16())
    assert half.dtype == torch.float32
    with pytest.raises(ValueError, match="reduction"):
        feature_matching(real, fake, "max")
    with pytest.raises(ValueError, match="shape"):
        feature_matching(real, fake[:, :4])
    with pytest.raises(ValueError, match="at least one"):
        feature_matching(real, fake[:0])


def test_consistency_adds_the_mean_squares_of_what_discriminators_return():
    a, b = images(1, (6, 1)), images(2, (6, 1))
    c, d = images(3, (6, 4)), images(4, (6, 4))
    adversarial = float(((a - b) ** 2).mean())
    classes = float(((c - d) ** 2).mean())
    assert float(consistency(a, b)) == pytest.approx(adversarial)
    assert float(consistency((a, c), (b, d))) == pytest.approx(adversarial)
    first = {"adv_output": a, "cls_output": c, "embed": None, "h": c}
    second = {"adv_output": b, "cls_output": d, "embed": None, "h": d}
    assert float(consistency(first, second)) == pytest.approx(adversarial + classes)
    assert float(consistency({"adv_output": a}, {"adv_output": a})) == 0.0
    assert float(consistency(a[:0], b[:0])) == 0.0
    assert consistency(a.half(), b.half()).dtype == torch.float32
    x = a.clone().requires_grad_()
    other = b.clone().requires_grad_()
    consistency(x, other).backward()
    torch.testing.assert_close(x.grad, 2 * (a - b) / 6)
    torch.testing.assert_close(other.grad, -x.grad)
    with pytest.raises(ValueError, match="same shape"):
        consistency(a, b[:3])
    for out, other_out in (({}, {}), (first, {"adv_output": b}), (None, None)):
        with pytest.raises(ValueError, match="same parts"):
            consistency(out, other_out)


def test_latent_consistency_pushes_neighbours_apart_in_the_image():
    a, b = images(1), images(2)
    assert float(latent_diversity(a, b)) == pytest.approx(-float(((a - b) ** 2).mean()))
    z = images(0, (4000, 3), torch.float32)
    gaussian = (neighbouring_latent(z, 0.05, generator=seeded()) - z) / 0.05
    assert float(gaussian.std()) == pytest.approx(1.0, abs=0.04)
    assert float(gaussian.abs().max()) > 2.5
    uniform = (neighbouring_latent(z, 0.05, "uniform", seeded()) - z) / 0.05
    assert float(uniform.std()) == pytest.approx(1 / math.sqrt(3), abs=0.02)
    assert float(uniform.abs().max()) <= 1.0001
    assert neighbouring_latent(z.half(), 0.05, generator=seeded()).dtype == torch.float16
    with pytest.raises(ValueError, match="z_prior"):
        neighbouring_latent(z, 0.05, "laplace")


def test_flip_and_shift_is_a_flip_and_a_reflected_move_of_each_image():
    x = images(1, (200, 2, 16, 8), torch.float32)
    rng = seeded(3)
    flips = torch.randint(0, 2, (200, 1, 1), generator=rng).flatten().tolist()
    downs = torch.randint(-2, 3, (200, 1, 1), generator=rng).flatten().tolist()
    rights = torch.randint(-1, 2, (200, 1, 1), generator=rng).flatten().tolist()
    moved = flip_and_shift(x, seeded(3))
    assert moved.shape == x.shape
    for number in range(200):
        image = np.flip(x[number].numpy(), 2) if flips[number] else x[number].numpy()
        padded = np.pad(image, ((0, 0), (2, 2), (1, 1)), mode="reflect")
        top, left = 2 + downs[number], 1 + rights[number]
        expected = padded[:, top : top + 16, left : left + 8]
        np.testing.assert_array_equal(moved[number], expected)
    assert 70 < sum(flips) < 130
    assert set(downs) == {-2, -1, 0, 1, 2}
    leaf = x[:3].clone().requires_grad_()
    flip_and_shift(leaf, seeded(0)).sum().backward()
    assert float(leaf.grad.sum()) == 3 * 2 * 16 * 8
    small = x[:, :, :4, :4]  # too small to move
    still = flip_and_shift(small, seeded(0))
    assert ((still == small) | (still == small.flip(3))).flatten(1).all()
    assert flip_and_shift(x[:0], seeded(0)).shape == (0, 2, 16, 8)
    with pytest.raises(ValueError, match="images"):
        flip_and_shift(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="shift"):
        flip_and_shift(x, shift=1.0)


def test_lecam_penalises_logits_beyond_the_other_sides_average():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -4.0])
    averages = torch.tensor(1.0), torch.tensor(-0.5)
    expected = (2.5**2 + 0.0) / 2 + (0.5**2 + 5.0**2) / 2
    assert float(lecam_penalty(real, fake, *averages)) == pytest.approx(expected)
    assert lecam_penalty(real.half(), fake.half(), *averages).dtype == torch.float32


def test_lecam_averages_follow_the_means_from_the_first_one_on():
    averages = LogitAverages(decay=0.9, start=3)
    rng = np.random.default_rng(0)
    real = fake = float("nan")
    for step in range(8):
        a, b = rng.normal(size=2)
        averages.update(torch.tensor(a), torch.tensor(b), step)
        decay = 0.0 if step < 3 else 0.9
        real = a if step < 3 else decay * real + (1 - decay) * a
        fake = b if step < 3 else decay * fake + (1 - decay) * b
        assert float(averages.real) == pytest.approx(real, rel=1e-5)
        assert float(averages.fake) == pytest.approx(fake, rel=1e-5)
        logits = torch.tensor([1.0, 3.0], requires_grad=True)
        penalty = averages.penalty(logits, -logits, step)
        if step <= 3:
            assert float(penalty) == 0.0
        else:
            expected = lecam_penalty(logits, -logits, averages.real, averages.fake)
            assert float(penalty) == float(expected) > 0.0
            penalty.backward()
            assert (logits.grad != 0).any()
    immediate = LogitAverages(decay=0.9, start=0)
    immediate.update(torch.tensor(5.0), torch.tensor(-5.0), 0)
    assert (float(immediate.real), float(immediate.fake)) == (5.0, -5.0)
    copy = LogitAverages()
    copy.load_state_dict(averages.state_dict())
    assert float(copy.real) == float(averages.real)
    with pytest.raises(ValueError, match="decay"):
        LogitAverages(decay=1.0)


@pytest.mark.parametrize("layers", [None, 3])
def test_path_length_of_a_linear_generator(layers):
    """For images = A w the transposed Jacobian is Aᵀ, whatever w is."""
    shape = (5, 4) if layers is None else (5, layers, 4)
    w = images(1, shape).requires_grad_()
    A = images(2, (2 * 4 * 4, math.prod(shape[1:]))).requires_grad_()
    made = (w.flatten(1) @ A.T).reshape(5, 2, 4, 4)
    y = torch.randn(5, 2, 4, 4, generator=seeded(7)).double() / math.sqrt(16)
    squared = (y.flatten(1) @ A.detach()).square().sum(1)
    lengths = (squared / (layers or 1)).sqrt()
    mean = 0.99 * 2.0 + 0.01 * lengths.mean()
    penalty, running = path_length_penalty(made, w, torch.tensor(2.0), generator=seeded(7))
    assert float(penalty) == pytest.approx(float((lengths - mean).square().mean()))
    assert float(running) == pytest.approx(float(mean))
    assert not running.requires_grad
    penalty.backward()
    assert torch.isfinite(A.grad).all()
    assert (A.grad != 0).any()


def test_the_running_mean_of_the_path_length_settles_at_the_length():
    # images = 3 w with orthogonal columns: every length is near 3 / sqrt(pixels) · sqrt(w_dim).
    w = images(1, (16, 12), torch.float32).requires_grad_()
    mean, rng = torch.zeros(()), seeded()
    values = []
    for _ in range(600):
        made = (3.0 * w).reshape(16, 3, 2, 2)
        penalty, mean = path_length_penalty(made, w, mean, generator=rng)
        values.append(float(penalty.detach()))
    # The expected norm of a standard normal vector of 12 elements, by the gamma function.
    norm = math.sqrt(2) * math.gamma(6.5) / math.gamma(6.0)
    assert float(mean) == pytest.approx(3 / 2 * norm, rel=0.03)
    assert np.mean(values[-100:]) < 0.2 * values[0]


def test_path_length_in_half_precision_for_a_flat_generator_and_its_mistakes():
    w = images(1, (2, 3), torch.float32).requires_grad_()
    flat = nn.Parameter(torch.zeros(12, 3))
    made = (w @ flat.T).reshape(2, 3, 2, 2)
    penalty, mean = path_length_penalty(made, w, torch.zeros(()), generator=seeded())
    penalty.backward()
    assert float(penalty) == float(mean) == 0.0
    assert torch.isfinite(flat.grad).all()
    made = (w @ torch.ones(3, 12)).reshape(2, 3, 2, 2)
    exact, _ = path_length_penalty(made, w, torch.zeros(()), generator=seeded())
    half, mean = path_length_penalty(made.half(), w, torch.zeros(()), generator=seeded())
    assert half.dtype == mean.dtype == torch.float32
    assert float(half) == pytest.approx(float(exact), rel=1e-2)
    before = torch.get_rng_state()
    path_length_penalty(made, w, torch.zeros(()), generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    for wrong in (w[:1], w[None, None]):
        with pytest.raises(ValueError, match="w_dim"):
            path_length_penalty(made, wrong, torch.zeros(()))
    with pytest.raises(ValueError, match="w_dim"):
        path_length_penalty(made[:0], w[:0], torch.zeros(()))
