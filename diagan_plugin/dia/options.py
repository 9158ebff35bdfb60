"""The options of Dia-GAN: one table for the flags, the config file and the Python façade."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diagan_plugin.flags import AUTO, at_least, or_auto, or_word, positive, share
from gan_registry.options import PresetAction

NAME = "dia"
"""The plugin's name: its section under `PLUGINS`, and the sampler it brings."""

AUXILIARY = f"{NAME}.auxiliary"
"""The name under which the run keeps the auxiliary discriminator."""

EPOCH = "epoch"
"""In the place of a number of steps: those of an epoch, which only a run with its data knows."""

PAPER_CODE = "paper-code"
"""The preset of what the paper's published code does where the paper or we do otherwise."""

THROUGH_END, BEFORE_END = "through-end", "before-end"
"""Whether the end of phase 1 is recorded itself."""

RULES = ("paper", "feedback")
"""How phase 2 weights: by the scores until the end, or steered by the auxiliary discriminator."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    # §3.2 of the replication on small data: 90 % of the training without weights, which are then
    # computed again after each epoch. The length of the ramp is ours.
    "replication": {"phase1": 0.9, "refresh": EPOCH, "ramp": EPOCH},
    # What it sets in other plugins are their options with the value "auto": see
    # `follows_published_code`.
    PAPER_CODE: {
        "draws": "iid",
        "last_record": BEFORE_END,
        "centre": "none",
        "aux_loss": "logistic",
    },
}
"""What a preset puts in the place of defaults; what is given explicitly wins over it."""


def follows_published_code(options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether other plugins' options of the value "auto" mean what the published code does.

    Args:
        options: Plugin → option → value, as a run has them; those of Dia may be missing.
    """
    return options.get(NAME, {}).get("preset") == PAPER_CODE


