"""Reconstructions, latent walks, reconstructions by level, and the plane of two latents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.applications.denoising_models import denoising_model, stepper_of, time_grid
from morphogen.applications.records import check_made, records_of
from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises, Encodes, Latents
from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.data.in_memory import AnyData
from morphogen.data.one_picture import Image, fitted, options_of, read, values
from morphogen.sampling import loop
from morphogen.sampling.inversion import inverted

CHUNK = 256  # records that are encoded or decoded together
INVERTED = 64  # records that a denoiser inverts or draws together
FLOW = "unipc"  # the stepper of the way back, which draws no noise


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
    return Rebuilt(records, check_made(_encoded(model, batch.x, batch.cond).flatten(1).cpu()))


def walk_between(family: Family, source: AnyData, n: int, steps: int, split: str | None) -> Rebuilt:
    """`n` walks of `steps` records between pairs of a split, walk after walk: x (n * steps, *shape).

    Latents move on the great circle between the two encoded means. Their distance from the origin stays typical of the
    prior (White, "Sampling generative networks", 2016). A conditional model takes the condition of the nearer end. The
    latents of a denoiser are the noise that its flow leads to the record (`sampling/inversion.py`).
    Raises `UsageError` for fewer than two records.
    """
    check_numbers(n=n, steps=steps)
    records = records_of(source, family.data, split, 2 * n)
    pairs = len(records) // 2
    if not pairs:
        raise UsageError(
            f"an interpolation needs at least 2 records; {records.spec.name} has {len(records)} in its"
            f" {split or 'test'} split."
        )
    batch = records.batch(slice(0, 2 * pairs)).to(family.device)
    return Rebuilt(records.select(slice(0, 2 * pairs)), _walked(family, batch.x, batch.cond, steps))


def walk_between_pictures(family: Family, first: Image, last: Image, steps: int) -> Tensor:
    """A walk of `steps` pictures (steps, *shape) from one picture to another, without conditions."""
    check_numbers(steps=steps)
    options_of(family.data)
    x = torch.cat(
        [values(fitted(read(image, family.data), family.data, image, None), family.data) for image in (first, last)]
    )
    return _walked(family, x.to(family.device), None, steps)


@torch.no_grad()
def _walked(family: Family, x: Tensor, cond: RawCondition | None, steps: int) -> Tensor:
    """Walks from each record of the first half of x to its partner in the second half."""
    if steps < 2:
        raise UsageError(f"an interpolation needs at least 2 steps (got {steps}).")
    inverts = Encodes not in family.capabilities and Denoises in family.capabilities
    z = _noise_of(family, x, cond) if inverts else _encoded(require(family, Encodes, "interpolate"), x, cond)
    pairs, shape, z = len(z) // 2, z.shape[1:], z.flatten(1)
    t = torch.linspace(0, 1, steps)
    walk = torch.stack([_slerp(z[:pairs], z[pairs:], float(ti)) for ti in t], dim=1).flatten(0, 1).unflatten(1, shape)
    if cond is not None:
        nearer = torch.tensor([[i + pairs * (ti > 0.5) for ti in t] for i in range(pairs)]).flatten().long()
        cond = cond[nearer]
    return _drawn(family, walk, cond) if inverts else _decoded(require(family, Encodes, "interpolate"), walk, cond)


def _noise_of(family: Family, x: Tensor, cond: RawCondition | None) -> Tensor:
    """The states at t = 1 from which a denoiser's flow leads to records (n, *shape)."""
    model, rng = denoising_model(family, "interpolate"), Rng(0, family.device)
    if family.needs_context:
        raise UsageError("this model restores pictures, and has none of its own between two of them.")
    times, found = time_grid(model, stepper_of(model, FLOW), None, None), []
    for rows in chunks(len(x), INVERTED):
        here = rng.shifted(rows.start)
        x_0 = model.encoded(x[rows], here, len(x[rows]))
        noise = here.normal("inversion", len(x_0), x_0.shape[1:], x_0.dtype)
        found.append(inverted(model, x_0, times, noise, None if cond is None else cond[rows]))
    return torch.cat(found)


def _drawn(family: Family, z: Tensor, cond: RawCondition | None) -> Tensor:
    """The records (n, *shape) to which a denoiser's flow leads from states at t = 1."""
    model = denoising_model(family, "interpolate")
    method = stepper_of(model, FLOW)
    times, found = time_grid(model, method, None, None), []
    for rows in chunks(len(z), INVERTED):
        given = None if cond is None else cond[rows]
        noise = loop.addressed(Rng(0, family.device), len(z[rows]), z[rows])
        found.append(model.decoded(loop.sample(model, method, z[rows], times, noise, given)))
    return torch.cat(found)


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


def _encoded(model: Encodes, x: Tensor, cond: RawCondition | None) -> Tensor:
    """E[z | x], some records at a time."""
    parts = chunks(len(x), CHUNK)
    return torch.cat([model.encode(x[rows], None if cond is None else cond[rows]).mean for rows in parts])


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
