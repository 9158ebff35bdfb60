"""Everything in `diagan_plugin.__all__`, with one argument that is not what it should be.

Tensors without data (meta), sparse ones, of other types and shapes, and things that are no tensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

import diagan_plugin as dp
from gan_registry.losses.logistic import Logistic
from tests.fuzz.harness import Target, is_refused

N, F = 6, 3


def _x(*shape: int) -> torch.Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class Call:
    """A public function or method and right arguments.

    Attributes:
        call: What is called, by keywords.
        right: Makes right arguments.
        words: Argument → what a message may call it instead of its name.
    """

    call: Callable[..., Any]
    right: Callable[[], dict[str, Any]]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _tracker() -> Any:
    tracker = dp.LDRTracker(N, 2)
    tracker.record_all(_x(N))
    return tracker


def _discriminator() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


def _auxiliary() -> Any:
    network = _discriminator()
    return dp.AuxiliaryDiscriminator(
        network, torch.optim.Adam(network.parameters()), Logistic(lambda out: out.squeeze(1)), N,
        seed=0,
    )  # fmt: skip


def _laplace() -> Any:
    estimate = dp.LaplaceLDRV(F)
    estimate.update(_x(N, F), _x(N))
    return estimate


def _propose(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return _x(n), _x(n)


def _taken(sampler: Any, **arguments: Any) -> list[Any]:
    return list(sampler.sample(**arguments))


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _from(make: Any) -> Any:
    """Makes a sampler and takes some samples from it."""
    return lambda **arguments: list(make(**arguments).sample(3))


def _saved(content: Any) -> Path:
    return Path(tempfile.gettempdir()) / f"no such {content}"


_FEW = {"burn_in": 8, "batch_size": 4}
_LOGITS = torch.tensor([0.3, -2.0, 1.0])

CALLS: dict[str, Call] = {
    "LDRTracker": Call(dp.LDRTracker, lambda: {"num_samples": N, "window": 3}),
    "LDRTracker.record": Call(
        lambda **a: _tracker().record(**a),
        lambda: {"indices": torch.tensor([0, 1]), "values": _x(2)},
        {"indices": ("values",)},
    ),
    "LDRTracker.record_all": Call(
        lambda **a: _tracker().record_all(**a), lambda: {"values": _x(N)}
    ),
    "LDRTracker.merge": Call(lambda **a: _tracker().merge(**a), lambda: {"other": _tracker()}),
    "LDRTracker.load_state_dict": Call(
        lambda state: _tracker().load_state_dict(state), lambda: {"state": _tracker().state_dict()}
    ),
    "DiaSampler": Call(
        dp.DiaSampler, lambda: {"num_samples": N, "seed": 0, "method": "iid", "rank": 0,
                                "world_size": 2, "shard": "self"},
    ),
    "DiaSampler.draw": Call(
        lambda **a: dp.DiaSampler(N).draw(**a), lambda: {"start": 0, "stop": 9}
    ),
    "DiaSampler.set_weights": Call(
        lambda **a: dp.DiaSampler(N).set_weights(**a), lambda: {"weights": _x(N) + 2, "start": 4}
    ),
    "DiaSampler.set_epoch": Call(lambda **a: dp.DiaSampler(N).set_epoch(**a), lambda: {"epoch": 2}),
    "DiaSampler.load_state_dict": Call(
        lambda state: dp.DiaSampler(N).load_state_dict(state),
        lambda: {"state": dp.DiaSampler(N).state_dict()},
    ),
    "DiaBatchSampler": Call(
        lambda **a: list(dp.DiaBatchSampler(**a)),
        lambda: {"sampler": dp.DiaSampler(N), "batch_size": 2},
    ),
    "discrepancy_score": Call(
        dp.discrepancy_score, lambda: {"mean": _x(N), "variance": _x(N) + 2, "k": 1.0}
    ),
    "sampling_probabilities": Call(
        dp.sampling_probabilities, lambda: {"score": _x(N), "min_clip": 0.01, "max_ratio": 50.0}
    ),
    "summarize_weights": Call(
        dp.summarize_weights,
        lambda: {"probabilities": _x(N) + 2, "score": _x(N), "min_clip": 0.01, "max_ratio": 50.0},
    ),
    "weight_warnings": Call(
        dp.weight_warnings, lambda: {"summary": dp.summarize_weights(_x(N) + 2, _x(N))}
    ),
    "laplace_ldrv": Call(
        dp.laplace_ldrv,
        lambda: {"features": _x(N, F), "logits": _x(N), "prior_variance": 1.0, "chunk_size": 4},
        {"features": ("logits",)},
    ),
    "laplace_ldrv by probabilities": Call(
        dp.laplace_ldrv, lambda: {"features": _x(N, F), "probabilities": (_x(N) + 1.1) / 3},
        {"features": ("probabilities",)}
    ),
    "LaplaceLDRV": Call(dp.LaplaceLDRV, lambda: {"num_features": F, "prior_variance": 1.0}),
    "LaplaceLDRV.update": Call(
        lambda **a: _laplace().update(**a), lambda: {"features": _x(N, F), "logits": _x(N)},
        {"features": ("logits",)}
    ),
    "LaplaceLDRV.variance": Call(
        lambda **a: _laplace().variance(**a), lambda: {"features": _x(N, F)}
    ),
    "LaplaceLDRV.merge": Call(lambda **a: _laplace().merge(**a), lambda: {"other": _laplace()}),
    "RatioHead": Call(dp.RatioHead, lambda: {"num_features": F}),
    "RatioHead.update": Call(
        lambda **a: dp.RatioHead(F).update(**a), lambda: {"real": _x(N, F), "fake": _x(N, F)}
    ),
    "PlattCalibration.fit": Call(
        dp.PlattCalibration.fit, lambda: {"real": _x(N), "generated": _x(N) - 0.3}
    ),
    "PlattCalibration": Call(
        lambda logits: dp.PlattCalibration(1.0, 0.0)(logits), lambda: {"logits": _LOGITS}
    ),
    "IsotonicCalibration.fit": Call(
        dp.IsotonicCalibration.fit, lambda: {"real": _x(N), "generated": _x(N) - 0.3}
    ),
    "IsotonicCalibration": Call(
        lambda logits: dp.IsotonicCalibration.fit(_x(N), _x(N) - 0.3)(logits),
        lambda: {"logits": _LOGITS},
    ),
    "RejectionSampler": Call(
        _from(dp.RejectionSampler),
        lambda: {"propose": _propose, "rng": _rng(), "gamma": 0.0, "percentile": 80.0,
                 "eps": 1e-6, "floor": 0.001, **_FEW},
    ),
    "RejectionSampler.sample": Call(
        lambda n: _taken(dp.RejectionSampler(_propose, rng=_rng(), gamma=0.0, **_FEW), n=n),
        lambda: {"n": 3},
    ),
    "ThresholdSampler": Call(
        _from(dp.ThresholdSampler),
        lambda: {"propose": _propose, "threshold": 0.0, "percentile": 50.0, "floor": 0.001, **_FEW},
        {"batch_size": ("accepted 0 of",)},
    ),
    "MetropolisHastingsSampler": Call(
        _from(dp.MetropolisHastingsSampler),
        lambda: {"propose": _propose, "rng": _rng(), "initial": _x, "steps": 3, "batch_size": 4,
                 "floor": 0.001},
    ),
    "AuxiliaryDiscriminator": Call(
        dp.AuxiliaryDiscriminator,
        lambda: {"discriminator": (network := _discriminator()),
                 "optimizer": torch.optim.Adam(network.parameters()), "loss": Logistic(lambda o: o),
                 "num_samples": N, "seed": 0, "every": 1, "mode": "uniform", "rank": 0,
                 "world_size": 1},
        {"world_size": ("rank",)},
    ),
    "AuxiliaryDiscriminator.set_probabilities": Call(
        lambda **a: _auxiliary().set_probabilities(**a),
        lambda: {"probabilities": np.full(N, 1 / N)},
    ),
    "AuxiliaryDiscriminator.load_state_dict": Call(
        lambda state: _auxiliary().load_state_dict(state),
        lambda: {"state": _auxiliary().state_dict()},
    ),
    "train_after_the_fact": Call(
        dp.train_after_the_fact,
        lambda: {"discriminator": _discriminator(), "reals": lambda i: (_x(len(i), 2), None),
                 "num_samples": N, "generate": lambda n: _x(n, 2),
                 "realness": lambda out: out.squeeze(1), "seed": 0, "steps": 2, "batch_size": 4,
                 "lr": 2e-4},
    ),
    "Diagnosis": Call(
        dp.Diagnosis,
        lambda: {**dict.fromkeys(("ldrm", "ldrv", "score", "probability"), np.full(N, 0.5)),
                 "count": np.ones(N, np.int64), "group": np.zeros(N, np.int64)},
        {"ldrm": ("ldrv",)},
    ),
    "Diagnosis.load": Call(dp.Diagnosis.load, lambda: {"path": _saved("file")},
    {"path": ("There is no diagnosis",)}),
    "WeightSummary": Call(
        dp.WeightSummary,
        lambda: dict.fromkeys(
            ("num", "ess", "ess_share", "share_at_floor", "share_at_cap", "max_over_mean"), 1.0
        ),
    ),
}  # fmt: skip
"""Every public name but `Dia`, which :mod:`tests.fuzz.facade` calls."""


def _wrong(right: Any, how: str) -> Any:
    """Makes something else of a right argument."""
    if not isinstance(right, (torch.Tensor, np.ndarray)):
        return _OTHERS[how]
    tensor = torch.as_tensor(right)
    changed: dict[str, Callable[[], Any]] = {
        "meta": lambda: tensor.to("meta"),
        "sparse": lambda: tensor.to_sparse(),
        "csr": lambda: tensor.reshape(1, -1).to_sparse_csr(),
        "complex": lambda: tensor.to(torch.complex64),
        "bool": lambda: tensor > 0,
        "half": lambda: tensor.to(torch.bfloat16),
        "short": lambda: tensor[:-1],
        "empty": lambda: tensor[:0],
        "scalar": lambda: tensor.flatten()[0],
        "deep": lambda: tensor[None, None],
        "nan": lambda: torch.full_like(tensor, torch.nan, dtype=torch.float32),
        "huge": lambda: tensor * 10**9,
        "object": lambda: np.array([None] * len(tensor), dtype=object),
        "texts": lambda: np.array(["x"] * len(tensor)),
        "list": lambda: tensor.tolist(),
        "quantized": lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
    }
    return changed[how]() if how in changed else _OTHERS[how]


_OTHERS: dict[str, Any] = {
    "meta": torch.empty(N, device="meta"), "sparse": _x(N).to_sparse(), "csr": -1,
    "complex": 1j, "bool": True, "half": 0.5, "short": "", "empty": [], "scalar": torch.tensor(1),
    "deep": {"a": 1}, "nan": float("nan"), "huge": -(2**80), "object": object(), "texts": "x",
    "list": [1, 2], "quantized": -3, "none": None, "negative": -1, "zero": 0,
    "infinite": float("inf")
}  # fmt: skip


@st.composite
def cases(draw: Any) -> tuple[str, str, str]:
    """A call, an argument of it, and what is wrong with that."""
    name = draw(st.sampled_from(sorted(CALLS)))
    argument = draw(st.sampled_from(sorted(CALLS[name].right())))
    return name, argument, draw(st.sampled_from(sorted(_OTHERS)))


def check(case: tuple[str, str, str]) -> bool:
    """Calls with a wrong argument; a refusal must name it."""
    name, argument, how = case
    call, arguments = CALLS[name].call, CALLS[name].right()
    arguments[argument] = _wrong(arguments[argument], how)
    return not is_refused(
        lambda: call(**arguments), [argument, *CALLS[name].words.get(argument, ())]
    )


TARGETS = (Target("tensors", cases(), check, 150, least=0.05),)
