"""Checks that scores are what they say, and that a family can do what it declares."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core import capabilities
from morphogen.core.rng import Rng
from morphogen.testing.subject import Subject, as_float


def check_scores_are_true(s: Subject) -> str:
    """Finite, per record, made of their terms, and higher for data than for noise."""
    model, batch = s.needs(capabilities.Scores), s.batch(200)
    score = model.score(batch.x, batch.cond, Rng(0))
    assert tuple(score.value.shape) == (len(batch),) and torch.isfinite(score.value).all(), "scores are not (B,) finite"
    total = torch.stack(list(score.terms.values())).sum(0)
    assert torch.allclose(total, score.value, rtol=1e-4, atol=1e-3), "the terms do not add up to the value"
    noise = Rng(0).uniform("noise", len(batch), s.data.shape) * (s.data.high - s.data.low) + s.data.low
    worse = model.score(s.data.encode(s.data.decode(noise)), batch.cond, Rng(0)).value.mean()
    assert score.value.mean() > worse, "uniform noise scores higher than data"
    if score.kind == "lower_bound":
        tight = model.score(batch.x, batch.cond, Rng(0), 64)
        assert tight.value.mean() >= score.value.mean() - 0.1, "64 importance samples give a lower bound than one"
    return f"{float(score.value.mean()):.2f} nats ({score.kind}); noise {float(worse):.2f}"


def check_capabilities_are_truthful(s: Subject) -> str:
    model, batch = s.trained, s.batch(8)
    for capability in model.capabilities:
        assert capability in capabilities.ALL, f"{capability!r} is no capability"
        assert isinstance(model, capability), f"declares {capability.__name__} but lacks its methods"
    for name in model.compiled_networks:
        assert name in model.networks(), f"compiled_networks names {name!r}, which is none of its networks"
    if capabilities.Encodes in model.capabilities:
        z = model.encode(batch.x, batch.cond).mean
        x = model.decode(z, batch.cond).mean
        assert x.shape == batch.x.shape, f"decode(encode(x)) has shape {tuple(x.shape)}, not {tuple(batch.x.shape)}"
        near = (as_float(x) - as_float(batch.x)).square().mean()
        far = (as_float(x) - as_float(batch.x).roll(3, 0)).square().mean()
        assert near < far, "a reconstruction is no closer to its own record"
    if capabilities.Latents in model.capabilities:
        z: list[Tensor] = []  # type: ignore[no-redef]
        for k in range(model.groups):
            q, p = model.posterior(k, batch.x, z, batch.cond), model.prior(k, z, len(batch), batch.cond)
            assert q.mean.shape == p.mean.shape, f"group {k}: posterior and prior have different shapes"
            z.append(q.mean)
        assert torch.isfinite(model.likelihood(z, batch.cond).log_prob(batch.x)).all(), "log p(x | z) is not finite"
    if capabilities.Discriminates in model.capabilities:
        assert tuple(model.realness(batch.x, batch.cond).shape) == (8,), "realness is (B,)"
    return ", ".join(sorted(c.__name__ for c in model.capabilities))
