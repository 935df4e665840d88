"""Checks of the training steps: gradients, and training that was interrupted."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen import artifact
from morphogen.core.family import Family, Progress
from morphogen.core.rng import Rng
from morphogen.testing.subject import Subject


def check_gradients_reach_parameters(s: Subject) -> None:
    """Finite gradients everywhere, and a non-zero one within five steps but for unseen embedding rows."""
    model, stream, seen = s.build(), s.stream(), set()
    players = model.players()
    optimizers = {n: torch.optim.AdamW(list(p.parameters), lr=p.lr) for n, p in players.items()}
    for step in range(5):
        for move in model.steps(stream.batch(step), Rng(0), Progress(step, 0.5 + step / 100)):
            sizes = {name: tuple(term.shape) for name, term in move.terms.items()}
            assert set(sizes.values()) == {(s.batch_size,)}, f"terms are per record, ({s.batch_size},): got {sizes}"
            parameters = list(players[move.player].parameters)
            loss = torch.stack(list(move.terms.values())).sum(0).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for p, g in zip(parameters, gradients, strict=True):
                finite = g is None or bool(torch.isfinite(g).all())
                assert finite, f"non-finite gradient of {_name_of(model, p)} at step {step}"
                p.grad = g
                if g is not None and g.any():
                    seen.add(id(p))
            optimizers[move.player].step()
    owned = [p for player in players.values() for p in player.parameters]
    dead = [_name_of(model, p) for p in owned if id(p) not in seen]
    assert not dead, f"no gradient within five steps: {', '.join(dead)}"


def check_resume_is_exact(s: Subject) -> None:
    whole, parts = s.fit("whole", 30), s.fit("parts", 30, stop_at=12)
    s.fit("parts", 30, resume=True, model=s.build(seed=1))  # other initial weights must not matter
    a, b = (artifact.load(p).family.state_dict() for p in (whole, parts))
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different, f"resumed training differs in {', '.join(different)}"


def _name_of(model: Family, parameter: Tensor) -> str:
    return next((n for n, p in model.named_parameters() if p is parameter), "a parameter outside of the model")
