"""Reconstructions, latent walks, reconstructions by level, and the plane of two latents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.applications.records import check_made, records_of
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Encodes, Latents
from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.data import Records
from morphogen.data.in_memory import AnyData

CHUNK = 256  # records that are encoded or decoded together


class Rebuilt(NamedTuple):
    """Records and their reconstructions: x (n, *shape), or (levels * n, *shape) for all levels."""

    records: Records
    x: Tensor


@torch.no_grad()
def rebuild_records(family: Family, source: AnyData, n: int, split: str | None) -> Rebuilt:
    """Reconstruct the first `n` records of a split: the mean of p(x | z) at the mean of q(z | x)."""
    model = require(family, Encodes, "reconstruct")
    records = records_of(source, family.data, split, n)
    batch = records.batch().to(family.device)
    parts = [batch[rows] for rows in chunks(len(batch), CHUNK)]
    made = [model.decode(model.encode(part.x, part.cond).mean, part.cond).mean for part in parts]
    return Rebuilt(records, torch.cat(made))


@torch.no_grad()
def encode_records(family: Family, source: AnyData, n: int | None, split: str | None) -> Rebuilt:
    """Encode records of a split: the records, and the means of q(z | x), (n, D)."""
    model = require(family, Encodes, "encode")
    records = records_of(source, family.data, split, n)
    batch = records.batch().to(family.device)
    return Rebuilt(records, check_made(_encoded(model, batch).flatten(1).cpu()))


@torch.no_grad()
def walk_between(family: Family, source: AnyData, n: int, steps: int, split: str | None) -> Rebuilt:
    """`n` walks of `steps` records between pairs of a split, walk after walk: x (n * steps, *shape).

    Latents move on the great circle between the two encoded means. Their distance from the origin stays typical of the
    prior (White, "Sampling generative networks", 2016). A conditional model takes the condition of the nearer end.
    Raises `UsageError` for fewer than two records.
    """
    check_numbers(n=n, steps=steps)
    if steps < 2:
        raise UsageError(f"an interpolation needs at least 2 steps (got {steps}).")
    model = require(family, Encodes, "interpolate")
    records = records_of(source, family.data, split, 2 * n)
    pairs = len(records) // 2
    if not pairs:
        raise UsageError(
            f"an interpolation needs at least 2 records; {records.spec.name} has {len(records)} in its"
            f" {split or 'test'} split."
        )
    batch = records.batch(slice(0, 2 * pairs)).to(family.device)
    z = _encoded(model, batch)
    shape, z = z.shape[1:], z.flatten(1)
    t = torch.linspace(0, 1, steps)
    walk = torch.stack([_slerp(z[:pairs], z[pairs:], float(ti)) for ti in t], dim=1).flatten(0, 1)
    cond = None
    if batch.cond is not None:
        nearer = torch.tensor([[i + pairs * (ti > 0.5) for ti in t] for i in range(pairs)]).flatten().long()
        cond = batch.cond[nearer]
    return Rebuilt(records.select(slice(0, 2 * pairs)), _decoded(model, walk.unflatten(1, shape), cond))


@torch.no_grad()
def rebuild_by_level(family: Family, source: AnyData, n: int, split: str | None) -> Rebuilt:
    """Reconstruct records from their first k groups of latents, k = 0 .. K: x ((K + 1) * n, *shape).

    The first k groups are at the means of their posteriors, the others at the means of their priors.
    """
    model = require(family, Latents, "show levels")
    records = records_of(source, family.data, split, n)
    batch = records.batch().to(family.device)
    known: list[Tensor] = []
    rows = []
    for k in range(model.groups + 1):
        z = list(known)
        for j in range(k, model.groups):
            z.append(model.prior(j, z, len(batch), batch.cond).mean)
        rows.append(model.likelihood(z, batch.cond).mean)
        if k < model.groups:
            known.append(model.posterior(k, batch.x, known, batch.cond).mean)
    return Rebuilt(records, torch.cat(rows))


@torch.no_grad()
def decode_plane(family: Family, n: int) -> Tensor:
    """Decode n * n places in the latent plane of a model with two latents, row by row from the top.

    The places are the quantiles (i + 1/2) / n of the standard normal in each direction (Kingma and Welling, 2014).
    Raises `UsageError` for a model with another number of latents.
    """
    check_numbers(n=n)
    model = require(family, Encodes, "draw the manifold")
    shape = model.encode(torch.zeros(1, *family.data.shape, device=family.device)).mean.shape[1:]
    if shape.numel() != 2:
        raise UsageError(
            f"a manifold is drawn for 2 latents, this model has {shape.numel()}: train a VAE with --latent-dim 2."
        )
    at = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    z = torch.stack(torch.meshgrid(-at, at, indexing="ij"), dim=-1).flip(-1).reshape(-1, 2)
    return _decoded(model, z.unflatten(1, shape).to(family.device), None)


def _encoded(model: Encodes, batch: Batch) -> Tensor:
    """E[z | x], some records at a time."""
    parts = [batch[rows] for rows in chunks(len(batch), CHUNK)]
    return torch.cat([model.encode(part.x, part.cond).mean for part in parts])


def _decoded(model: Encodes, z: Tensor, cond: RawCondition | None) -> Tensor:
    """E[x | z], some latents at a time."""
    parts = [(z[rows], None if cond is None else cond[rows]) for rows in chunks(len(z), CHUNK)]
    return torch.cat([model.decode(some, given).mean for some, given in parts])


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t on the great circle from a to b (n, D), norms interpolated linearly; straight if parallel."""
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    angle = torch.arccos(((a / na) * (b / nb)).sum(1, keepdim=True).clamp(-1, 1))
    on_circle = (torch.sin((1 - t) * angle) * a / na + torch.sin(t * angle) * b / nb) / torch.sin(angle)
    curved = on_circle * ((1 - t) * na + t * nb)
    return torch.where(torch.sin(angle) > 1e-4, curved, (1 - t) * a + t * b)
