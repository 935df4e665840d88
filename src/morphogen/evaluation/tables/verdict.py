"""The verdict on synthetic rows, in words, on two axes: useful and private.

**Useful** rests on fidelity: accuracy, associations and the two-sample test, each beside its floor. Training on
synthetic rows and testing on real ones can spoil this verdict. It cannot make it, because rows with independent columns
reach nearly the value of real rows on many data. Tests on fewer than 200 rows that find nothing decide nothing.

**Private** is said only if a membership attack was tried on enough rows and failed. Distances alone cannot show
privacy. Even then it means "against the attacks tried"; a guarantee needs training with differential privacy. Every
test of privacy has the level 5 % divided by the number of tests, so fresh real rows are called leaking in at most 5 %
of cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from morphogen.core.spec import Spec
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.table_metrics import METRICS

Useful = Literal["useful", "partly useful", "not useful", "not decided"]
Private = Literal[
    "private against the attacks tried",
    "leaks",
    "a copy of training rows",
    "interpolations between training rows",
    "not decided",
]
LEVEL = 0.05
MIN_ROWS = 200  # of either kind; with fewer, a test that finds no difference, or an attack that fails, says little
COPIED = 0.5  # share of equal rows, beyond that of held-out rows, from which all of it is called a copy
BETWEEN = 0.2  # likewise, of rows on a line between two training rows


class Verdict(Spec):
    """What the measures say of synthetic rows, in words.

    useful, private      the word on each axis
    why_useful, why_private  the numbers that it rests on

    Example:
        >>> mg.evaluate("runs/patients", "patients.csv").verdict.private
    """

    useful: Useful
    why_useful: str
    private: Private
    why_private: str

    def __str__(self) -> str:
        return f"{self.useful} ({self.why_useful}); {self.private} ({self.why_private})"


def decide(results: Sequence[Result]) -> Verdict:
    """The verdict that the results allow."""
    found = {result.name: result for result in results if result.name in METRICS}
    useful, why_useful = _useful(found)
    private, why_private = _private(found)
    return Verdict(useful=useful, why_useful=why_useful, private=private, why_private=why_private)


# ---------------------------------------------------------------------------------------------- useful


def _useful(found: Mapping[str, Result]) -> tuple[Useful, str]:
    marks: list[tuple[str, str]] = []
    for name, grade in (("accuracy", _accuracy), ("associations", _ratio), ("two_sample", _two_sample)):
        if name in found:
            marks.append(grade(found[name]))
    if not marks:
        if any(name.startswith("tstr") for name in found):
            return "not decided", "only training on synthetic rows was measured, which says nearly nothing by itself"
        return "not decided", "no measure of fidelity"
    if "two_sample" not in found:
        return "not decided", "no classifier tried to tell the rows from real ones; " + "; ".join(w for _, w in marks)
    marks += [_tstr(found[name]) for name in ("tstr_linear", "tstr_boosting") if name in found]
    grades = [mark for mark, _ in marks]
    why = "; ".join(words for _, words in marks)
    if all(mark == "good" for mark in grades):
        if (n := found["two_sample"].n) < MIN_ROWS:
            return "not decided", f"{n} rows are too few to rely on a test that finds no difference: {why}"
        return "useful", why
    return ("not useful" if "poor" in grades else "partly useful"), why


def _accuracy(result: Result) -> tuple[str, str]:
    error, floor = 1.0 - result.value, 1.0 - (result.floor if result.floor is not None else 1.0)
    ratio = error / floor if floor > 0.0 else (1.0 if error <= 0.0 else float("inf"))
    return _grade(ratio, 1.5, 3.0), f"marginals {_times(ratio)} the error of real rows"


def _ratio(result: Result) -> tuple[str, str]:
    floor = result.floor or 0.0
    ratio = result.value / floor if floor > 0.0 else (1.0 if result.value <= 0.0 else float("inf"))
    return _grade(ratio, 2.0, 5.0), f"associations {_times(ratio)} the error of real rows"


def _two_sample(result: Result) -> tuple[str, str]:
    low, high = result.interval or (result.value, result.value)
    mark = "good" if low <= 0.6 and high <= 0.8 else "poor" if low > 0.8 else "middling"
    return mark, f"a classifier tells them from real rows with AUC {result.value:.3f}"


def _tstr(result: Result) -> tuple[str, str]:
    real = result.floor or 0.0
    share = result.value / real if real > 0.0 else 1.0
    high = (result.interval[1] if result.interval else result.value) / real if real > 0.0 else 1.0
    mark = "good" if share >= 0.97 else "poor" if high < 0.8 else "middling"
    what = "linear" if result.name == "tstr_linear" else "boosted"
    return mark, f"{what} predictors reach {share:.1%} of what real rows teach"


def _grade(ratio: float, good: float, poor: float) -> str:
    return "good" if ratio <= good else "poor" if ratio > poor else "middling"


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times"


# --------------------------------------------------------------------------------------------- private


def _private(found: Mapping[str, Result]) -> tuple[Private, str]:
    tests = [result for name, result in found.items() if METRICS[name].axis == "privacy"]
    if not tests:
        return "not decided", "no measure of privacy"
    alarmed = {r.name for r in tests if float(r.details.get("p_value", 1.0)) < LEVEL / len(tests)}
    why = "; ".join(_said(result) for result in tests if result.name in alarmed)
    if "duplicates" in alarmed and _beyond(found["duplicates"]) >= COPIED:
        return "a copy of training rows", why
    if "interpolation" in alarmed and _beyond(found["interpolation"]) >= BETWEEN:
        return "interpolations between training rows", why
    if alarmed:
        return "leaks", why
    said = "; ".join(_said(result) for result in tests)
    if "membership" not in found:
        return "not decided", f"only distances were measured, and they cannot show privacy: {said}"
    m = int(found["membership"].details.get("m", 0))
    if m < MIN_ROWS:
        return "not decided", f"{m} rows of each kind are too few to rely on an attack that fails: {said}"
    return "private against the attacks tried", said


def _beyond(result: Result) -> float:
    return result.value - (result.floor or 0.0)


def _said(result: Result) -> str:
    words = {
        "duplicates": "{:.1%} of the rows equal a training row",
        "nearest": "{:.1%} are nearer to training than to held-out rows",
        "membership": "an attack tells training from held-out rows with AUC {:.3f}",
        "membership_tpr": "it finds {:.1%} of the training rows at 1 % false alarms",
        "interpolation": "{:.1%} lie on a line between two training rows",
    }
    return words[result.name].format(result.value)
