"""What a model's latents say: records through them, walks between them, their levels and their plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from morphogen import artifact
from morphogen.api.records import Pictures, as_stored, check_made, pictures_of, records_of
from morphogen.core import capabilities, registry
from morphogen.core.errors import UsageError
from morphogen.core.family import require
from morphogen.core.limits import check_numbers


def reconstruct(model: Path | str, data: str, n: int = 16, *, split: str = "test") -> tuple[Pictures, Pictures]:
    """Records of a split, and what the model makes of them: the mean of p(x | z) at the mean of q(z | x)."""
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "reconstruct", registry.having(capabilities.Encodes))
    records = records_of(data, family.data, split, n)
    batch = records.batch()
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean
        x = cast(Any, family).decode(z, batch.cond).mean
    return pictures_of(records, records.stored.numpy()), pictures_of(records, as_stored(x, family.data))


def interpolate(model: Path | str, data: str, n: int = 8, *, steps: int = 8, split: str = "test") -> Pictures:
    """`n` walks of `steps` pictures between pairs of records, row after row: x (n * steps, *shape).

    Latents move on the great circle between the two encoded means, which keeps their distance from the
    origin typical of the prior (White, 2016). For a conditional model the condition is that of the nearer end.
    """
    check_numbers(n=n, steps=steps)
    if steps < 2:
        raise UsageError(f"an interpolation needs at least 2 steps (got {steps}).")
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "interpolate", registry.having(capabilities.Encodes))
    records = records_of(data, family.data, split, 2 * n)
    if len(records) < 2:
        raise UsageError(f"an interpolation needs at least 2 records; {data} has {len(records)} in its {split} split.")
    pairs = len(records) // 2
    batch = records.batch(slice(0, 2 * pairs))
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean
        shape, z = z.shape[1:], z.flatten(1)
        t = torch.linspace(0, 1, steps)
        walk = torch.stack([_slerp(z[:pairs], z[pairs:], float(ti)) for ti in t], dim=1).flatten(0, 1)
        cond = None
        if batch.cond is not None:
            nearer = torch.tensor([[i + pairs * (ti > 0.5) for ti in t] for i in range(pairs)]).flatten().long()
            cond = batch.cond[nearer]
        x = cast(Any, family).decode(walk.unflatten(1, shape), cond).mean
    return Pictures(as_stored(x, family.data), family.data, ids=batch.ids.numpy())


def encode(model: Path | str, data: str, *, split: str = "test", n: int | None = None) -> Pictures:
    """The means of q(z | x) for records of a split: x (n, D) are latents; ids and labels are the records'."""
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "encode", registry.having(capabilities.Encodes))
    records = records_of(data, family.data, split, n)
    batch = records.batch()
    with torch.no_grad():
        z = cast(Any, family).encode(batch.x, batch.cond).mean.flatten(1)
    return pictures_of(records, check_made(z).numpy())


def levels(model: Path | str, data: str, n: int = 8, *, split: str = "test") -> tuple[Pictures, Pictures]:
    """What each level of latents knows: records, and what the model makes of them from their first k groups.

    For k = 0 .. K, row after row of `n`, the first k groups are at the means of their posteriors and the others at
    those of their priors: x ((K + 1) * n, *shape). So the first row knows nothing of the records, and the last all.
    """
    family = artifact.load(model).family
    require(family, capabilities.Latents, "show levels", registry.having(capabilities.Latents))
    records = records_of(data, family.data, split, n)
    batch, ladder = records.batch(), cast(Any, family)
    known: list[Tensor] = []
    rows = []
    with torch.no_grad():
        for k in range(ladder.groups + 1):
            z = list(known)
            for j in range(k, ladder.groups):
                z.append(ladder.prior(j, z, len(batch), batch.cond).mean)
            rows.append(ladder.likelihood(z, batch.cond).mean)
            if k < ladder.groups:
                known.append(ladder.posterior(k, batch.x, known, batch.cond).mean)
    return pictures_of(records, records.stored.numpy()), pictures_of(records, as_stored(torch.cat(rows), family.data))


def manifold(model: Path | str, n: int = 20) -> Pictures:
    """The latent plane of a model of two latents: n * n decoded places, x (n * n, *shape), row by row from the top.

    They are the quantiles (i + 1/2) / n of the standard normal in each direction (Kingma and Welling, 2014).
    """
    check_numbers(n=n)
    family = artifact.load(model).family
    require(family, capabilities.Encodes, "draw the manifold", registry.having(capabilities.Encodes))
    with torch.no_grad():
        shape = cast(Any, family).encode(torch.zeros(1, *family.data.shape)).mean.shape[1:]
        if shape.numel() != 2:
            raise UsageError(
                f"a manifold is drawn for 2 latents, this model has {shape.numel()}: train a VAE with --latent-dim 2."
            )
        at = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
        z = torch.stack(torch.meshgrid(-at, at, indexing="ij"), dim=-1).flip(-1).reshape(-1, 2)
        x = cast(Any, family).decode(z.unflatten(1, shape), None).mean
    return Pictures(as_stored(x, family.data), family.data)


def _slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t on the great circle from a to b (n, D), norms interpolated linearly; straight if parallel."""
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    angle = torch.arccos(((a / na) * (b / nb)).sum(1, keepdim=True).clamp(-1, 1))
    on_circle = (torch.sin((1 - t) * angle) * a / na + torch.sin(t * angle) * b / nb) / torch.sin(angle)
    curved = on_circle * ((1 - t) * na + t * nb)
    return torch.where(torch.sin(angle) > 1e-4, curved, (1 - t) * a + t * b)