def weights_the_loss(options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether Dia's scores weight D's loss, by `--loss-weighting`, in the place of the draws.

    Args:
        options: As for :func:`follows_published_code`; those of loss weighting may be missing.
    """
    return bool(options.get("loss_weighting", {}).get("by", "none") != "none")


@dataclass(frozen=True)
class DiaOptions:
    """What can be chosen about diagnosis and weighted sampling.

    Attributes:
        k: Weight of √LDRV in the score (paper, eq. 7), or :data:`AUTO`.
        rule: One of :data:`RULES`; see :mod:`diagan_plugin.scoring.feedback`.
        phase1: Share of the steps that train and diagnose under uniform sampling (paper, §4.4), or
            :data:`AUTO`: until the ranking of the scores has settled.
        window: Records that count, |T| in the paper.
        record_every: Steps between two records.
        last_record: Whether a record due at the very end of phase 1 is its last, "through-end", or
            left out, "before-end", as in the published code: at an end of 40,000 the last of the 50
            records is then that of step 39,900 and the first that of 35,000.
        min_clip: Scores below are raised to it (paper, §4.1).
        max_ratio: Largest ratio of two sampling probabilities (paper, §4.1).
        record: "sweep" passes D over the whole dataset; "stream" uses the training batches.
        record_fraction: Share of the samples that a sweep takes, another random one each time; each
            sample's own number of records counts.
        centre: What is taken off D's records: "data" as much as makes them possible ratios,
            "generated" D's mean on generated samples at the time, "none" nothing, as in the paper;
            "auto" takes "data" where D's output is no density ratio, else "none". Streams take
            "generated" for "data". See :mod:`diagan_plugin.dia.centring`.
        logits: Which logits a sweep records; see :mod:`diagan_plugin.recording.logit_modes`.
        refresh: 0 scores once, at the end of phase 1; otherwise again every so many steps, or each
            epoch with :data:`EPOCH`.
        ramp: Steps over which the weights go from uniform to their full strength, or :data:`EPOCH`.
        aux: How the auxiliary discriminator of phase 2 is trained, "uniform" (own batches, as in
            the paper, §4.3) or "importance" (the weighted batches, reweighted); "none": none.
        aux_every: D updates between two of the auxiliary discriminator.
        aux_loss: What the auxiliary discriminator is trained by: the "run"'s loss, or "logistic";
            :data:`AUTO` takes the logistic one where the run's gives no density ratio.
        aux_ratio: Record a density ratio measured by a logistic layer on D's features (paper,
            §5.2): for losses without one.
        within_class: Keep each class's share of the draws and weight inside the classes.
        exclude: File that lists samples which are never to be emphasised, such as broken ones; see
            :func:`diagan_plugin.dia.exclusion.read_listed`. "": none.
        draws: How phase 2 draws from the weights: "systematic", where each sample's draws in an
            epoch differ from their expectation by less than 1, or "iid", each draw independent,
            i ~ P_s (paper, §4.1).
        preset: A key of :data:`PRESETS`; what it stands for is in the other options already.
        diagnose: Record with any sampler, never altering training.
    """

    k: float | str = 1.0
    rule: str = "paper"
    phase1: float | str = 0.8
    window: int = 50
    record_every: int = 100
    last_record: str = THROUGH_END
    min_clip: float = 0.01
    max_ratio: float = 50.0
    record: str = "sweep"
    record_fraction: float = 1.0
    centre: str = "auto"
    logits: str = "auto"
    refresh: int | str = 0
    ramp: int | str = 0
    aux: str = "uniform"
    aux_every: int = 1
    aux_loss: str = AUTO
    aux_ratio: bool = False
    within_class: bool = False
    exclude: str = ""
    draws: str = "systematic"
    preset: str = "paper"
    diagnose: bool = False

    def with_epochs(self, steps: int) -> DiaOptions:
        """Returns the options with all epochs in steps, given the steps of an epoch."""
        found = [name for name in ("refresh", "ramp") if getattr(self, name) == EPOCH]
        changed: dict[str, Any] = dict.fromkeys(found, steps)
        return replace(self, **changed)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags, with the defaults of :class:`DiaOptions`."""
    group = parser.add_argument_group(
        "Dia-GAN", "find under-represented training samples (--diagnose) and emphasise them "
        "(--sampler dia)",
    )  # fmt: skip
    defaults = DiaOptions()

    def add(name: str, kind: Any = None, flag: str = "", **settings: Any) -> None:
        group.add_argument(
            flag or f"--dia-{name.replace('_', '-')}",
            dest=f"{NAME}.{name}",
            default=getattr(defaults, name),
            **({} if kind is None else {"type": kind}),
            **settings,
        )

    add(
        "k", or_auto(at_least(float, 0.0)), metavar="K|auto",
        help="weight of √LDRV in the score; auto: by its spread",
    )  # fmt: skip
    add(
        "rule", choices=RULES,
        help="weigh by the scores until the end, or let go as the auxiliary D sees it help",
    )  # fmt: skip
    add(
        "phase1", or_auto(share), metavar="SHARE|auto",
        help="share of the steps under uniform sampling; auto: until the ranking has settled",
    )  # fmt: skip
    add("window", at_least(int, 2), metavar="N", help="records that count")
    add("record_every", at_least(int, 1), metavar="STEPS", help="steps between two records")
    add(
        "last_record", choices=(THROUGH_END, BEFORE_END),
        help="record the end of phase 1 too, or only what comes before it",
    )  # fmt: skip
    add("min_clip", positive, metavar="S", help="scores below are raised to it")
    add("max_ratio", at_least(float, 1.0), metavar="R", help="largest ratio of probabilities")
    add("record", choices=("sweep", "stream"), help="record whole sweeps or training batches")
    add("record_fraction", share, metavar="SHARE", help="share of the samples of a sweep")
    add(
        "centre", choices=("auto", "data", "generated", "none"),
        help="what is taken off D's output; auto: nothing where that is a density ratio",
    )  # fmt: skip
    add("logits", choices=("auto", "eval", "train", "batchstat"), help="which logits to record")
    steps = at_least(int, 0)
    add(
        "refresh", or_word(steps, {"once": 0, EPOCH: EPOCH}), metavar="once|epoch|STEPS",
        help="score once, or again so often",
    )  # fmt: skip
    add(
        "ramp", or_word(steps, {EPOCH: EPOCH}), metavar="epoch|STEPS",
        help="steps to the weights' full strength",
    )  # fmt: skip
    add("aux", choices=("uniform", "importance", "none"), help="auxiliary discriminator for DRS")
    add("aux_every", at_least(int, 1), metavar="M", help="D updates between two of its own")
    add(
        "aux_loss", choices=(AUTO, "run", "logistic"),
        help="loss of the auxiliary discriminator; auto: logistic where the run's has no ratio",
    )  # fmt: skip
    add(
        "aux_ratio", action="store_true",
        help="record a density ratio measured by a logistic layer, for losses that give none",
    )  # fmt: skip
    add("within_class", action="store_true", help="weight inside the classes only")
    add(
        "exclude", str, metavar="FILE",
        help="samples, listed by path or index, that get at most the mean weight",
    )  # fmt: skip
    add("draws", choices=("systematic", "iid"), help="draw evenly by the weights, or independently")
    add(
        "preset", action=PresetAction, presets=PRESETS,
        help="defaults of the paper, of its published code or of its replication",
    )  # fmt: skip
    add(
        "diagnose", flag="--diagnose", action="store_true",
        help="record and report with any sampler, without altering the training",
    )  # fmt: skip
