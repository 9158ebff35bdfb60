from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.autoencoder import (
    PUBLISHED,
    AutoencoderSettings,
    ConvolutionalAutoencoder,
    PointAutoencoder,
    train_autoencoder,
)
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.fitting import minibatches
from gan_registry.metrics.reconstruction import (
    PublishedReconstructionError,
    ReconstructionError,
    mean_by_group,
    reconstruction_errors,
)
from gan_registry.metrics.reservoir import Reservoir

SMALL = AutoencoderSettings(width=8, code=16, steps=150)
RED, GREEN = 0, 1


def squares(n: int, colour: int, seed: int, size: int = 8) -> Tensor:
    """Squares at random places in one colour, [n, 3, size, size] in [-1, 1]."""
    rng = np.random.default_rng(seed)
    images = -np.ones((n, 3, size, size), np.float32)
    for image in images:
        top, left = rng.integers(0, size // 2 + 1, 2)
        image[colour, top : top + size // 2, left : left + size // 2] = 1.0
    return torch.from_numpy(images)


def ring(n: int, modes: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Points of 8 modes on a circle, [n, 2], and their modes."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.tensor(modes)[torch.randint(len(modes), (n,), generator=generator)]
    angle = which * (2 * math.pi / 8)
    centres = 2.0 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centres + 0.05 * torch.randn(n, 2, generator=generator), which


# ------------------------------------------------------------------ reservoir


def test_a_stream_that_fits_is_kept_whole_and_in_order():
    kept = Reservoir(0, max_samples=10)
    values = torch.arange(10.0).reshape(10, 1)
    kept.add(values[:3])
    kept.add(values[3:3])
    kept.add(values[3:])
    assert torch.equal(kept.get("samples"), values)
    assert (len(kept), kept.seen, kept.bad) == (10, 10, 0)


@pytest.mark.parametrize("size", [1, 7, 13, 59])
def test_what_is_kept_does_not_depend_on_the_batches(size):
    values = torch.arange(60.0).reshape(60, 1)
    whole, cut = Reservoir(4, max_samples=9), Reservoir(4, max_samples=9)
    whole.add(values)
    for part in values.split(size):
        cut.add(part)
    assert torch.equal(whole.get("samples"), cut.get("samples"))
    assert len(set(cut.get("samples").flatten().tolist())) == 9


def test_every_position_of_a_stream_is_kept_equally_often():
    counts, runs = torch.zeros(40), 3000
    for seed in range(runs):
        kept = Reservoir(seed, max_samples=10)
        kept.add(torch.arange(40).reshape(40, 1))
        counts[kept.get("samples").flatten()] += 1
    # Binomial with p = 1/4; 4.5 standard deviations for 40 positions.
    assert (counts / runs - 0.25).abs().max() < 4.5 * math.sqrt(0.25 * 0.75 / runs)


def test_a_reservoir_stays_within_its_memory():
    kept = Reservoir(0, max_bytes=5 * 3 * 4 * 4 * 4)
    for _ in range(3):
        kept.add(torch.zeros(4, 3, 4, 4, dtype=torch.float16))
    assert kept.get("samples").shape == (5, 3, 4, 4)
    assert kept.get("samples").dtype == torch.float32
    one = Reservoir(0, max_bytes=1)
    one.add(torch.zeros(4, 100))
    assert len(one) == 1


def test_fields_stay_together_and_bad_samples_are_counted_also_when_not_kept():
    kept = Reservoir(1, max_samples=5, fields=("samples", "groups"))
    x = torch.arange(50.0).reshape(50, 1)
    kept.add(x, torch.arange(50))
    kept.add(torch.tensor([[math.nan], [1.0], [math.inf]]), torch.tensor([7, 1, 8]))
    assert kept.bad == 2
    samples, groups = kept.get("samples").flatten(), kept.get("groups")
    assert groups.dtype == torch.int64
    assert torch.equal(samples[torch.isfinite(samples)].long(), groups[torch.isfinite(samples)])
    with pytest.raises(ValueError, match="equal length"):
        kept.add(x, torch.arange(3))
    with pytest.raises(ValueError, match="of shape"):
        kept.add(torch.zeros(3, 2), torch.arange(3))
    kept.clear()
    assert (len(kept), kept.bad) == (0, 0)


def test_a_reservoir_filled_in_inference_mode_can_be_filled_further():
    kept = Reservoir(0, max_samples=2)
    with torch.inference_mode():
        kept.add(torch.zeros(3, 1) + 1)
    kept.add(torch.ones(3, 1))
    assert torch.equal(kept.get("samples"), torch.ones(2, 1))


# ------------------------------------------------------------------ networks


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 28, 28), (3, 64, 64), (3, 8, 8), (2, 9, 13), (1, 4, 4), (3, 3, 17)]
)
def test_images_of_any_size_are_reconstructed_in_their_shape(shape):
    x = torch.zeros(2, *shape)
    out = ConvolutionalAutoencoder(shape, width=4, code=8)(x)
    assert out.shape == x.shape
    assert out.abs().max() <= 1


