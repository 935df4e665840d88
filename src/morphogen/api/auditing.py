"""Audits of a model: what it must answer for."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from morphogen import artifact
from morphogen.api.measuring import source_name
from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results.audits import Audit
from morphogen.api.results.shown import warn_of
from morphogen.api.retraining import retrainer
from morphogen.core.errors import ArtifactError, UsageError, unknown
from morphogen.core.limits import check_numbers
from morphogen.data import load
from morphogen.data.in_memory import AnyData
from morphogen.safeguards.audit import Check, Finding, Subject
from morphogen.safeguards.audit import audit as run_checks
from morphogen.safeguards.memorization import memorization
from morphogen.safeguards.privacy.check import PrivacyCheck

CHECKS = ("privacy", "memorization")


def audit(
    model: AnyModel,
    data: AnyData,
    only: str | Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    references: int = 0,
    canaries: int = 0,
    samples: int | None = None,
    split: str = "test",
    n: int = 1000,
    seed: int = 0,
    device: str | None = None,
    progress: bool | None = None,
    save: bool = True,
) -> Audit:
    """Attack a model, and say what the attacks have found beside their controls.

    Args:
        model: a held model, or the path of a model directory.
        data: the data that it was trained on, with their held-out records.
        only: which checks, by name: "privacy" (attacks on training records) and "memorization" (copies among drawn
            records); None is both.
        out: a folder for the report and for the models that are trained; None keeps neither.
        references: how many reference models are trained for the likelihood ratio, an even number; 0: none.
        canaries: how many random records are drawn, of which half are planted in a training; 0: none.
        samples: how many records the model draws; None: as many as training records, at most 2,000.
        split: the records that were not trained on, "test" or "validation".
        n: how many training and how many held-out records are compared, at most.
        seed: of all noise and choices.
        device: where to compute; None leaves a held model where it is.
        progress: show the progress of trainings on standard error; None does so on a terminal.
        save: keep the results in the model's directory.

    Returns:
        The results of each check; `violations` are sentences about what must not be, such as a claim of privacy that is
        refuted.

    Raises:
        UsageError: an unknown check, an odd number of reference models, or too few canaries.
        DataError: too few records.

    Example:
        >>> found = mg.audit("runs/first", "digits", "privacy", n=50, samples=200)
        >>> found["membership-likelihood"].interval, found.violations
    """
    check_numbers(n=n, seed=seed, samples=samples, references=references, canaries=canaries)
    names = [only] if isinstance(only, str) else list(only or CHECKS)
    for name in names:
        if name not in CHECKS:
            raise UsageError(unknown("check", name, CHECKS))
    held = open_model(model, device)
    subject = Subject(held.module, load(data, like=held.data), split, n, samples, seed)
    shown = progress is True or (progress is None and sys.stderr is not None and sys.stderr.isatty())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if out is None else Path(out).expanduser()
        records = len(subject.dataset.train)
        checks = {name: _check(name, held, records, folder, references, canaries, shown) for name in names}
        found = run_checks(subject, checks, named=only is not None)
    result = Audit({"model": str(held.path), "family": held.family}, source_name(data), found)
    notes = _keep(held, found) if save else []
    result = result.with_notes(notes)
    warn_of(result.warnings)
    if out is not None:
        result.save(out)
    return result


def _check(
    name: str, held: OpenModel, records: int, folder: Path, references: int, canaries: int, progress: bool
) -> Check:
    if name == "memorization":
        return memorization
    retrain = retrainer(held, records, folder, progress) if references or canaries else None
    return PrivacyCheck(retrain, references, canaries)


def _keep(model: OpenModel, found: Mapping[str, Finding]) -> list[str]:
    """Write the results into the model's folder. Returns a note, and the numbers live on, where that fails."""
    try:
        for check, finding in found.items():
            for result in finding.results:
                artifact.write_audit(model.path, result.name, {**result.to_dict(), "check": check})
            for violation in finding.violations:
                artifact.write_audit(
                    model.path, f"{check}-violation", {"name": f"{check}-violation", "said": violation}
                )
    except ArtifactError as error:
        return [f"the numbers are not kept in the model's folder: {error}"]
    return []
