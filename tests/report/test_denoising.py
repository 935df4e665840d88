"""Pictures of chains: every record stands where its labels say, and the figure's curves are what was given."""

from __future__ import annotations

import numpy as np
from PIL import Image

from morphogen.report.canvas import png
from morphogen.report.chain_plots import chain_frames, chain_sheet, stacked, variance_figure
from morphogen.report.sheets import sheet

T, LOG_SNR = np.array([0.0, 0.5, 1.0]), np.array([np.inf, 0.3, -np.inf])


def chain(seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 3, channels, 8, 8), dtype=np.uint8)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_rows_are_records_and_columns_are_times() -> None:
    states, estimates = chain(0), chain(1)
    for named in ({"x_t": states}, {"x_t": states, "x_0": estimates}):
        rows = np.stack(list(named.values()), axis=1).reshape(-1, 3, 1, 8, 8)
        body = pixels(sheet(rows.reshape(-1, 1, 8, 8), columns=3))
        drawn = pixels(chain_sheet(named, T, LOG_SNR, "forward"))
        assert np.array_equal(drawn[-body.shape[0] :, -body.shape[1] :], body)
        assert (drawn[: -body.shape[0]] < 100).any(), "labels above"
        assert (drawn[-body.shape[0] :, : -body.shape[1]] < 100).any(), "labels on the left"


def test_stacked_sheets_keep_their_columns_in_line() -> None:
    above, below = (chain_sheet({name: chain(2)}, T, LOG_SNR, "") for name in ("x_t", "E[x_0 | x_t]"))
    both = stacked([above, below])
    assert both.size == (max(above.width, below.width), above.height + below.height)
    assert np.array_equal(pixels(both)[: above.height, -above.width :], pixels(above))
    assert np.array_equal(pixels(both)[above.height :, -below.width :], pixels(below))


def test_frames_show_all_records_at_one_time_beside_their_estimates() -> None:
    states, estimates = chain(3, channels=3), chain(4, channels=3)
    frames = chain_frames({"x_t": states, "x_0": estimates}, T, LOG_SNR, "reverse")
    assert len(frames) == 3 and len({frame.size for frame in frames}) == 1
    for i, frame in enumerate(frames):
        left, right = pixels(sheet(states[:, i])), pixels(sheet(estimates[:, i]))
        height, width = left.shape[:2]
        drawn = pixels(frame)[-height:]
        assert np.array_equal(drawn[:, :width], left)
        assert np.array_equal(drawn[:, frame.width - width :], right)


def test_the_figure_shows_each_variance_over_beta_on_a_logarithmic_scale() -> None:
    beta = np.array([0.5, 0.2, 0.1])
    interval = np.array([[0.4, 0.5], [0.1, 0.16], [0.01, 0.03]])
    given = {"beta": beta, "beta_tilde": 0.1 * beta, "learned": 0.5 * beta, "measured": interval.mean(1)}
    fig = variance_figure([-np.inf, 0.0, 5.0], **given, interval=interval, title="steps")
    (axes,) = fig.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert np.allclose(lines["beta"], 1.0) and np.allclose(lines["learned"], 0.5)
    assert np.allclose(lines["beta_tilde"], 0.1)
    assert axes.get_yscale() == "log"
    assert all(np.isfinite(line.get_xdata()).all() for line in axes.lines), "noise alone is drawn at the edge"
    (bars,) = axes.containers
    ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
    assert np.allclose(ends, interval / beta[:, None])
    assert png(fig)[:4] == b"\x89PNG"
