"""The variances of the reverse chain."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Variances
from morphogen.applications.chains import measure_variances
from morphogen.core.chunks import limited
from morphogen.data.in_memory import AnyData


@limited
def variances(
    model: AnyModel,
    data: AnyData,
    n: int = 256,
    *,
    steps: int | None = None,
    grid: str | None = None,
    seed: int = 0,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Variances:
    """Measure the learned variance of the reverse chain between its bounds (Nichol and Dhariwal, 2021).

    The strides are those of `grid` in `steps` steps but for the last, onto t = 0, whose beta_tilde is 0.

    Args:
        model: a held diffusion model with a learned variance, or the path of its directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        n: how many records to average over, at least 2.
        steps, grid: of the chain; None takes the model's own.
        seed: where the noise starts.
        split, device: as of `forward_chain`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The variances of each stride.

    Raises:
        UsageError: a model whose variance is fixed.

    Example:
        >>> mg.variances("runs/diffusion", "digits", n=16).save("variances.png")
    """
    return Variances(*measure_variances(open_model(model, device).module, data, n, steps, grid, seed, split))
