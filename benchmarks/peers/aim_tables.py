"""Rows from AIM (McKenna et al., 2022) by OpenDP, in an environment of its own.

python -m benchmarks.peers.aim_tables CODES.npy SIZES.json EPSILON DELTA N OUT.npy

CODES.npy holds columns as codes (N, C), SIZES.json their number in each column. Both sides start from the same codes.
AIM spends zero-concentrated privacy rho, the largest that (epsilon, delta) allows (Canonne, Kamath and Steinke, 2020):

    delta = min_{a > 1} exp((a - 1)(a rho - epsilon)) (1 - 1/a)^a / (a - 1).

Prints {"fit_s", "sample_s", "rho"} as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

import numpy as np


def largest_rho(epsilon: float, delta: float) -> float:
    """The rho whose delta at epsilon is `delta`."""
    orders = 1.0 + np.geomspace(1e-3, 1e5, 4000)
    low, high = 0.0, epsilon
    for _ in range(60):
        rho = (low + high) / 2
        log = (orders - 1) * (orders * rho - epsilon) + orders * np.log1p(-1 / orders) - np.log(orders - 1)
        low, high = (rho, high) if log.min() <= np.log(delta) else (low, rho)
    return low


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, fit and draw."""
    codes, sizes, epsilon, delta, n, out = arguments or sys.argv[1:]
    import opendp.prelude as dp
    import polars as pl

    dp.enable_features("contrib")
    table, rho = np.load(codes), largest_rho(float(epsilon), float(delta))
    with open(sizes, encoding="utf-8") as file:
        keys = {f"c{j}": list(range(k)) for j, k in enumerate(json.load(file)["sizes"])}
    data = pl.DataFrame({name: table[:, j] for j, name in enumerate(keys)}).lazy()
    start = time.perf_counter()
    context = dp.Context.compositor(
        data=data, privacy_unit=dp.unit_of(contributions=1), privacy_loss=dp.loss_of(rho=rho)
    )
    query = context.query(rho=rho).select(*keys)
    found = query.contingency_table(keys=keys, algorithm=dp.mbi.AIM()).release()
    middle = time.perf_counter()
    made = found.synthesize(rows=int(n), method="sample")
    end = time.perf_counter()
    # OpenDP counts a value "null" beside the keys, which noise lets be drawn: it stands for no code of ours.
    np.save(out, np.stack([made[name].fill_null(0).to_numpy() for name in keys], 1).astype(np.int64))
    print(json.dumps({"fit_s": round(middle - start, 1), "sample_s": round(end - middle, 1), "rho": rho}))


if __name__ == "__main__":
    main()
