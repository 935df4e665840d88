"""Pictures changed: started again from their noised selves (Meng et al., "SDEdit", 2022), whole or in part.

The strength of an edit is the time t from which the reverse process starts, at x_t = alpha_t x_0 + sigma_t eps: 1
forgets the picture, small ones redraw details alone. A mask says which pixels are redrawn; the others stay as they
are, and what is redrawn knows of them (`sampling/inverse.py`).
"""

from __future__ import annotations

from torch import Tensor

from morphogen.applications.restoration import of_means
from morphogen.core.batch import RawCondition
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.sampling import loop
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.editing import noised
from morphogen.sampling.inverse import inpainting
from morphogen.sampling.steppers import Stepper


def edited(
    denoiser: Denoiser,
    stepper: Stepper,
    times: Tensor,
    x_0: Tensor,
    rng: Rng,
    cond: RawCondition | None = None,
    redrawn: Tensor | None = None,
) -> Tensor:
    """Edits of pictures x_0 (n, *shape), each with noise of its own; edit i depends on (seed, i).

    times    from the strength down to 0, as of `sampling.grids` with that start
    redrawn  bool, broadcasting to x_0: the pixels to draw anew; None: all
    Raises `UsageError` for a mask that redraws nothing.
    """
    x = noised(x_0, float(times[0]), denoiser.schedule, rng, len(x_0))
    if redrawn is not None:
        if not redrawn.any():
            raise UsageError("the mask is black: nothing would be redrawn; make white what is to be.")
        denoiser, stepper = inpainting(denoiser, x_0, ~redrawn), of_means(stepper)
    return loop.sample(denoiser, stepper, x, times, loop.addressed(rng, len(x), x), cond)
