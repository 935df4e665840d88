"""Molecules with wanted properties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.designs import Design, DesignedMolecule
from morphogen.api.results.shown import warn_of
from morphogen.applications.design.designing import choose_method, describe
from morphogen.applications.design.designing import design as search
from morphogen.applications.design.oracle import CALLS, CountedOracle
from morphogen.applications.design.wants import read_wants
from morphogen.core.errors import DataError, MorphogenError, UsageError
from morphogen.core.limits import check_numbers
from morphogen.data import load
from morphogen.data.molecules.standard_form import standard_form
from morphogen.data.molecules.writing import as_smiles
from morphogen.data.sequences.tokenizers import to_texts

KNOWN = 100_000  # known molecules that designed ones are compared with, at most


def design(
    model: AnyModel,
    want: str = "",
    out: Path | str | None = None,
    *,
    calls: int = 2000,
    method: str | None = None,
    similar_to: tuple[str, float] | None = None,
    keep: str | None = None,
    oracle: str | None = None,
    seconds: float = 60.0,
    data: str | Sequence[str] | None = None,
    start: str | None = None,
    seed: int = 0,
    safety: bool = True,
    device: str | None = None,
) -> Design:
    """Search for molecules with wanted properties, counting every oracle call.

    A call is a question about a molecule that was not asked about before. Latents are searched by CMA-ES (Hansen and
    Ostermeier, 2001); an autoregressive model is tuned towards the score as by REINVENT (Olivecrona et al., 2017).

    Args:
        model: a model of molecules.
        want: such as "qed>=0.9, logp in 2..3, sa<=3"; the properties are those of `attributes=`.
        out: a folder for the results. Answers are kept there as they come, so a design that was stopped goes on.
        calls: how often the oracle may be asked.
        method: latents, tuning or neighbors; None: what suits the model.
        similar_to: a molecule, and the least Tanimoto similarity to it.
        keep: SMILES or SMARTS that every molecule must contain.
        oracle: "module:function" of your own, from SMILES to a number, larger is better; a want may bound `oracle`.
        seconds: the longest that a call of that function may take.
        data: known molecules to compare with; None: those that the model was trained on, if they are found.
        start: a molecule to begin at; None: `similar_to`, or anywhere.
        seed: of the search.
        safety: leave out molecules of refused classes (chemical weapons, controlled opioids).
        device: where to compute; None leaves a held model where it is.

    Returns:
        The molecules, the best first, and what it took to find them.

    Raises:
        UsageError: wants that contradict each other or cannot be read, an unknown method, or nothing is wanted.
        CapabilityError: the model cannot be searched in this way.

    Example:
        >>> found = mg.design("runs/molecules", "qed>=0.9, logp in 2..3", "runs/design", calls=500)
        >>> found.met, found.calls
    """
    check_numbers(seed=seed, calls=calls, seconds=seconds)
    wants = read_wants(want, oracle is not None) if want.strip() else ()
    if not wants and oracle is None and similar_to is None:
        raise UsageError(
            'nothing is wanted: say want="qed>=0.9, logp in 2..3", give an oracle, or a molecule to be like.'
        )
    if similar_to is not None:
        if not 0.0 < similar_to[1] <= 1.0:
            raise UsageError(f"a similarity lies between 0 and 1 (got {similar_to[1]:g}).")
        similar_to = (_molecule(similar_to[0], "similar_to"), similar_to[1])
    begin = _molecule(start, "start") if start is not None else similar_to[0] if similar_to is not None else None
    family = open_model(model, device).module
    chosen = choose_method(family, method)
    folder = None if out is None else Path(out).expanduser()
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{out} is a file: give the folder to write.")
        folder.mkdir(parents=True, exist_ok=True)
    asked = CountedOracle(
        wants,
        calls,
        function=oracle,
        similar_to=similar_to,
        keep=keep,
        seconds=seconds,
        file=None if folder is None else folder / CALLS,
        safety=safety,
    )
    curve = search(family, asked, chosen, seed, begin)
    best = [answer for answer in asked.best if not answer.error]
    known, warnings = _known(data, family.data.source)
    molecules = tuple(
        DesignedMolecule(
            a.smiles,
            a.score,
            all(w.is_met(a.values.get(w.name, float("nan"))) for w in asked.wants if w.low < float("inf")),
            a.values,
            *k,
        )
        for a, k in zip(best, describe(best, known), strict=True)
    )
    if asked.calls < calls:
        warnings.append(f"{asked.calls:,} of {calls:,} calls were used: the search found nothing new any more.")
    if asked.failures:
        warnings.append(f"{len(asked.failures):,} calls failed; each is listed with its reason.")
    said = tuple(str(w) for w in asked.wants if w.low < float("inf")) or ("the oracle's value, as large as can be",)
    failures = {a.smiles: a.error for a in asked.failures}
    refused = {smiles: tuple(found) for smiles, found in asked.refused.items()}
    found = Design(molecules, said, chosen, (asked.calls, calls), tuple(curve), failures, refused, warn_of(warnings))
    if folder is not None:
        found.save(folder)
    return found


def _molecule(smiles: str, what: str) -> str:
    try:
        return standard_form(smiles).smiles
    except DataError as error:
        raise UsageError(f"{what} is no molecule: {smiles!r} {error}.") from None


def _known(data: str | Sequence[str] | None, source: str) -> tuple[list[str], list[str]]:
    """Known molecules, and what is to be said if there are none."""
    if data is not None and not isinstance(data, str):
        return [_molecule(text, "data") for text in data], []
    try:
        records = load(data or source, strict=False).train
        schema = records.spec.sequence
        if schema is None:
            raise DataError(f"{data or source} holds no molecules.")
        return as_smiles(schema, to_texts(schema, records.stored[:KNOWN])), []
    except MorphogenError as error:
        if data is not None:
            raise
        return [], [f"the training molecules are not found, so no nearest known molecule is given ({error})"]
