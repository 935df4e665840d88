"""The detectors by name: those without a model, and the scores that a model can give.

The default is one for all data: the sum of the surprises of `PICTURES`, of `LARGE_PICTURES` or of `ROWS`, and of the
score of the model, if there is one, that `MODEL_SCORES` names first. docs/results/anomalies.md says how it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from morphogen.applications.anomalies.detector import Detector
from morphogen.applications.anomalies.scores.baselines import MORE_OF_PICTURES, MORE_OF_ROWS, OF_PICTURES, OF_ROWS
from morphogen.applications.anomalies.scores.ensemble import Ensemble
from morphogen.applications.anomalies.scores.model_scores import of_model
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import CapabilityError, UsageError, unknown
from morphogen.core.family import Family

DEFAULT = "default"
PICTURES = ("local fine histograms", "local upright histograms", "principal bands")
LARGE = 48  # pixels of the shorter side, from which on an anomaly is thought to be local
LARGE_PICTURES = ("planted defects",)
ROWS = ("local neighbors", "local quartiles", "local ranks", "column tails")
MODEL_SCORES = ("denoising", "reconstruction", "likelihood", "realness")
Makers = Mapping[str, Callable[[], Detector]]


def baselines(spec: DataSpec) -> Makers:
    """The detectors that need no model."""
    if spec.is_picture:
        return OF_PICTURES
    return {} if spec.kind in ("sequence", "discrete") else OF_ROWS


def more(spec: DataSpec) -> Makers:
    """Further detectors that need no model: parts of the default."""
    return {} if not baselines(spec) else MORE_OF_PICTURES if spec.is_picture else MORE_OF_ROWS


def of_family(family: Family | None) -> Makers:
    """The scores of a model."""
    found = [] if family is None else of_model(family)
    return {score.name: partial(_same, score) for score in found}


def _same(detector: Detector) -> Detector:
    return detector


def default_names(spec: DataSpec, family: Family | None) -> tuple[str, ...]:
    """What the default consists of."""
    pictures = LARGE_PICTURES if spec.is_picture and min(spec.shape[1:]) >= LARGE else PICTURES
    known = pictures if spec.is_picture else ROWS if baselines(spec) else ()
    own = of_family(family)
    return (*known, *[name for name in MODEL_SCORES if name in own][:1])


def detector(asked: str, spec: DataSpec, family: Family | None, seed: int = 0) -> Detector:
    """The detector called `asked`; several names joined by + are an ensemble.

    Raises:
        UsageError: a name that is not known for these records and this model.
        CapabilityError: no score fits them.
    """
    known = {**baselines(spec), **more(spec), **of_family(family)}
    if not known:
        raise CapabilityError(f"there is no score of {spec.kind} records without a model that scores them: give one.")
    names = default_names(spec, family) if asked == DEFAULT else [name.strip() for name in asked.split("+")]
    for name in names:
        if name not in known:
            raise UsageError(unknown("score", name, [*known, DEFAULT]))
    if len(set(names)) < len(names):
        raise UsageError(f"each score of an ensemble counts once (got {asked!r}).")
    members = [known[name]() for name in names]
    return members[0] if len(members) == 1 else Ensemble(members, seed, "cpu" if family is None else family.device)
