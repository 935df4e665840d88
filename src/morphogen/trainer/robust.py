"""Training that leaves out the worst share of each batch, for training records that are not all normal.

With the losses l_1 <= ... <= l_n of the records of a batch, a step minimizes the mean of the first n - floor(share n):
the trimmed loss (Rousseeuw, 1984). Records that do not belong to the others have large losses once the others are
learned, so the first tenth of a training trims nothing.

Losses compare only where they differ by the record and not by chance. A denoiser's loss of a step depends on the noise
level that it draws, and players of a game have no loss of a record; such families are refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor

from morphogen.core.capabilities import Denoises, Releases
from morphogen.core.errors import SpecError
from morphogen.core.family import Family

BEGIN = 0.1  # the fraction of training that trims nothing
NAMED = 50  # records that the log names


class Trimming:
    """The records that steps leave out, and how often."""

    def __init__(self, family: Family, share: float) -> None:
        self.share = share
        self._seen: Counter[int] = Counter()
        self._left_out: Counter[int] = Counter()
        if share and (len(family.players()) != 1 or {Denoises, Releases} & family.capabilities):
            raise SpecError(
                f"a {family.name!r} model is not trained robustly: the loss of its steps does not tell a record that"
                " does not belong from one that drew more noise. Take vae, autoencoder, vq_vae or autoregressive."
            )

    def mean(self, losses: Tensor, ids: Tensor, fraction: float) -> Tensor:
        """The mean of the losses (B,) of a step, without the worst share once `fraction` of the training is done."""
        count = int(self.share * len(losses))
        if not count or fraction < BEGIN:
            return losses.mean()
        order = losses.detach().argsort()
        self._seen.update(ids.tolist())
        self._left_out.update(ids[order[len(losses) - count :].to(ids.device)].tolist())
        return losses[order[: len(losses) - count]].mean()

    def entry(self, step: int) -> dict[str, Any] | None:
        """A line for the log: [id, share of its steps] of the records that were left out most; None without any."""
        if not self._left_out:
            return None
        shares = {i: count / self._seen[i] for i, count in self._left_out.items()}
        worst = sorted(shares, key=lambda i: (-shares[i], i))[:NAMED]
        return {"step": step, "kind": "left_out", "records": [[i, round(shares[i], 4)] for i in worst]}
