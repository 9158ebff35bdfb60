"""Sample grids: the same latents drawn again and again, so that progress can be seen."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gan_registry.files import atomic_write
from gan_registry.images import grid_png
from gan_registry.training.run import Run

GRID_SAMPLES = 64
POINT_SAMPLES = 2000


class SampleGrids:
    """Writes `samples/step-N.png` now and then; of points of one number there is none.

    Args:
        run: The run; its folder, seed and dataset decide where, what and how.
    """

    def __init__(self, run: Run) -> None:
        self.interval = run.config.RUN.sample_freq or max(run.total_steps // 10, 1)
        self._can_draw = run.dataset.kind == "image" or run.dataset.sample_shape[0] > 1

    def due(self, step: int, last: bool) -> bool:
        """Whether a grid belongs to this step."""
        return self._can_draw and (last or step % self.interval == 0)

    @torch.no_grad()
    def draw(self, run: Run) -> Path:
        """Draws the grid of the present step, and returns where it lies."""
        assert run.folder is not None
        count = GRID_SAMPLES if run.dataset.kind == "image" else POINT_SAMPLES
        z = run.latents(count, "grid")
        samples = generate_batches(run.sampling_generator, z, run.labels(count, "grid"))
        if run.dataset.kind == "image":
            picture = grid_png(samples.cpu(), value_range=run.dataset.value_range)
        else:
            picture = grid_png(density_image(samples.cpu())[None], value_range=(0.0, 1.0))
        path = run.folder / "samples" / f"step-{run.step:08d}.png"
        with atomic_write(path) as temporary:
            temporary.write_bytes(picture)
        return path


_SIDE = 256  # pixels of a picture of points


def density_image(points: Tensor) -> Tensor:
    """Draws points in the plane as a picture of their density.

    It shows three times the middle 90 % of their radii, so that it neither cuts off the data nor
    shrinks with one stray point.

    Args:
        points: [n, D], of any finite or infinite value; the first two numbers are drawn.

    Returns:
        [1, 256, 256] in [0, 1]: white is empty, black is dense; y points up.
    """
    points = points[torch.isfinite(points).all(1)].double()
    if len(points) == 0:
        return torch.ones(1, _SIDE, _SIDE)
    radius = points.norm(dim=1).quantile(0.9).clamp(min=1e-6) * 3.0 / 2
    pixels = ((points / radius + 1) / 2 * _SIDE).floor().long()
    pixels = pixels[((pixels >= 0) & (pixels < _SIDE)).all(1)]
    flat = (_SIDE - 1 - pixels[:, 1]) * _SIDE + pixels[:, 0]
    counts = torch.bincount(flat, minlength=_SIDE**2).view(1, _SIDE, _SIDE).float()
    return 1.0 - torch.log1p(counts) / torch.log1p(counts.max()).clamp(min=1e-6)


BATCH = 500
"""Samples generated at once: large enough to be fast, small enough for any memory."""


@torch.no_grad()
def generate_batches(generator: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
    """Generates from given latents in eval mode; each module's mode is as before afterwards.

    Args:
        generator: The network.
        z: Latents [n, z_dim].
        y: Class labels [n] for a conditional network, or None.

    Returns:
        Samples [n, ...] on the device of `z`.
    """
    modes = [(module, module.training) for module in generator.modules()]
    generator.eval()
    try:
        return torch.cat(
            [
                generator(z[start : start + BATCH], None if y is None else y[start : start + BATCH])
                for start in range(0, len(z), BATCH)
            ]
        )
    finally:
        for module, training in modes:  # parts of a network may be frozen for good
            module.training = training
