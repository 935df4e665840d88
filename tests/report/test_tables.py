"""Numbers in words: digits end where the interval says, and nothing missing is made up."""

from __future__ import annotations

import pytest

from morphogen.report.tables import RESULT_HEADERS, duration, number, results_rows, span


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (89.3141, (89.02, 89.61), "89.31"),
        (0.48213, (0.4771, 0.4871), "0.4821"),
        (12345.678, (12000.0, 12700.0), "12,346"),
        (1.0, None, "1"),
        (0.001, None, "0.001"),
        (0.99, None, "0.99"),
        (3.14159, None, "3.142"),
        (0.0, None, "0"),
        (1.5e-7, None, "1.500e-07"),
        (2.5e9, None, "2.500e+09"),
        (60000, None, "60,000"),
        (None, None, "–"),
        (float("nan"), None, "nan"),
        ("mlp", None, "mlp"),
        (True, None, "True"),
        (2.0, (2.0, 2.0), "2"),
    ],
)
def test_number(value: object, interval: tuple[float, float] | None, text: str) -> None:
    assert number(value, interval) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (None, "–"),
        (float("inf"), "–"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_span_uses_the_digits_that_its_width_supports() -> None:
    assert span((89.02, 89.61)) == "89.02 to 89.61"
    assert span(None) == "–"


def test_results_show_interval_n_baselines_and_floor() -> None:
    full = {
        "name": "nll",
        "value": 21.43,
        "interval": [21.21, 21.65],
        "n": 360,
        "unit": "nats",
        "better": "lower",
        "baselines": {"pixel marginals": 33.2, "png": 50},
        "floor": 0,
        "place": "between blur 0.5 px and PCA-100",
    }
    rows = results_rows([full, {"name": "bare", "value": 1.5}])
    assert rows[0] == [
        "nll ↓",
        "21.43",
        "21.21 to 21.65",
        "nats",
        "360",
        "pixel marginals 33.2, png 50",
        "0",
        "between blur 0.5 px and PCA-100",
    ]
    assert rows[1] == ["bare", "1.5", "–", "", "–", "–", "–", "–"]
    assert all(len(row) == len(RESULT_HEADERS) for row in rows)
