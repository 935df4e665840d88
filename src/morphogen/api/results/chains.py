"""What a denoiser does, to be looked at."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from PIL import Image

from morphogen.api.results.shown import Shown
from morphogen.core.data_spec import DataSpec
from morphogen.report import canvas
from morphogen.report.chain_plots import chain_sheet, variance_figure
from morphogen.report.sheets import to_bytes


@final
@dataclass(frozen=True, eq=False)
class Chain(Shown):
    """n records at m times, in the order in which the process passes them.

    Attributes:
        x: (n, m, *shape) the states, in stored units
        t, log_snr: (m,) float64; at t = 0 the log-SNR is infinite
        estimates: (n, m, *shape) E[x_0 | x_t] of the same states; None for a forward chain

    Example:
        >>> chain = mg.reverse_chain("runs/diffusion", n=2)
        >>> chain.save("chain.png")
        >>> len(chain.x)
        2
    """

    x: np.ndarray
    t: np.ndarray
    log_snr: np.ndarray
    spec: DataSpec
    estimates: np.ndarray | None = None
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """The states, and the estimates where there are any, by what stands beside their rows: (n, m, C, H, W) uint8.

        Raises `DataError` for records that are no pictures.
        """
        found = {"x_t": self.x} if self.estimates is None else {"x_t": self.x, "E[x_0 | x_t]": self.estimates}
        return {name: to_bytes(x.reshape(-1, *x.shape[2:]), self.spec).reshape(x.shape) for name, x in found.items()}

    def image(self) -> Image.Image:
        """Rows over time."""
        title = "forward" if self.estimates is None else "reverse"
        return chain_sheet(self.rows, self.t, self.log_snr, title)

    def arrays(self) -> Mapping[str, Any]:
        """x, estimates, t, log_snr, ids and labels."""
        names = ("x", "estimates", "t", "log_snr", "ids", "labels")
        return {name: getattr(self, name) for name in names}


@final
@dataclass(frozen=True, eq=False)
class Variances(Shown):
    """Variances of p(x_s | x_t) for strides from t to s > 0, means over n records and their elements, (strides,) each.

    Attributes:
        beta, beta_tilde: the two fixed choices of Ho et al. (2020)
        learned: beta_tilde + gain^2 Var(x_0 | x_t), the law of total variance with the network's Var
        measured: beta_tilde + gain^2 (x_0 - E[x_0 | x_t])^2, of which `learned` is an estimate; `interval` (strides, 2)
            holds its mean over records at 95 %

    Example:
        >>> found = mg.variances("runs/diffusion", "digits", n=16)
        >>> found.save("variances.npz")
    """

    t: np.ndarray
    s: np.ndarray
    log_snr: np.ndarray
    beta: np.ndarray
    beta_tilde: np.ndarray
    learned: np.ndarray
    measured: np.ndarray
    interval: np.ndarray
    n: int

    def image(self) -> Image.Image:
        """The learned variance between its two bounds, over the log-SNR."""
        names = ("beta", "beta_tilde", "learned", "measured", "interval")
        curves = {name: getattr(self, name) for name in names}
        title = f"Reverse variance in {len(self.t) + 1} steps"
        return Image.open(io.BytesIO(canvas.png(variance_figure(self.log_snr, **curves, title=title))))

    def arrays(self) -> Mapping[str, Any]:
        """All of it by name."""
        names = ("t", "s", "log_snr", "beta", "beta_tilde", "learned", "measured", "interval", "n")
        return {name: getattr(self, name) for name in names}