def test_at_32_and_64_px_the_network_has_the_published_layers():
    def channels(size):
        network = ConvolutionalAutoencoder((3, size, size), PUBLISHED.width, PUBLISHED.code)
        linear = [m for m in network.encoder if isinstance(m, torch.nn.Linear)]
        convs = [m.out_channels for m in network.encoder if isinstance(m, torch.nn.Conv2d)]
        back = [m.out_channels for m in network.decoder if hasattr(m, "output_padding")]
        return convs, linear[0].in_features, linear[0].out_features, back

    assert channels(32) == ([64, 128, 256], 256 * 4 * 4, 256, [128, 64, 3])
    assert channels(64) == ([64, 128, 256, 512], 512 * 4 * 4, 256, [256, 128, 64, 3])
    assert PUBLISHED.steps == 50 * math.ceil(50_000 / PUBLISHED.batch_size)
    assert PublishedReconstructionError.settings == PUBLISHED


@pytest.mark.parametrize("features", [1, 2, 100])
def test_points_go_through_a_narrower_code(features):
    network = PointAutoencoder(features)
    assert network(torch.zeros(3, features)).shape == (3, features)
    assert network.layers[0][-1].out_features == {1: 1, 2: 1, 100: 32}[features]


def test_a_pass_of_batches_holds_no_index_twice():
    generator = torch.Generator().manual_seed(0)
    rows = list(minibatches(10, 4, 5, generator))
    assert [len(r) for r in rows] == [4] * 5
    for i in (0, 2):
        assert len(set(torch.cat(rows[i : i + 2]).tolist())) == 8
    assert [len(r) for r in minibatches(3, 4, 2, generator)] == [3, 3]


# ------------------------------------------------------------------ reconstruction error


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_colour_that_is_not_generated_has_a_larger_error(seed):
    red, green = squares(200, RED, 10 + seed), squares(200, GREEN, 20 + seed)
    only_red = squares(600, RED, seed)
    both = torch.cat([only_red[:300], squares(300, GREEN, 50 + seed)])

    def errors(fake):
        real = torch.cat([red, green])
        options = {"value_range": (-1.0, 1.0), "seed": seed, "settings": SMALL}
        return mean_by_group(
            reconstruction_errors(real, fake, **options),
            torch.tensor([RED] * len(red) + [GREEN] * len(green)),
        )

    without, with_green = errors(only_red), errors(both)
    missed = without[GREEN]
    assert missed > 2 * without[RED]
    assert missed > 2 * with_green[GREEN]
    # Its ink at least is missing: the network never saw a green pixel.
    ink = (green[:, GREEN] + 1).flatten(1).norm(dim=1).mean() / 8
    assert missed > 0.9 * ink


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_mode_that_is_not_generated_has_a_larger_error(seed):
    real, modes = ring(800, list(range(8)), 100 + seed)
    fake, _ = ring(1000, [0, 1, 2, 3, 4, 5, 6], seed)
    settings = AutoencoderSettings(steps=400)
    errors = mean_by_group(reconstruction_errors(real, fake, seed=seed, settings=settings), modes)
    assert errors[7] > 2 * max(errors[mode] for mode in range(7))


def test_of_a_collapsed_generator_it_is_the_distance_to_its_only_image():
    image = squares(1, RED, 0)
    real = squares(50, GREEN, 1)
    settings = AutoencoderSettings(width=8, code=8, steps=150)
    errors = reconstruction_errors(real, image.expand(100, -1, -1, -1), settings=settings)
    expected = (real - image).flatten(1).double().norm(dim=1) / 8  # √(H·W) = 8
    torch.testing.assert_close(errors, expected, rtol=0.25, atol=0.02)


def test_points_keep_their_units_and_a_shift_changes_nothing():
    fake, real = ring(200, [0, 1, 2], 0)[0], ring(50, [5], 1)[0]
    settings = AutoencoderSettings(steps=20)
    errors = reconstruction_errors(real, fake, settings=settings)
    far = reconstruction_errors(4 * real + 3, 4 * fake + 3, settings=settings)
    torch.testing.assert_close(far, 4 * errors, rtol=1e-3, atol=1e-4)


def test_the_value_range_of_images_is_taken_into_account():
    fake, real = squares(100, RED, 0), squares(20, GREEN, 1)
    settings = AutoencoderSettings(width=4, code=8, steps=10)
    errors = reconstruction_errors(real, fake, value_range=(-1, 1), settings=settings)
    halved = reconstruction_errors(
        (real + 1) / 2, (fake + 1) / 2, value_range=(0, 1), settings=settings
    )
    torch.testing.assert_close(halved, errors / 2, rtol=1e-3, atol=1e-4)
    guessed = reconstruction_errors(real, fake, settings=settings)  # -1 and 1 both occur
    torch.testing.assert_close(guessed, errors, rtol=0, atol=0)


