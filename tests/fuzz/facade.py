"""`Dia` with wrong arguments: one of its signature at a time has another type or range."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

import diagan_plugin as dp
from diagan_plugin.dia.options import DiaOptions
from tests.fuzz.harness import Target, is_refused
from tests.fuzz.tensors import _OTHERS

N = 12
_RIGHT: dict[str, Any] = {"total_steps": 8, "batch_size": 4, "record_every": 1}
_NOT_DRAWN = {"self", "options", "dataset", "read", "penalty", "item", "device"}
"""What is called with the loop's own data only later, or is torch's to judge."""

_RELATED = {
    "world_size": ("rank", "process group"),
    "conditional": ("takes 2 positional",),
    "phase1": ("record_every",),
    "window": ("record_every",),
}

ARGUMENTS = sorted(
    {*inspect.signature(dp.Dia.__init__).parameters, *(each.name for each in fields(DiaOptions))}
    - _NOT_DRAWN
)
VALUES = {
    **_OTHERS,
    "small": 1, "two": 2, "half word": "auto", "other word": "sweep", "pair": (-1.0, 1.0),
    "names": ["a"], "groups": [0] * N,
}  # fmt: skip


def check(case: tuple[str, str]) -> bool:
    """Makes a Dia with a wrong argument; where it is taken, trains two steps with it."""
    argument, how = case
    given = {**_RIGHT, argument: VALUES[how]}
    if argument == "epochs":
        del given["total_steps"]
    data = torch.utils.data.TensorDataset(torch.linspace(-1, 1, 2 * N).reshape(N, 2))

    def use() -> None:
        torch.manual_seed(0)
        network = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(network.parameters())
        dia = dp.Dia(data, **given)
        loader = torch.utils.data.DataLoader(dia.dataset, batch_size=4, sampler=dia.sampler)
        for _, (x, index) in zip(range(2), loader, strict=False):
            dia.update(network, optimizer, index, fake=x, real=x)
            if given.get("record") != "stream":
                dia.sweep(network)
            dia.step()

    return not is_refused(use, [argument, *_RELATED.get(argument, ())])


TARGETS = (
    Target(
        "facade",
        st.tuples(st.sampled_from(ARGUMENTS), st.sampled_from(sorted(VALUES))),
        check,
        60,
        least=0.05,
    ),
)
