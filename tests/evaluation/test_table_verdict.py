"""The verdict on planted makers of rows: a copy, SMOTE, independent columns, a copula, and fresh real rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.evaluation.result import Result
from morphogen.evaluation.tables.baselines import BASELINES
from morphogen.evaluation.tables.judge import judge_table
from morphogen.evaluation.tables.reference import TableReference, TableSample
from morphogen.evaluation.tables.separation import separation
from morphogen.evaluation.tables.table_metrics import METRICS
from morphogen.evaluation.tables.utility import utility
from morphogen.evaluation.tables.verdict import Verdict, decide
from morphogen.evaluation.tables.views import table_views
from morphogen.theory.statistics.intervals import binomial_tail
from tests.evaluation.table_makers import categories, patients

N = 500


@pytest.fixture(scope="module")
def reference() -> TableReference:
    return TableReference(patients(N, 10), patients(N, 11))


@pytest.fixture(scope="module")
def judged(reference: TableReference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, tuple]]:
    """What is found of each maker: results by name, and the verdict."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        makers = {**reference.trivial, "fresh": TableSample(patients(N, 12), reference)}
        found = {}
        for name, made in makers.items():
            results, left_out, verdict = judge_table(made)
            assert not left_out
            found[name] = ({r.name: r for r in results}, verdict)
        yield found


def test_a_copy_is_called_a_copy_although_it_looks_perfect(judged: Mapping[str, tuple]) -> None:
    results, verdict = judged["training rows"]
    assert verdict.useful == "useful" and verdict.private == "a copy of training rows"
    assert results["two_sample"].value < 0.6 and results["duplicates"].value == 1.0
    assert any("a copy of training rows" in warning for warning in results["accuracy"].warnings)


def test_smote_is_called_interpolation(judged: Mapping[str, tuple]) -> None:
    assert judged["SMOTE"][1].private == "interpolations between training rows"


def test_independent_columns_are_not_useful_although_they_teach_predictors(judged: Mapping[str, tuple]) -> None:
    results, verdict = judged["independent columns"]
    assert verdict.useful == "not useful" and verdict.private == "private against the attacks tried"
    assert results["two_sample"].value > 0.8


def test_a_copula_gives_little_away_and_is_better_than_independent_columns(judged: Mapping[str, tuple]) -> None:
    results, verdict = judged["Gaussian copula"]
    assert verdict.private in ("private against the attacks tried", "leaks")  # it is a little nearer to its rows
    assert results["nearest"].value < 0.6 and results["membership"].value < 0.6
    assert results["associations"].value < judged["independent columns"][0]["associations"].value


def test_fresh_real_rows_are_useful_and_private(judged: Mapping[str, tuple]) -> None:
    assert judged["fresh"][1].useful == "useful"
    assert judged["fresh"][1].private == "private against the attacks tried"


def test_every_number_has_a_protocol_floor_and_baselines(judged: Mapping[str, tuple]) -> None:
    results, _ = judged["fresh"]
    assert list(results) == list(METRICS)
    for result in results.values():
        assert result.floor is not None and set(result.baselines) == set(BASELINES)
        assert result.interval is not None and result.interval[0] <= result.value <= result.interval[1]
        assert "held-out rows" in result.protocol


def test_no_verdict_rests_on_predictors_alone(judged: Mapping[str, tuple]) -> None:
    results, _ = judged["fresh"]
    alone = decide([results["tstr_linear"], results["tstr_boosting"]])
    assert alone.useful == "not decided" and "nearly nothing" in alone.why_useful
    assert decide([results["accuracy"], results["tstr_linear"]]).useful == "not decided"


def test_distances_alone_are_never_called_private(judged: Mapping[str, tuple]) -> None:
    results, _ = judged["fresh"]
    found = decide([results["duplicates"], results["nearest"], results["interpolation"]])
    assert found.private == "not decided" and "cannot show privacy" in found.why_private


def test_an_attack_on_few_rows_decides_nothing() -> None:
    reference = TableReference(patients(60, 0), patients(60, 1))
    made = TableSample(patients(60, 2), reference)
    found = [_plain(name, made) for name in ("duplicates", "nearest", "membership", "membership_tpr")]
    assert decide(found).private == "not decided" and "too few" in decide(found).why_private
    same = TableSample(reference.real, reference)
    found = [_plain(name, same) for name in ("accuracy", "associations", "two_sample")]
    assert decide(found).useful == "not decided" and "too few" in decide(found).why_useful


