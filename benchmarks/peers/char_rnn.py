"""CharRNN, the baseline of MOSES (Polykovskiy et al., 2020): an LSTM over the characters of SMILES.

MOSES trains three layers of 768 for 80 epochs, about a day here. For minutes on one core it is set up as a competent
user would: one layer of 512 (after two minutes its held-out molecules had 56.6 nats, those of two layers of 256 as
many, and those of two layers of 512 had 92), batches of molecules of similar length, a rate that rises for 100 steps
and falls to zero over the time, gradients clipped, and averaged weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

BATCH, LONGEST, RATE, WARMUP, DECAY = 64, 150, 2e-3, 100, 0.998
PAD, BEGIN, END = range(3)


class CharRNN(nn.Module):
    """Characters to the logits of the next ones."""

    def __init__(self, characters: str, hidden: int, layers: int) -> None:
        super().__init__()
        self.characters = characters
        self.embed = nn.Embedding(len(characters) + 3, 48)
        self.lstm = nn.LSTM(48, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, len(characters) + 3)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits (B, T, V) and the state after x (B, T)."""
        y, state = self.lstm(self.embed(x), state)
        return self.head(y), state

    def encoded(self, text: str) -> Tensor:
        """Begin, characters, end."""
        return torch.tensor([BEGIN, *(self.characters.index(c) + 3 for c in text), END])

    @torch.no_grad()
    def sample(self, n: int, seed: int, batch: int = 256) -> list[str]:
        """Texts at temperature 1."""
        generator, found = torch.Generator().manual_seed(seed), list[str]()
        while len(found) < n:
            size = min(batch, n - len(found))
            x, state = torch.full((size, 1), BEGIN), None
            out, open_rows = [], torch.ones(size, dtype=torch.bool)
            for _ in range(LONGEST):
                logits, state = self(x, state)
                logits[..., : BEGIN + 1] = -torch.inf
                x = torch.multinomial(logits[:, 0].softmax(-1), 1, generator=generator)
                open_rows &= x[:, 0] != END
                out.append(torch.where(open_rows, x[:, 0], PAD))
                if not open_rows.any():
                    break
            for row in torch.stack(out, 1).tolist():
                found.append("".join(self.characters[i - 3] for i in row if i > END))
        return found


def train(
    texts: Sequence[str], held_out: Sequence[str], seconds: float, seed: int, hidden: int, layers: int
) -> tuple[CharRNN, dict[str, float]]:
    """A model after so many seconds of this process, and what it took."""
    torch.manual_seed(seed)
    model = CharRNN("".join(sorted(set("".join([*texts, *held_out])))), hidden, layers)
    average = AveragedModel(model, multi_avg_fn=_averaged)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    rng, started, step = np.random.default_rng(seed), time.process_time(), 0
    encoded = [model.encoded(text) for text in texts if len(text) < LONGEST]
    while (share := (time.process_time() - started) / seconds) < 1.0:
        some = rng.choice(len(encoded), 50 * BATCH, replace=False)
        batches = np.array(sorted(some, key=lambda i: len(encoded[i]))).reshape(-1, BATCH)
        for rows in rng.permutation(batches):
            share = (time.process_time() - started) / seconds
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
            loss = loss_of(model, [encoded[i] for i in rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            step += 1
            if share >= 1.0:
                break
    best = average.module.eval()
    assert isinstance(best, CharRNN)
    took = {
        "steps": step,
        "processor_s": time.process_time() - started,
        "weights": sum(p.numel() for p in best.parameters()),
    }
    with torch.no_grad():
        nll = [float(loss_of(best, [best.encoded(text)])) * (len(text) + 1) for text in held_out]
    return best, {**took, "epochs": step * BATCH / len(encoded), "held_out_nll": float(np.mean(nll))}


@torch.no_grad()
def _averaged(averages: Any, weights: Any, steps: Tensor | int) -> None:
    """A moving average that forgets the first weights quickly."""
    decay = min(DECAY, (1.0 + float(steps)) / (10.0 + float(steps)))
    torch._foreach_lerp_(averages, weights, 1.0 - decay)


def loss_of(model: CharRNN, texts: Sequence[Tensor]) -> Tensor:
    """The mean negative log-likelihood of a character, without padding."""
    x = nn.utils.rnn.pad_sequence(list(texts), batch_first=True, padding_value=PAD)
    logits, _ = model(x[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), ignore_index=PAD)