def test_equal_seeds_agree_exactly_others_closely_and_global_randomness_is_left_alone():
    fake, real = squares(300, RED, 0), squares(100, RED, 1)
    before = torch.random.get_rng_state()

    def errors(seed):
        settings = AutoencoderSettings(width=8, code=16, steps=60)
        return reconstruction_errors(real, fake, seed=seed, settings=settings)

    first = errors(3)
    torch.rand(5)  # must not matter
    torch.random.set_rng_state(before)
    assert torch.equal(first, errors(3))
    assert torch.equal(before, torch.random.get_rng_state())
    others = [float(errors(seed).mean()) for seed in (4, 5)]
    assert not any(math.isclose(float(first.mean()), other) for other in others)
    assert all(other == pytest.approx(float(first.mean()), rel=0.35) for other in others)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_learns_in_any_mode_and_from_any_floating_type(mode, dtype):
    settings = AutoencoderSettings(width=4, code=8, steps=5)
    expected = reconstruction_errors(squares(3, GREEN, 1), squares(64, RED, 0), settings=settings)
    with mode():
        fake = squares(64, RED, 0).to(dtype) * 1  # an inference tensor there
        errors = reconstruction_errors(squares(3, GREEN, 1).to(dtype), fake, settings=settings)
    assert errors.dtype == torch.float64
    torch.testing.assert_close(errors, expected)


def test_too_few_or_bad_samples_are_refused_with_numbers():
    real, fake = squares(5, RED, 0), squares(64, RED, 1)
    with pytest.raises(UserError, match="at least 64 generated samples, but got 63"):
        reconstruction_errors(real, fake[:63])
    with pytest.raises(UserError, match="at least 1 real samples, but got 0"):
        reconstruction_errors(real[:0], fake)
    bad = fake.clone()
    bad[3, 0, 0, 0], bad[7, 0] = math.nan, math.inf
    with pytest.raises(UserError, match="NaN or infinity in 2 of 64 generated"):
        reconstruction_errors(real, bad)
    with pytest.raises(ValueError, match="equal sample shape"):
        reconstruction_errors(real, fake[:, :1])
    with pytest.raises(ValueError, match="at least 2"):
        train_autoencoder(fake[:1])


def test_means_by_group():
    values, groups = torch.tensor([1.0, 2.0, 4.0, 9.0]), torch.tensor([2, 0, 2, -1])
    assert mean_by_group(values, groups) == {0: 2.0, 2: 2.5}
    assert mean_by_group(values, torch.full((4,), -1)) == {}


# ------------------------------------------------------------------ streaming


class BriefError(ReconstructionError):
    settings = AutoencoderSettings(width=4, code=8, steps=12)


def context(**changes) -> MetricContext:
    values = {
        "sample_shape": (3, 8, 8),
        "value_range": (-1.0, 1.0),
        "group_names": ("red", "green", "blue"),
        "seed": 5,
    }
    return MetricContext(**{**values, **changes})


@pytest.mark.parametrize("size", [1000, 17])
def test_the_streaming_form_agrees_with_the_function(size):
    real = torch.cat([squares(30, RED, 0), squares(10, GREEN, 1)])
    groups = torch.tensor([RED] * 30 + [GREEN] * 9 + [-1])
    fake = squares(80, RED, 2)
    seen: list[tuple[str, int, int]] = []
    metric = BriefError(context(progress=lambda *args: seen.append(args)))
    for x, g in zip(real.split(size), groups.split(size), strict=True):
        metric.update_real(Batch(samples=x, groups=g))
    metric.update_fake(Batch(samples=squares(70, GREEN, 9)))
    metric.reset_fake()
    for x in fake.split(size):
        metric.update_fake(Batch(samples=x))
    errors = reconstruction_errors(
        real, fake, value_range=(-1, 1), seed=5, settings=BriefError.settings
    )
    result = metric.compute()
    assert result["reconstruction_error"] == pytest.approx(float(errors.mean()), rel=1e-6)
    assert result["groups"].keys() == {"red", "green"}
    green = result["groups"]["green"]["reconstruction_error"]
    assert green == pytest.approx(float(errors[30:39].mean()), rel=1e-6)
    assert seen[-1][1:] == (12, 12)
    assert result.keys() - {"groups"} <= BriefError.directions.keys()


def test_without_groups_there_are_none_in_the_result_and_messages_count_the_stream():
    metric = BriefError(context())
    metric.update_real(Batch(samples=squares(5, RED, 0)))
    with pytest.raises(UserError, match="at least 64 generated samples, but got 0"):
        metric.compute()
    fake = squares(70, RED, 1)
    metric.update_fake(Batch(samples=fake))
    assert "groups" not in metric.compute()
    fake[0, 0, 0, 0] = math.nan
    metric.update_fake(Batch(samples=fake))
    with pytest.raises(UserError, match="1 of 140 generated"):
        metric.compute()
