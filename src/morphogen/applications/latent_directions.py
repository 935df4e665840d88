r"""Directions in a latent space along which a property of records changes: a class, an attribute, a number.

For latents z of n records and the property y of each (0 or 1, or a number), the direction is that of ridge regression,

    w = (C + r I)^-1 c,   C = Cov z,   c = Cov(z, y),   r = 0.1 tr C / D.

For y in {0, 1}, C^-1 c is the normal of the plane that separates the two groups by Fisher's discriminant (1936), as
Shen et al. ("Interpreting the latent space of GANs for semantic face editing", 2020) take it, here in closed form.
It is the shortest step that changes the prediction by so much, so that what merely occurs together with y stays as it
is. Alone it would run along latents that the model hardly uses, where C is near 0, and r keeps it from there. For
z ~ N(0, I) all of these, and the difference of group means too, are one direction: that of E grad P(y | z) (Stein).

How well a direction orders records that it was not found from is Harrell's share (1982) of pairs with different y,

    P(w.z_i < w.z_j | y_i < y_j),   ties counting half:

for two groups the area under the ROC curve. Chance is 1/2, however rare the property, where the accuracy of always
naming the more frequent group would be anything.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.records import Records
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

RIDGE = 0.1  # of the mean variance of a latent
MIN_RECORDS = 5  # records on either side of the mean property, to find its direction and to measure it


def properties(records: Records) -> dict[str, Tensor]:
    """What is known of records, by name: (n,) float64 each, NaN where it is not known.

    A class by its own name and an attribute's value as "attribute=value", 1 for records that have it; a real-valued
    attribute by its name.
    """
    found = {}
    if records.labels is not None:
        labels = records.labels.cpu()
        for k, name in enumerate(records.spec.classes):
            found[name] = torch.where(labels < 0, torch.nan, (labels == k).double())
    if records.attributes is not None:
        values = records.attributes.cpu().double()
        if records.present is not None:
            values = torch.where(records.present.cpu(), values, torch.nan)
        for column, attribute in zip(values.T, records.spec.attributes, strict=True):
            if not attribute.values:
                found[attribute.name] = column
            for k, value in enumerate(attribute.values):
                found[f"{attribute.name}={value}"] = torch.where(column.isnan(), torch.nan, (column == k).double())
    return found


def enough(y: Tensor) -> bool:
    """Whether a property (n,) varies among records enough to look for its direction, or to measure it."""
    return min(int((y > y.mean()).sum()), int((y < y.mean()).sum())) >= MIN_RECORDS


def direction(z: Tensor, y: Tensor) -> Tensor:
    """w (D,) float64 for latents z (n, D) and a property y (n,), as long as a standard deviation of z along it.

    Raises `DataError` where the latents say nothing of it: they or the property are equal for all records.
    """
    z, y = z.double() - z.double().mean(0), y.double() - y.double().mean()
    covariance = z.T @ z / len(z)
    variances = covariance.diagonal()
    if not variances.sum() > 0 or not (z.T @ y).abs().sum() > 0:
        raise DataError("there is no direction: the latents of all records are equal, or the property is.")
    ridge = torch.diag(torch.full_like(variances, RIDGE * float(variances.mean())))
    w = torch.linalg.solve(covariance + ridge, z.T @ y / len(z))
    unit = w / w.norm()
    return unit * (z @ unit).square().mean().sqrt()


def ordered(projection: Tensor, y: Tensor) -> Estimate:
    """The share of pairs of records with different y (n,) that projections (n,) have in order; jackknife interval.

    Where all pairs are in order the interval has no width: it then takes more records to find one that is not.
    """
    p, y = projection.double(), y.double()
    apart = (y[:, None] - y).sign()
    agreeing = (0.5 * (1.0 + apart * (p[:, None] - p).sign()) * apart.abs()).sum(1)  # of the pairs of each record
    pairs = apart.abs().sum(1)
    share = float(agreeing.sum() / pairs.sum())
    without = (agreeing.sum() - 2.0 * agreeing) / (pairs.sum() - 2.0 * pairs)
    variance = float((len(y) - 1) * without.var(correction=0))
    low, high = (share + side * intervals.Z * variance**0.5 for side in (-1.0, 1.0))
    return Estimate(share, (max(0.0, low), min(1.0, high)))
