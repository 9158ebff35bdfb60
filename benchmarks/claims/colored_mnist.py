"""Claim 4 on Colored MNIST, and at the paper's size, with its table 5."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.claims import minority_quality as on_digits
from benchmarks.claims.declared import PLAIN, Row, Scale, Settings

_SMALL = {"FOLDER": "mnist", **on_digits.METRICS}
_FULL = {
    "RUN.eval_metrics": ["fid", "partial_recall", "partial_fid", "reconstruction_error_published"]
}
FULL: dict[str, Settings] = {
    f"{title}, {level} %": {"CONFIG": f"{config}_{level}", "FOLDER": folder, **_FULL}
    for title, config, folder in (
        ("Colored MNIST", "colored_mnist", "mnist"),
        ("MNIST-FMNIST", "mnist_fmnist", "mnist_fmnist"),
    )
    for level in (99, 95, 90)
}

_TABLE_5 = {
    "vanilla": (0.838, 0.236, 0.218, 0.290, 0.227, 0.215),
    "GOLD": (0.813, 0.297, 0.200, 0.296, 0.241, 0.218),
    "top-k": (0.831, 0.210, 0.223, 0.281, 0.232, 0.221),
    "PacGAN": (0.810, 0.244, 0.233, 0.313, 0.251, 0.225),
    "Inclusive GAN": (0.812, 0.274, 0.216, 0.283, 0.230, 0.220),
    "paper": (0.224, 0.204, 0.197, 0.264, 0.219, 0.206),
}
PUBLISHED: dict[tuple[str, str, str], Row] = {
    (case, method, "drs" if method == "paper" else PLAIN): {"minor_error": error}
    for method, errors in _TABLE_5.items()
    for case, error in zip(FULL, errors, strict=True)
}

CLAIM = replace(
    on_digits.CLAIM,
    name="colored_mnist",
    title="On Colored MNIST, too, Dia makes the minority best of all methods",
    source="Lee et al. 2021, table 5",
    explained=(
        "At small scale nothing can be concluded: 4,000 steps of narrow networks make bad digits "
        "whatever is done (recall 0.23, FID 51 to 384 from seed to seed without Dia), and green "
        "ones from the start: 3.4 % of what is made for 5 % of the data, so that there is little "
        "for Dia to bring back. It brings nothing back: `feedback` wins 0 of 4 pairs."
    ),
    scales={
        "small": Scale(
            "colored_mnist_small",
            {f"{level} %": {**_SMALL, "DATA.options.ratio": level / 100} for level in (95, 99, 90)},
            on_digits.METHODS,
            4,
            280,
        ),
        "full": Scale("colored_mnist_95", FULL, on_digits.METHODS, 1, 40_000, PUBLISHED),
    },
)
