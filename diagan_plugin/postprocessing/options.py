"""The options of the post-processors: one table for the flags and the config file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.options import follows_published_code
from diagan_plugin.flags import AUTO, at_least, or_word

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

NAME = "postprocessing"
"""The plugin's name: its section under `PLUGINS`."""

EXACT = "exact"
"""The γ of exact rejection, 0."""

JUDGED_BY_RUN = ("drs", "drs_exact", "obrs", "mh", "threshold")
"""Post-processors that take the judge of `--post-judge`; the others train one, or need none."""

BURN_IN, BATCH = "burn-in", "batch"
"""Over which proposals γ is a percentile of F0."""

JUDGES = ("auto", "own", "auxiliary", "fresh")
CALIBRATIONS = ("isotonic", "platt", "none")


@dataclass(frozen=True)
class PostOptions:
    """What can be chosen about post-processing.

    Attributes:
        judge: Which discriminator rates samples: the auxiliary one of weighted sampling, the run's
            `own`, or a `fresh` one, trained after the fact; `auto` is the auxiliary where there is
            one, else the run's own.
        fresh_steps: Steps for which a fresh discriminator trains.
        holdout: Options of the dataset (`KEY=VALUE[,KEY=VALUE]`, e.g. `split=test`) that give real
            samples which no discriminator was trained on, for calibration; "" for none.
        floor: The acceptance rate under which sampling stops.
        burn_in: Proposals from which all but the chains find their thresholds.
        drs_gamma: "exact", or the percentile of F0 that γ is set to (Azadi et al. 2019).
        drs_gamma_over: Over which proposals that percentile is taken: those of the "burn-in", once,
            or those of each "batch", as the published codes of DRS and of Dia-GAN do; "auto" is
            the burn-in, and each batch with Dia's preset of its published code.
        obrs_budget: Share of the proposals that budgeted rejection keeps (Verine et al. 2024).
        mh_steps: Length of a chain (Turner et al. 2019).
        mh_calibration: How logits are calibrated for the chains; isotonic as published.
        calibration_samples: Real, and as many generated, samples to calibrate with, at most.
        threshold_percentile: Share of the proposals, in %, that threshold rejection throws away.
        threshold_score: The smallest D(x) that it keeps instead, in (0, 1).
    """

    judge: str = "auto"
    fresh_steps: int = 1000
    holdout: str = ""
    floor: float = 1e-4
    burn_in: int = 10_000
    drs_gamma: str | float = 80.0
    drs_gamma_over: str = AUTO
    obrs_budget: float = 0.5
    mh_steps: int = 640
    mh_calibration: str = "isotonic"
    calibration_samples: int = 5000
    threshold_percentile: float = 50.0
    threshold_score: float | None = None

    @classmethod
    def of(cls, run: LiveRun) -> PostOptions:
        """Returns the options of a run, "auto" resolved; the defaults without the plugin."""
        options = cls(**run.options.get(NAME, {}))
        if options.drs_gamma_over != AUTO:
            return options
        return replace(
            options, drs_gamma_over=BATCH if follows_published_code(run.options) else BURN_IN
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags, with the defaults of :class:`PostOptions`."""
    group = parser.add_argument_group(
        "Post-processing", "correct what a trained generator makes (--samples NAME)"
    )
    defaults = PostOptions()
    whole, gamma = at_least(int, 1), or_word(_percentile_of_f0, {EXACT: EXACT})

    def add(flag: str, name: str, **settings: Any) -> None:
        group.add_argument(flag, dest=f"{NAME}.{name}", default=getattr(defaults, name), **settings)

    add("--post-judge", "judge", choices=JUDGES, help="which discriminator rates samples")
    add("--post-fresh-steps", "fresh_steps", type=whole, metavar="STEPS",
        help="for which a fresh discriminator trains")  # fmt: skip
    add("--post-holdout", "holdout", type=_settings, metavar="KEY=VALUE[,…]",
        help="options of the dataset that give real samples unseen in training")  # fmt: skip
    add("--post-floor", "floor", type=_floor, metavar="RATE",
        help="acceptance rate under which sampling stops; 0 never")  # fmt: skip
    add("--post-burn-in", "burn_in", type=whole, metavar="N",
        help="proposals from which thresholds are found")  # fmt: skip
    add("--drs-gamma", "drs_gamma", type=gamma, metavar="exact|PERCENTILE",
        help="γ of rejection sampling: 0, or a percentile of F0")  # fmt: skip
    add("--drs-gamma-over", "drs_gamma_over", choices=(AUTO, BURN_IN, BATCH),
        help="over which proposals that percentile is taken")  # fmt: skip
    add("--obrs-budget", "obrs_budget", type=_budget, metavar="SHARE",
        help="of the proposals that budgeted rejection sampling keeps")  # fmt: skip
    add("--mh-steps", "mh_steps", type=whole, metavar="K", help="length of a chain")
    add("--mh-calibration", "mh_calibration", choices=CALIBRATIONS,
        help="how logits are calibrated for the chains")  # fmt: skip
    add("--calibration-samples", "calibration_samples", type=whole, metavar="N",
        help="real, and generated, samples to calibrate with, at most")  # fmt: skip
    add("--threshold-percentile", "threshold_percentile", type=_percentile, metavar="P",
        help="share of the proposals in %% that is thrown away")  # fmt: skip
    add("--threshold-score", "threshold_score", type=_score, metavar="D",
        help="smallest D(x) that is kept, instead of a percentile")  # fmt: skip


def parse_settings(text: str) -> dict[str, str]:
    """Takes `KEY=VALUE[,KEY=VALUE]` apart.

    Raises:
        ValueError: It is not of that form.
    """
    parsed = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise ValueError(f"Argument `text` must be KEY=VALUE, but got {part!r}.")
        parsed[key.strip()] = value.strip()
    return parsed


def _settings(text: str) -> str:
    try:
        parse_settings(text)
    except ValueError:
        raise argparse.ArgumentTypeError("of the form KEY=VALUE[,KEY=VALUE]") from None
    return text


def _within(low: float, high: float, words: str, *, closed: bool = True) -> Any:
    """Returns a type of flag: a number from `low` to `high`, or below it if not `closed`."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(words) from None
        if not (low <= value <= high and (closed or value < high)):
            raise argparse.ArgumentTypeError(words)
        return value

    return convert


_ABOVE_0 = 5e-324
_floor = _within(0, 1, "a rate of at least 0 and below 1", closed=False)
_budget = _within(_ABOVE_0, 1, "a share above 0 and at most 1")
_percentile = _within(0, 100, "a percentage of at least 0 and below 100", closed=False)
_percentile_of_f0 = _within(0, 100, "a percentile from 0 to 100")
_score = _within(_ABOVE_0, 1, "a number above 0 and below 1", closed=False)
