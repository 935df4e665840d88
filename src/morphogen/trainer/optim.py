"""The optimizer of one player.

It clips the gradient by its norm, applies AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019)
with a learning-rate schedule, and updates the moving average. Where a player names matrices, Muon updates these: the
momentum of the gradient is replaced by the nearest orthogonal matrix, so that all directions move alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from morphogen.core.family import Player
from morphogen.trainer.distributed import World, fill, full, is_sharded
from morphogen.trainer.ema import Ema
from morphogen.trainer.recipe import Recipe

_KNOWN_AFTER = 20  # updates after which the usual norm of a gradient is known
_USUAL_DECAY = 0.98  # decay of its moving mean, which averages about 50 updates
_WARMED = 0.1  # the share of a run at which the warm-up is over


def factor(recipe: Recipe, step: int, share: float, until: float = 1.0) -> float:
    """The factor of the learning rate at `step` (from 0), where `share` of the run is done.

    With f = share / until, at most 1: cosine (1 + cos pi f) / 2, linear 1 - f, constant 1; times a linear rise over the
    first `warmup` steps, or the first tenth of a short run.
    """
    rise = min(1.0, max((step + 1) / (recipe.warmup + 1), share / _WARMED))
    f = min(1.0, share / until)
    falls = {"cosine": 0.5 * (1.0 + math.cos(math.pi * f)), "linear": 1.0 - f, "constant": 1.0}
    return rise * falls[recipe.lr_schedule]


class PlayerOptimizer:
    """The optimizer, clipping and moving average of one player."""

    def __init__(self, player: Player, clip: float | None) -> None:
        self.lr, self.clip, self.skip, self.until, self.moves = player.lr, clip, player.skip, player.until, 0
        self.usual: float | None = None  # a moving geometric mean of the gradient's norm, if updates may be skipped
        self.parameters = list(player.parameters)
        for p in self.parameters:
            p.requires_grad_(True)
        # A sharded and a plain tensor cannot share one fused call, so they form two groups.
        kinds = ([p for p in self.parameters if is_sharded(p) is kind] for kind in (False, True))
        self._groups = [group for group in kinds if group]
        matrices = {id(p) for p in player.matrices}
        others = [[p for p in group if id(p) not in matrices] for group in self._groups]
        self.adamw = torch.optim.AdamW(
            [{"params": group} for group in others if group],
            lr=player.lr,
            betas=player.betas,
            eps=player.eps,
            weight_decay=player.weight_decay,
            fused=True,
        )
        self.rates: list[tuple[torch.optim.Optimizer, float]] = [(self.adamw, player.lr)]
        self.muon: torch.optim.Optimizer | None = None
        if player.matrices:
            self.muon = torch.optim.Muon(
                player.matrices,
                lr=player.matrix_lr,
                weight_decay=player.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            self.rates.append((self.muon, player.matrix_lr))
        self.emas = [Ema(group, player.ema) for group in self._groups if player.ema is not None]

    def averaged(self) -> list[AbstractContextManager[None]]:
        """A context in which the average replaces the weights."""
        return [ema.swapped() for ema in self.emas] or [nullcontext()]

    def clear(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def average_gradients(self, world: World) -> None:
        """Replace each gradient by its mean over the processes. Gradients of sharded parameters are means already."""
        world.average([p for p in self.parameters if not is_sharded(p)])

    @torch.no_grad()
    def gradient_norm(self) -> Tensor:
        """The Euclidean norm of all gradients together, a scalar tensor."""
        norms = [
            full(torch.nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])) for group in self._groups
        ]
        return norms[0] if len(norms) == 1 else torch.stack(norms).norm()

    def keeps(self, norm: Tensor) -> bool:
        """Whether to apply an update: its norm is finite, and at most `skip` times the usual one once that is known."""
        if self.skip is None:
            return True
        value = max(norm.item(), 1e-30)
        known = self.usual is not None and self.moves >= _KNOWN_AFTER
        if not math.isfinite(value) or (known and value > self.skip * self.usual):  # type: ignore[operator]
            return False
        self.usual = value if self.usual is None else self.usual**_USUAL_DECAY * value ** (1.0 - _USUAL_DECAY)
        return True

    @torch.no_grad()
    def move(self, norm: Tensor, lr_factor: float) -> None:
        """Clip the gradient, update the weights, and update the average."""
        if self.clip is not None and (norm.device.type != "cpu" or norm.item() > self.clip):
            scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
            for group in self._groups:
                torch._foreach_mul_([p.grad for p in group if p.grad is not None], scale)
        for optimizer, lr in self.rates:
            for settings in optimizer.param_groups:
                settings["lr"] = lr * lr_factor
            optimizer.step()
        for ema in self.emas:
            ema.update(self.moves)
        self.moves += 1

    def state(self) -> dict[str, Tensor]:
        """Everything besides the weights that the next update depends on, as whole tensors."""
        tensors = {"moves": torch.tensor(self.moves)}
        if self.usual is not None:
            tensors["usual"] = torch.tensor(self.usual, dtype=torch.float64)
        for i, p in enumerate(self.parameters):
            for optimizer, _ in self.rates:
                for name, value in optimizer.state.get(p, {}).items():
                    tensors[f"{_key(optimizer)}/{i}/{name}"] = full(value)
        for j, ema in enumerate(self.emas):
            tensors |= {f"ema/{j}/{i}": full(value) for i, value in enumerate(ema.averages)}
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.moves = int(tensors["moves"])
        self.usual = tensors["usual"].item() if "usual" in tensors else None
        for i, p in enumerate(self.parameters):
            for optimizer, _ in self.rates:
                prefix = f"{_key(optimizer)}/{i}/"
                for name in [n for n in tensors if n.startswith(prefix)]:
                    like = torch.zeros((), device=p.device) if name.endswith("/step") else torch.zeros_like(p)
                    optimizer.state[p][name.removeprefix(prefix)] = fill(like, tensors[name])
        for j, ema in enumerate(self.emas):
            for i, value in enumerate(ema.averages):
                fill(value, tensors[f"ema/{j}/{i}"])


def _key(optimizer: torch.optim.Optimizer) -> str:
    """The name of an optimizer in a checkpoint."""
    return type(optimizer).__name__.lower()
