"""Controls of attacks: where nothing can be found, and where something must be found.

    held-out records   the attack on one half of the held-out records beside the other half: AUC 1/2
    planted copies     some held-out records are planted, and attacked beside the others. For an attack on samples,
                       copies of them are put among the samples. For an attack on scores, a copy of the model goes on
                       training on them alone, until the attack finds them or 800 steps are made: AUC near 1

An attack that misses planted copies shows nothing by finding nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from morphogen.core.capabilities import Quantizes
from morphogen.core.errors import CapabilityError
from morphogen.core.family import Family, Progress
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.safeguards.privacy.scores import Scorer, scores
from morphogen.theory.statistics import roc
from morphogen.theory.statistics.intervals import Estimate

PLANTED, BESIDE = 16, 200  # records that are planted, and others that they are compared with
STEPS, ROUNDS = 100, 8  # of further training, between two looks
KNOWN = 0.98  # AUC at which the planted records are known
_LR, _CLIP = 3e-3, 1.0


def halves(scores: Tensor, seed: int) -> Estimate:
    """The AUC of a random half of these scores beside the other half."""
    order = Rng(seed).permutation("halves", 0, len(scores))
    middle = len(scores) // 2
    return roc.auc(scores[order[:middle]], scores[order[middle:]])


def memorized(family: Family, records: Records, seed: int) -> Iterator[Family]:
    """Yield a copy of the model that is trained further on `records` alone, by its own losses, again and again.

    Raises `CapabilityError` for an integer form, which cannot be trained.
    """
    if isinstance(family, Quantizes) and Quantizes in family.capabilities and family.exact:
        raise CapabilityError("the integer form of a model cannot be trained, so nothing can be planted in it.")
    known, device = family.state_dict(), family.device
    with Rng(seed).forked():
        family = type(family)(family.spec, family.data, dict(family.parts))
    family.load_state_dict(known)
    family.to(device)
    batch = records.batch().to(device)
    rng = Rng(seed, device).child("planted copies")
    players = family.players()
    optimizers = {
        name: torch.optim.Adam(list(player.parameters), lr=max(player.lr, _LR)) for name, player in players.items()
    }
    for step in range(STEPS * ROUNDS):
        if step % STEPS == 0:
            family.train()
            family.parts.eval()
        with rng.forked(step), torch.enable_grad():
            for move in family.steps(batch, rng.shifted(step * len(records)), Progress(step, step / (STEPS * ROUNDS))):
                loss = torch.stack([term.double().mean() for term in move.terms.values()]).sum()
                parameters = list(players[move.player].parameters)
                optimizers[move.player].zero_grad()
                loss.backward(inputs=parameters)
                torch.nn.utils.clip_grad_norm_(parameters, _CLIP)
                optimizers[move.player].step()
        if (step + 1) % STEPS == 0:
            yield family.eval()


def planted(family: Family, scorer: Scorer, records: Records, seed: int) -> Estimate:
    """The AUC of the first of these records beside the others, by the scores of a model that was trained on them."""
    count = min(PLANTED, len(records) // 2)
    known, others = records.select(slice(0, count)), records.select(slice(count, count + BESIDE))
    found = Estimate(0.5, None)
    for knows in memorized(family, known, seed):
        found = roc.auc(*(scores(scorer, knows, each, seed) for each in (known, others)))
        if found.value >= KNOWN:
            break
    return found
