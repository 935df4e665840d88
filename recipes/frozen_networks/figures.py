"""Figures of a feature network: how well it knows the test pictures, and what its Frechet distance sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records
from morphogen.evaluation.context.degradations import as_bytes, available, drawn
from morphogen.evaluation.context.ladder import degraded
from morphogen.evaluation.features.frozen import FeatureNetwork
from morphogen.theory.divergences import frechet_distance
from recipes.frozen_networks.tasks import TONES, regendered

N, REFERENCE = 2_000, 20_000


def class_accuracy(classifier: Callable[[Tensor], Tensor], features: Tensor, records: Records) -> float:
    """The share of records whose class is the likeliest."""
    assert records.labels is not None
    return float((classifier(features).argmax(1) == records.labels).float().mean())


def caption_accuracies(network: FeatureNetwork, features: Tensor, records: Records) -> dict[str, float]:
    """Shares of pictures whose caption is the first, or among the first five, of all the split's captions, and whose
    skin tone and gender are those of the best among the caption's variants."""
    assert records.captions is not None
    pictures = F.normalize(features, dim=-1)
    texts = list(dict.fromkeys(records.captions))
    similar = pictures @ F.normalize(network.text(texts), dim=-1).T
    own = torch.tensor([texts.index(c) for c in records.captions])
    rank = (similar > similar.gather(1, own[:, None])).sum(1)
    found = {"recall@1": (rank < 1).float().mean(), "recall@5": (rank < 5).float().mean()}
    tones = [f"{t} skin tone" for t in TONES]
    toned = [i for i, c in enumerate(records.captions) if c.rpartition(": ")[2] in tones]
    gendered = [i for i, c in enumerate(records.captions) if regendered(c)]
    choices = {
        "tone of 5": [[records.captions[i].rpartition(": ")[0] + ": " + t for t in tones] for i in toned],
        "gender of 2": [[*regendered(records.captions[i]), records.captions[i]] for i in gendered],
    }
    for (what, offered), rows in zip(choices.items(), (toned, gendered), strict=True):
        if rows:
            encoded = torch.stack([F.normalize(network.text(texts), dim=-1) for texts in offered])
            best = (encoded @ pictures[rows][:, :, None])[:, :, 0].argmax(1).tolist()
            right = [o[b] == records.captions[i] for o, b, i in zip(offered, best, rows, strict=True)]
            found[what] = torch.tensor(right).float().mean()
    return {what: float(share) for what, share in found.items()}


def sensitivity(network: FeatureNetwork, data: Dataset) -> Iterator[tuple[str, float]]:
    """Frechet distances to the training split: of test pictures as they are, then degraded as the library's ladder
    degrades them, by label."""
    records = max((r for name, r in data.splits.items() if name.startswith("test")), key=len)
    test, rng = as_bytes(records.stored, data.spec), Rng(0)
    rows = drawn(len(test), min(N, len(test)), rng)
    reference = moments(network, as_bytes(data.train.stored[:REFERENCE], data.spec))
    yield "test", float(frechet_distance(*reference, *moments(network, test[rows])))
    for degradation, strength, pictures in degraded(test, available(data.train, records), rng, len(rows)):
        yield degradation.label(strength), float(frechet_distance(*reference, *moments(network, pictures)))


def moments(network: FeatureNetwork, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of the features of bytes (N, C, H, W)."""
    features = torch.cat([network(part / 127.5 - 1.0) for part in pictures.split(2000)]).double()
    return features.mean(0), features.T.cov()
