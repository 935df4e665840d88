"""What the frozen feature networks are trained for: a task is a head on the features and its loss for a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.batch import Batch
from morphogen.data import Records
from morphogen.evaluation.features.trunk import WordBag, words_of
from recipes.frozen_networks.degradations import KINDS

THUMBNAIL = 8
REACH = 6.0  # so that the worst degradation is about as far as two unlike pictures
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_GENDERS = (("man", "woman"), ("men", "women"), ("boy", "girl"), ("prince", "princess"), ("father", "mother"))
_OTHER = {a: b for pair in _GENDERS for a, b in (pair, pair[::-1])}


class Classes(nn.Module):
    """Which class it is, by cross-entropy."""

    def __init__(self, records: Records, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, len(records.spec.classes))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        assert batch.cond is not None and batch.cond.label is not None
        return F.cross_entropy(self.linear(features), batch.cond.label)


class Attributes(nn.Module):
    """The value of each attribute that has names for its values, by cross-entropy where it is known."""

    def __init__(self, records: Records, dim: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(dim, len(a.values)) for a in records.spec.attributes)

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        assert batch.cond is not None and batch.cond.attributes is not None and batch.cond.present is not None
        value = torch.where(batch.cond.present, batch.cond.attributes, -1.0).long()
        losses = [F.cross_entropy(h(features), value[:, i], ignore_index=-1) for i, h in enumerate(self.heads)]
        return torch.stack(losses).sum()


class Mentions(nn.Module):
    """Which words the caption holds, each a yes or no: for captions that say exactly what is there."""

    def __init__(self, records: Records, dim: int) -> None:
        super().__init__()
        assert records.captions is not None
        said = {int(i): set(words_of(c)) for i, c in zip(records.ids, records.captions, strict=True)}
        self.words = sorted(set.union(*said.values()))
        self.targets = {i: torch.tensor([float(w in words) for w in self.words]) for i, words in said.items()}
        self.linear = nn.Linear(dim, len(self.words))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        targets = torch.stack([self.targets[int(i)] for i in batch.ids])
        return F.binary_cross_entropy_with_logits(self.linear(features), targets)


class Captions(nn.Module):
    """Contrastive: each picture finds its caption, each caption its pictures, by the cosine (Radford et al.,
    "Learning transferable visual models from natural language supervision", 2021).

    A picture's own caption with another skin tone or gender is among the wrong ones, and equal captions are one.
    """

    def __init__(self, records: Records, dim: int) -> None:
        super().__init__()
        assert records.captions is not None
        self.of = dict(zip(records.ids.tolist(), records.captions, strict=True))
        self.bag = WordBag(sorted({w for c in records.captions for w in words_of(c)}), dim)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        true = [self.of[int(i)] for i in batch.ids]
        texts = list(dict.fromkeys(true + [other for c in true for other in altered(c)]))
        own = torch.tensor([texts.index(c) for c in true])
        cosines = F.normalize(features, dim=-1) @ F.normalize(self.bag(texts), dim=-1).T
        logits = cosines * self.log_scale.clamp(max=4.0).exp()
        of_caption = logits.log_softmax(0).gather(1, own[:, None])[:, 0]
        return F.cross_entropy(logits, own) - of_caption.mean()


class Degradation(nn.Module):
    """How strongly a picture was degraded in each way: as a linear map of the features, and as their distance.

    The distance of the features of a degraded picture from those of the clean one is to be REACH times the strength.
    Without that, features jump at the faintest degradation and hardly move from there on.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, len(KINDS))

    def forward(self, clean: Tensor, changed: Tensor, strengths: Tensor) -> Tensor:
        told = F.mse_loss(self.linear(clean), torch.zeros_like(strengths)) + F.mse_loss(self.linear(changed), strengths)
        moved = ((changed - clean).square().sum(1) + 1e-6).sqrt()
        return 5.0 * told + F.mse_loss(moved / REACH, strengths.sum(1))


class Thumbnail(nn.Module):
    """The picture at 8 x 8."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, channels * THUMBNAIL**2)

    def forward(self, features: Tensor, clean: Tensor) -> Tensor:
        return F.mse_loss(self.linear(features), F.adaptive_avg_pool2d(clean, THUMBNAIL).flatten(1))


def altered(caption: str) -> list[str]:
    """The caption with each of the other skin tones, if it has one, and with the other gender."""
    head, _, tone = caption.rpartition(": ")
    tones = [f"{t} skin tone" for t in TONES]
    changed = [f"{head}: {t}" for t in tones if t != tone] if tone in tones else []
    return changed + regendered(caption)


def regendered(caption: str) -> list[str]:
    """The caption with women for men and the like, if it speaks of any."""
    words = caption.split(" ")
    bare = [w.rstrip(":,") for w in words]
    swapped = [_OTHER.get(b, b) + w[len(b) :] for b, w in zip(bare, words, strict=True)]
    return [" ".join(swapped)] if swapped != words else []
