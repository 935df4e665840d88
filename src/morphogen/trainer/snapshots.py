"""Models of a training that runs, in its checkpoint's folder: the last one that was looked at, and the best one.

    OUT/checkpoint/last/   the averaged weights at the newest sheet; gone once OUT holds the model
    OUT/checkpoint/best/   those with the smallest loss on held-out records so far

With `patience` P the training ends after P looks without a smaller loss.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from morphogen.trainer.trainer import Trainer

LAST, BEST = "last", "best"


def rank(trainer: Trainer, loss: float, write: Callable[[], None]) -> None:
    """Compare the model's loss on held-out records with the best so far; write the model if it is better."""
    if trainer.best is not None and loss >= trainer.best[1]:
        trainer.unimproved += 1
        return
    trainer.best, trainer.unimproved = [trainer.step, loss], 0
    write()


def ends(trainer: Trainer) -> bool:
    """End the training if its patience is over. All processes decide alike. Returns whether it ends."""
    patience = trainer.recipe.patience
    if patience is None or not trainer.world.largest([float(trainer.unimproved >= patience)])[0]:
        return False
    trainer.budget.end(trainer.step)
    best = 0 if trainer.best is None else int(trainer.best[0])
    trainer.log.write({"step": trainer.step, "kind": "patience", "best": best})
    trainer.warn(
        f"the training has ended early: held-out records were described best at step {best}, and {patience} looks since"
        " then found nothing better. The model of that step is in checkpoint/best."
    )
    return True


def discard_last(folder: Path) -> None:
    """Remove the last snapshot."""
    shutil.rmtree(folder / LAST, ignore_errors=True)
