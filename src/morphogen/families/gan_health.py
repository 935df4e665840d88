"""Measure the state of a game: which player wins, how strongly the generator learns, how varied its samples are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.family import Health

NEIGHBORS = 5  # the distance to this neighbor of a record decides which samples are near it


@dataclass(frozen=True)
class GameState:
    """Held-out records and as many samples (N, ...), their logits (N,), and the settings of the game.

    pull  mean |d loss / d logit| of the generator at its samples
    """

    records: Tensor
    samples: Tensor
    on_real: Tensor
    on_fake: Tensor
    pull: float
    game: str
    penalty: str
    penalty_weight: float
    discriminator_lr: float


@torch.no_grad()
def judge_game(state: GameState) -> Health:
    """Measure a game on held-out records, and suggest changes.

    told_apart      share of pairs of a held-out record and a sample in which the record has the larger logit
    generator_pull  `pull`
    diversity       mean distance of two samples over that of two records
    coverage        share of records that have a sample as near as their fifth neighbor, over the same for records
    """
    told_apart = float((state.on_real[:, None] > state.on_fake).double().mean())
    metrics: dict[str, float | list[float]] = {"told_apart": told_apart, "generator_pull": state.pull}
    # Warnings have no measured numbers, so a lasting warning is given only once.
    warnings = []
    if told_apart > 0.99:
        raised = f"raise --penalty-weight ({state.penalty_weight:g})"
        more = raised if state.penalty != "none" else "set --penalty r1_r2"
        warnings.append(
            "the discriminator is saturated: it tells nearly all samples from held-out records. That is usual"
            f" early in training; if it lasts, {more} or lower --discriminator-lr ({state.discriminator_lr:g})"
        )
    if told_apart > 0.9 and state.pull < 0.05:
        warnings.append(
            f"the generator stands still: where the discriminator is sure, the game {state.game!r} has no"
            " gradient for it; set --game relativistic, or non_saturating"
        )
    x, made = state.records.flatten(1), state.samples.flatten(1)
    if len(x) > 4 * NEIGHBORS:
        diversity = float(torch.pdist(made).mean() / torch.pdist(x).mean().clamp_min(1e-12))
        covered = _coverage(x, made)
        metrics |= {"diversity": diversity, "coverage": covered}
        if diversity < 0.5:
            warnings.append(
                "mode collapse: samples are less than half as far from each other as held-out records. That is"
                f" usual at the very start; if it lasts, {_cure(state, 'lower the learning rates')}"
            )
        elif covered < 2 / 3 and told_apart < 0.9:  # above that, no sample is good enough to be near any record
            warnings.append(
                "modes are missing: samples are varied, but more than a third of the held-out records have none"
                f" like them; {_cure(state, 'train longer')}"
            )
    return Health(metrics, warnings)


def _cure(state: GameState, else_: str) -> str:
    """Settings of the game that help and are not set yet, or something else."""
    better = [] if state.game == "relativistic" else ["--game relativistic"]
    better += ["--penalty r1_r2"] if state.penalty == "none" else []
    return f"set {' and '.join(better)}" if better else else_


def _coverage(records: Tensor, samples: Tensor) -> float:
    """The share of records with a near sample, over the share of records with another near record; both (N, D).

    Near is within the distance of a record's fifth neighbor (Naeem et al., "Reliable fidelity and diversity metrics",
    2020) in the first half of the records. The second half and as many samples are compared with the first half.
    """
    half = len(records) // 2
    known = records[:half]
    radius = torch.cdist(known, known).kthvalue(NEIGHBORS + 1, dim=1).values  # the nearest is the record itself
    shares = [
        (torch.cdist(known, other[half : 2 * half]).amin(1) <= radius).double().mean() for other in (samples, records)
    ]
    return float(shares[0] / shares[1].clamp_min(1e-12))
