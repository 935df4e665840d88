"""The options that the families recommend, by rules found in `benchmarks/quality/first_hour.py`.

Each rule begins at what a minute of one processor core can learn and grows with the time: among `sizes` the trainer
takes the largest network that makes `needs` steps. Pictures are folded so that a network works at about 16 x 16 places;
its first layer has at least as many channels as are folded in.

Two rules are from theory. Under Adam each weight of a layer moves by the learning rate, so its output moves by the rate
times the width: the best rate falls as 1 / width (Yang et al., "Tensor programs V", 2022). And the mean of s x s pixels
has 1 / s of their noise: a picture of side S shows at noise sigma what one of side S / s shows at sigma / s (Hoogeboom
et al., "Simple diffusion", 2023), so the training times of larger pictures lie at more noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.core.recommendation import Choice, Recommendation, Situation, recommended_training

_NEEDS = {"diffusion": 1200, "gan": 2000, "vae": 600}  # steps
_PURPOSES = {
    "diffusion": "the best pictures; restoring and editing them; pictures from words",
    "flow_matching": "",
    "gan": "sharp pictures at once, by one evaluation",
    "vae": "a first model: latents to compare, walk and edit; anomalies",
}
_STAGES = {
    "diffusion": [
        (300, "colors and coarse shapes"),
        (1200, "plausible textures; classes can be told"),
        (10_000, "good"),
    ],
    "gan": [(500, "colored blobs"), (2000, "rough shapes"), (10_000, "fair pictures")],
    "vae": [(150, "color fields"), (600, "soft pictures"), (10_000, "soft pictures with details")],
}
_TABLES = {  # the steps that a table needs, the largest batch, and what the family is taken for
    "autoregressive": (300, 512, "tables: likelihoods, rows that meet conditions, missing cells"),
    "diffusion": (1000, 512, "tables whose columns move together"),
    "flow_matching": (1000, 512, ""),
    "gan": (1000, 128, ""),
    "vae": (600, 512, "tables: latents to compare rows by; anomalies"),
}
_TINY = 12  # a picture of a smaller side takes a fifth of the steps
_OBJECTIVE = ("parametrization", "schedule", "times", "weighting", "chain", "zero_terminal_snr", "variance")
_MOST_FOLDED = 4
_LR, _LR_WIDTH = 4e-3, 32  # the learning rate of short trainings, which ends at 0, at this width
_TIME_MEAN, _TIMED_SIDE = -0.7, 32  # of log(sigma / alpha), at this side
_PLACES = 16  # side of the grid that a denoising network works on


def table(situation: Situation, family: str) -> Recommendation:
    """For tables, in larger batches than pictures. The target is a column like others, so it is no condition."""
    needs, batch, purpose = _TABLES[family]
    stages = [(needs // 4, "columns one by one"), (needs, "how columns depend on each other"), (10 * needs, "good")]
    return Recommendation((), recommended_training(situation, batch), (), needs, purpose, stages)


def denoising(situation: Situation, family: str) -> Recommendation:
    """For diffusion, with its schedule and noise levels, and for flow matching."""
    side, data = situation.side, situation.data
    if data.table is not None:
        return table(situation, family)
    training = recommended_training(situation, 64)
    if side < 8 or data.context_shape is not None:
        return _of(family, side, (), training)
    choices = [Choice("lr", 0.5 * _LR, "short trainings gain from large steps; the schedule ends at 0")]
    if family == "diffusion":
        mean = round(_TIME_MEAN + math.log(max(1.0, side / _TIMED_SIDE)), 2)
        choices += [
            Choice("parametrization", "x0", "a small network says what a picture is, not all its noise", _OBJECTIVE),
            Choice("schedule", "edm", "noise levels where pictures take form", _OBJECTIVE),
            Choice("times", "log-normal", "as the schedule edm is used", _OBJECTIVE),
            Choice("time_mean", mean, "most training where noise hides details", _OBJECTIVE),
            Choice("time_std", 1.5, "and some at every level", _OBJECTIVE),
        ]
    if situation.described:
        choices.append(Choice("conditional", True, "the records have captions or classes"))
    return _of(family, side, choices, training, _unets(side, data.shape[0]))


def gan(situation: Situation) -> Recommendation:
    """For generative adversarial networks."""
    if situation.data.table is not None:
        return table(situation, "gan")
    training = recommended_training(situation, 32)
    choices = []
    if situation.side >= 12 and situation.records < 5000 and situation.data.context_shape is None:
        choices.append(Choice("augment", "adaptive", "few records: the discriminator would know them by heart"))
    if situation.described:
        choices.append(Choice("conditional", True, "the records have captions or classes"))
    return _of("gan", situation.side, choices, training)


def vae(situation: Situation) -> Recommendation:
    """For variational autoencoders."""
    if situation.data.table is not None:
        return table(situation, "vae")
    training = recommended_training(situation)
    side, data = situation.side, situation.data
    if side < _TINY or data.levels is None or data.kind != "continuous":
        return _of("vae", side, (), training)
    sharp = ("likelihood", "variance", "prior", "backbone", "bounded", "importance_samples", "free_bits")
    choices = [
        Choice("likelihood", "gaussian", "with a small variance, so that details count", sharp),
        Choice("variance", 0.02, "with a small variance, so that details count", sharp),
        Choice("prior", "flow", "it learns where the many latents lie, which a normal prior leaves empty", sharp),
        Choice("latent_dim", 128 if side >= 48 else 64, "for that many details"),
        Choice("norm", False, "faster, and colors stay as they are", sharp),
        Choice("lr", 2e-3, "short trainings gain from large steps; the schedule ends at 0"),
    ]
    sizes = [{"widths": widths, "blocks": 1} for widths in _vae_widths(side)]
    return _of("vae", side, choices, training, sizes)


def _vae_widths(side: int) -> list[tuple[int, ...]]:
    """Channels down to about 8 x 8 places, of a small and a larger network."""
    levels = 1
    while side / 2 ** (levels + 1) >= 7 and levels < 4:
        levels += 1
    small = tuple(32 * 2 ** min(k, 2) for k in range(levels))
    return [small, tuple(2 * width for width in small)]


def _of(
    family: str,
    side: int,
    choices: Sequence[Choice],
    training: Sequence[Choice],
    sizes: Sequence[Mapping[str, Any]] = (),
) -> Recommendation:
    like = "diffusion" if family == "flow_matching" else family
    part = 5 if side < _TINY else 1
    stages = [(steps // part, said) for steps, said in _STAGES[like]]
    return Recommendation(choices, training, sizes, _NEEDS[like] // part, _PURPOSES[family], stages)


def _unets(side: int, channels: int) -> list[Mapping[str, Any]]:
    """U-Nets from small to large, for pictures of this side."""
    fold = 1
    while fold < _MOST_FOLDED and side / (2 * fold) >= _PLACES and side % (2 * fold) == 0:
        fold *= 2
    folded = channels * fold**2
    small = 32
    while small < folded:
        small *= 2
    found = [
        ((small, 2 * small), (1, 1)),
        ((2 * small, 4 * small), (1, 1)),
        ((2 * small, 4 * small, 4 * small), (2, 2, 2)),
    ]
    return [{"fold": fold, "widths": w, "blocks": b, "lr": _LR * _LR_WIDTH / w[0]} for w, b in found]
