"""One sentence about generated pictures before any number: "sharp, colors right, 2 of 3 kinds covered; none copied".

    sharpness  the power of the samples at fine detail as a share of the training records' (`theory/spectra.py`)
    colors     the distance of the mean colors, in deviations of a record's mean color
    kinds      the classes of the data, or without classes the clusters of their features. A generated picture is of the
               kind of the training record that is nearest in features, and a kind is covered if it has at least a
               quarter of its share among the training records
    copies     what the tests of `metrics/copying.py` say

The limits were set by looking: a share of 0.5 at fine detail is that of a slight blur, of 3 that of visible noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.metrics.metric import SampleSet
from morphogen.theory.spectra import powers
from morphogen.theory.statistics.neighbors import nearest

FEWEST = 16  # pictures of either kind
_SHARPNESS = ((0.15, "blurred"), (0.5, "soft"), (1.7, "sharp"), (3.0, "grainy"))  # up to these shares; beyond: noisy
_ALIKE = 0.25  # of the power at coarse structure
_COLORS = ((0.5, "right"), (1.0, "a little off"))  # up to so many deviations; beyond: wrong
_COVERED = 0.25
_MOST_KINDS, _OF_A_KIND = 20, 5  # classes that are counted one by one, and the records that each has at least


def sentence(made: SampleSet, reference: Reference, warnings: Sequence[str], unchecked: bool = False) -> str:
    """What the pictures look like and whether they are copies; empty where there are too few, or no pictures.

    `warnings` are those of `metrics/fidelity.py`: one that begins with "copying:" tells of copies, and one that begins
    with "copying is not checked" of a check that was not made, as does `unchecked`.
    """
    real = reference.real
    if not reference.dataset.spec.is_picture or min(len(made), len(real)) < FEWEST or min(made.judged.shape[2:]) < 8:
        return ""
    said = [*_looks(made.judged.numpy(), real.judged.numpy()), _kinds(made, reference)]
    text = ", ".join(part for part in said if part)
    return f"{text[0].upper()}{text[1:]}; {_copies(warnings, unchecked)}."


def _looks(made: np.ndarray, real: np.ndarray) -> list[str]:
    """Sharpness, or that all are alike; and colors."""
    x, y = (v.astype(np.float64) for v in (made, real))
    (fine, coarse), (fine_r, coarse_r) = powers(x), powers(y)
    share = fine / max(fine_r, 1e-12)
    sharpness = next((word for most, word in _SHARPNESS if share <= most), "noisy")
    if coarse < _ALIKE * coarse_r and share <= _SHARPNESS[-1][0]:
        sharpness = "all nearly alike"
    means = y.mean((2, 3))
    off = float((np.abs(x.mean((0, 2, 3)) - means.mean(0)) / np.maximum(means.std(0), 1e-12)).max())
    word = next((word for most, word in _COLORS if off <= most), "wrong")
    return [sharpness, f"{'shades' if y.shape[1] == 1 else 'colors'} {word}"]


def _kinds(made: SampleSet, reference: Reference) -> str:
    """How many kinds are covered."""
    which = _kinds_of_training(reference)
    if which is None:
        return ""
    features = reference.train_features
    found = which[nearest(made.features.to(features), features)[1]]
    kinds = int(which.max()) + 1
    ours, theirs = (torch.bincount(v, minlength=kinds).double() / len(v) for v in (found, which))
    return f"{int((ours >= _COVERED * theirs).sum())} of {kinds} kinds covered"


def _kinds_of_training(reference: Reference) -> Tensor | None:
    """(N,) the kind of each training record: its class, or its cluster; None where there is one kind only."""
    labels, classes = reference.train_records.labels, len(reference.dataset.spec.classes)
    if labels is not None and 2 <= classes <= _MOST_KINDS:
        labels = labels.cpu()
        if int(labels.min()) >= 0 and int(torch.bincount(labels, minlength=classes).min()) >= _OF_A_KIND:
            return labels
    features = reference.train_features
    count = min(8, len(features) // 40)
    if count < 2:
        return None
    from sklearn.cluster import KMeans  # takes a second to import

    some = features[:: -(-len(features) // 5000)].float().numpy()
    centers = KMeans(count, n_init=1, max_iter=20, random_state=0).fit(some).cluster_centers_
    return nearest(features.double(), torch.from_numpy(centers).double())[1].cpu()


def _copies(warnings: Sequence[str], unchecked: bool) -> str:
    shares = [w.split(":")[1].split()[0] for w in warnings if w.startswith("copying: ")]
    if shares:
        return f"about {max(shares, key=lambda share: float(share.rstrip('%')))} look copied"
    if unchecked or any(w.startswith("copying is not checked") for w in warnings):
        return "whether some are copied is not checked"
    return "none looks copied"