def _plain(name: str, made: TableSample) -> Result:
    value, details = METRICS[name].measure(made)
    floor = METRICS[name].floor(made.reference).value
    more = {"unit": "", "n": len(made), "seed": 0, "protocol": "", "floor": floor, "details": dict(details)}
    return Result(name=name, value=value.value, interval=value.interval, **more)


def test_fresh_rows_are_called_leaking_in_at_most_one_case_of_twenty() -> None:
    names = [name for name, metric in METRICS.items() if metric.axis == "privacy"]
    alarms, trials = 0, 60
    for s in range(trials):
        reference = TableReference(patients(250, 3 * s), patients(250, 3 * s + 1))
        made = TableSample(patients(250, 3 * s + 2), reference)
        alarms += decide([_plain(name, made) for name in names]).private != "private against the attacks tried"
    assert binomial_tail(alarms, trials, 0.05) > 1e-3, alarms


def test_the_interval_of_the_two_sample_auc_covers_one_half() -> None:
    covered, trials = 0, 12
    for s in range(trials):
        low, high = separation(patients(80, 2 * s), patients(80, 2 * s + 1), s).boosting.interval  # type: ignore[misc]
        covered += low <= 0.5 <= high
    assert covered >= 9  # the chance of fewer is below 1e-3 at 95 %


def test_predictors_learn_from_made_rows_what_they_learn_from_equal_real_rows() -> None:
    train, test = patients(300, 0), patients(300, 1)
    ours, same = utility(train, test, train), utility(train.take(slice(None)), test, train)
    assert ours == same and ours["linear"].value.value > 0.9


def test_made_rows_of_one_class_teach_nothing() -> None:
    train, test = patients(300, 0), patients(300, 1)
    one = train.take(train.cells[:, 5] == 1.0)
    found = utility(one, test, train)
    assert found["linear"].value.value == found["boosting"].value.value == 0.5


def test_numbers_are_predicted_with_r2() -> None:
    layout = patients(1, 0).layout
    to_weight = type(layout)(layout.names, layout.sizes, layout.resolutions, layout.values, target=1)
    train, test = (type(rows)(rows.cells, to_weight) for rows in (patients(400, 0), patients(400, 1)))
    found = utility(train, test, train)
    assert found["linear"].f1 is None and 0.2 < found["linear"].value.value < 1.0


def test_constant_and_tiny_tables_are_judged_or_refused_in_words() -> None:
    constant = patients(100, 2)
    constant.cells[:] = [50.0, 70.0, 1.0, 0.0, 0.0, 0.0]
    results, left_out, verdict = judge_table(TableSample(constant, TableReference(patients(100, 0), patients(100, 1))))
    assert verdict.useful == "not useful" and len(results) >= 9 and not left_out
    without = patients(100, 2)
    without.cells[:, 1] = np.nan
    results, left_out, _ = judge_table(TableSample(without, TableReference(patients(100, 0), patients(100, 1))))
    assert {"tstr_linear", "tstr_boosting"} <= {result.name for result in results} and list(left_out) == [
        "interpolation"
    ]
    results, left_out, verdict = judge_table(
        TableSample(patients(2, 2), TableReference(patients(2, 0), patients(2, 1)))
    )
    assert verdict.useful == verdict.private == "not decided" and left_out
    with pytest.raises(DataError, match="nothing to judge by"):
        TableReference(patients(0, 0), patients(5, 0))


def test_views_name_no_rare_value() -> None:
    rng = np.random.default_rng(0)
    real, made = (categories(rng.zipf(1.3, (400, 2)).clip(0, 499), 500) for _ in range(2))
    views = table_views(TableSample(made, TableReference(real, real)))
    for c, marginal in enumerate(views.marginals):
        for label in marginal.labels:
            assert label in ("other", "missing") or (real.cells[:, c] == float(label)).sum() >= 5
        assert marginal.real.sum() == pytest.approx(1.0) and marginal.made.sum() == pytest.approx(1.0)


def test_a_verdict_is_words() -> None:
    found = Verdict(useful="useful", why_useful="a", private="leaks", why_private="b")
    assert str(found) == "useful (a); leaks (b)"
