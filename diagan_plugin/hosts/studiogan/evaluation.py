"""Post-processors where StudioGAN generates samples to evaluate, to save or to show.

They act after training: the best checkpoint is chosen by what StudioGAN measures during training,
and that stays what it was. Grids of samples ordered by class stay plain, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from diagan_plugin.hosts.studiogan.networks import GeneratorView
from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import SampleSource, labelled_batches

_AT_ONCE = 1 << 40


class Evaluation:
    """Draws StudioGAN's samples from a post-processor.

    Args:
        run: The run, trained or opened from a checkpoint.
    """

    def __init__(self, run: StudioRun) -> None:
        self.run = run
        self._of: tuple[Any, ...] | None = None
        self._source: SampleSource | None = None
        self._samples: Iterator[tuple[Tensor, Tensor | None]] = iter(())
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def applies(self, keywords: dict[str, Any]) -> bool:
        """Whether a call of `generate_images` is for independent samples to be evaluated."""
        label = keywords["y_sampler"]
        return not keywords["is_train"] and (label == "totally_random" or isinstance(label, int))

    def generate_images(self, peel: Callable[[Any], Any], keywords: dict[str, Any]) -> Any:
        """Returns what StudioGAN's `generate_images` does, from the post-processor.

        Args:
            peel: `utils.misc.peel_model`: a network without its wrapper for several devices, which
                may communicate, while processes need different numbers of proposals.
            keywords: Those of the call.

        Returns:
            `(images, labels, None, None, None, None, None)`.
        """
        label, truncation = keywords["y_sampler"], float(keywords["truncation_factor"])
        setting = (keywords["generator"], label, truncation)
        # The generator is kept, so that another one cannot be taken for it by its address.
        if self._of is None or any(
            a is not b and a != b for a, b in zip(self._of, setting, strict=True)
        ):
            self._of = setting
            self._open(peel, keywords, None if label == "totally_random" else label, truncation)
        images, labels = self._take(int(keywords["batch_size"]))
        return images, labels, None, None, None, None, None

    def statistics(self) -> dict[str, float]:
        """Returns what the latest post-processor reports of itself."""
        return {} if self._source is None else self._source.statistics()

    def _open(
        self, peel: Callable[[Any], Any], keywords: dict[str, Any], label: int | None, psi: float
    ) -> None:
        run = self.run
        is_stylegan = bool(keywords["is_stylegan"])
        parts = None
        if is_stylegan:
            parts = peel(keywords["generator_mapping"]), peel(keywords["generator_synthesis"])
        generator = GeneratorView(
            peel(keywords["generator"]),
            run.backbone.num_classes,
            run.backbone.stylegan_generate,
            parts=parts,
            truncation=(psi, keywords["RUN"].truncation_cutoff),
            own_mode=False,
        )
        generator.training = False
        view = run.evaluation_view(generator, label, -1.0 if is_stylegan else psi)
        name = run.config.RUN.samples
        self._source = run.plugins.catalogs.postprocessors[name](view, run.rank)
        self._samples = labelled_batches(self._source, _AT_ONCE)
        self._waiting = []

    def _take(self, count: int) -> tuple[Tensor, Tensor]:
        run = self.run
        have = sum(len(x) for x, _ in self._waiting)
        while have < count:
            with torch.no_grad():
                x, y = next(self._samples)
            if y is None:
                y = self._labels(len(x))
            self._waiting.append((x, y))
            have += len(x)
        x = torch.cat([x for x, _ in self._waiting])
        y = torch.cat([y for _, y in self._waiting]).to(run.device)
        self._waiting = [(x[count:], y[count:])]
        return x[:count], y[:count]

    def _labels(self, n: int) -> Tensor:
        """Stands in for a source that tells no labels, where that does not matter."""
        run = self.run
        if run.config.MODEL.g_cond_mtd not in ("W/O", "N/A", None):
            raise UserError(
                f"The post-processor {run.config.RUN.samples!r} tells no class labels, which a "
                "conditional generator needs."
            )
        return torch.zeros(n, dtype=torch.int64, device=run.device)
