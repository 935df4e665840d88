"""Molecules around a scaffold."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications.completion import complete as complete_molecules
from morphogen.applications.records import as_stored
from morphogen.core.errors import UsageError
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng

FEW = 0.1  # share of drafts that became molecules, below which that is said


def complete(
    model: AnyModel,
    scaffold: str,
    n: int = 64,
    seed: int = 0,
    *,
    steps: int | None = None,
    temperature: float | None = None,
    device: str | None = None,
) -> Pictures:
    """Draw molecules that hold a scaffold: its tokens stay, and the model draws what hangs on them.

    Hidden tokens of a draft are drawn given all others (masked diffusion; Sahoo et al., 2024). What has lost the
    scaffold or is no molecule is drawn again, so every molecule that comes out holds it.

    Args:
        model: a model of molecules that fills in, such as masked_diffusion.
        scaffold: SMILES; `*` marks where something hangs: "c1cc(*)ncc1*". Without marks it is any atom with a hydrogen.
        n: how many.
        seed: where the noise starts. The first molecules are the same whatever `n` is.
        steps: of drawing; as many as hidden tokens draws one at a time.
        temperature: below 1 for less variety; 1 is as trained.
        device: where to draw; None leaves a held model where it is.

    Returns:
        The molecules, with a warning where few drafts became one, or where fewer than `n` were found.

    Raises:
        UsageError: the scaffold cannot be read, nothing can hang on it, or no molecule was found.
        CapabilityError: a model that does not fill in.

    Example:
        >>> made = mg.complete("runs/masked", "CC", n=10)
        >>> made.texts[0]
    """
    check_numbers(n=n, seed=seed, steps=steps, temperature=temperature)
    family = open_model(model, device).module
    how = {} if temperature is None else {"temperature": temperature}
    found = complete_molecules(family, scaffold, n, Rng(seed, family.device).child("complete"), steps=steps, **how)
    if not len(found.x):
        raise UsageError(
            f"no molecule with this scaffold came out of {found.drafts:,} drafts: the model knows no such ones. Take"
            " a smaller scaffold, or train it longer."
        )
    share, notes = len(found.x) / found.drafts, list[str]()
    if len(found.x) < n:
        notes.append(
            f"{len(found.x):,} of {n:,} molecules were found in {found.drafts:,} drafts: the model hardly knows what"
            " hangs on this scaffold."
        )
    elif share < FEW:
        notes.append(f"one draft in {1 / share:.0f} became a molecule with the scaffold; the others were drawn again.")
    return Pictures(as_stored(found.x, family.data), family.data, None, None, warn_of(notes))
