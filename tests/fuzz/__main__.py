"""`python -m tests.fuzz --minutes N`: goes on fuzzing, one target after the other."""

from __future__ import annotations

import argparse
import tempfile
import warnings

import pytest
import torch

from tests.fuzz.harness import Outcome, explore, explore_for
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Runs the targets; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=1.0, metavar="N", help="for each target (default: 1)"
    )
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="may be repeated")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the first seed")
    parser.add_argument(
        "--cases", type=int, metavar="C", help="just so many cases of that one seed, to see it fail"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failed = False
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_REGISTRY_CACHE", cache)
        for name in arguments.only or TARGETS:
            target = TARGETS[name]
            if arguments.cases is not None:
                explore(target, arguments.cases, arguments.seed, Outcome())
                continue
            outcome = explore_for(target, 60 * arguments.minutes, arguments.seed)
            print(
                f"{name}: {outcome.cases:,} cases, {outcome.accepted:,} accepted, "
                f"{len(outcome.failures)} failures",
                flush=True,
            )
            for text in outcome.failures.values():
                print(f"--- {name}\n{text}", flush=True)
            failed |= bool(outcome.failures)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
