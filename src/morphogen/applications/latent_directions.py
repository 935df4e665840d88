r"""Find directions in a latent space that change a property of records: a class, an attribute, a number.

For latents z of n records and the property y of each (0 or 1, or a number), the direction is that of ridge regression,

    w = (C + r I)^-1 c,   C = Cov z,   c = Cov(z, y),   r = 0.1 tr C / D.

For y in {0, 1}, C^-1 c is the normal of the plane that separates the two groups by Fisher's discriminant (1936), as
Shen et al. ("Interpreting the latent space of GANs for semantic face editing", 2020) take it, here in closed form.
It is the shortest step for a given change of the prediction, so properties that only correlate with y do not change.
Without r, the step would follow latents that the model hardly uses, where C is near 0. For z ~ N(0, I) all of these,
and the difference of group means, are the same direction: that of E grad P(y | z) (Stein).

The quality of a direction is Harrell's share (1982) of ordered pairs with different y among other records,

    P(w.z_i < w.z_j | y_i < y_j),   ties counting half:

which is the area under the ROC curve for two groups. Chance is 1/2 for rare properties too; the accuracy of always
naming the more frequent group depends on the frequency.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.records import Records
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

RIDGE = 0.1  # share of the mean variance of a latent
MIN_RECORDS = 5  # least records on either side of the mean property


def properties(records: Records) -> dict[str, Tensor]:
    """The properties of records by name: (n,) float64 each, NaN if unknown.

    A class has its own name, and a value of an attribute has the name "attribute=value"; both are 0 or 1. A real-valued
    attribute has its own name.
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
    """Whether a property (n,) varies enough among the records to find its direction, or to measure it."""
    return min(int((y > y.mean()).sum()), int((y < y.mean()).sum())) >= MIN_RECORDS


def direction(z: Tensor, y: Tensor) -> Tensor:
    """The direction w (D,) float64 of a property.

    Args:
        z: latents (n, D).
        y: the property (n,): 0 or 1, or a number.

    Returns:
        w; its length is a standard deviation of z along w.

    Raises:
        DataError: the latents or the property are equal for all records.
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
    """The share of ordered pairs among records with different y, with its jackknife interval.

    If all pairs are in order, the interval has no width; then only more records can show a wrong pair.

    Args:
        projection: (n,) projections of the latents on the direction.
        y: (n,) the property.

    Returns:
        The share with its interval.
    """
    p, y = projection.double(), y.double()
    apart = (y[:, None] - y).sign()
    agreeing = (0.5 * (1.0 + apart * (p[:, None] - p).sign()) * apart.abs()).sum(1)  # over the pairs of each record
    pairs = apart.abs().sum(1)
    share = float(agreeing.sum() / pairs.sum())
    without = (agreeing.sum() - 2.0 * agreeing) / (pairs.sum() - 2.0 * pairs)
    variance = float((len(y) - 1) * without.var(correction=0))
    low, high = (share + side * intervals.Z * variance**0.5 for side in (-1.0, 1.0))
    return Estimate(share, (max(0.0, low), min(1.0, high)))
