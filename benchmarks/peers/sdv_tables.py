"""Synthetic rows by CTGAN, TVAE and the Gaussian copula of SDV, in their own environment and at their defaults.

python -m benchmarks.peers.sdv_tables MAKER TRAIN.csv ABOUT.json N OUT.csv

ABOUT.json holds {"types": {column: type}, "seed": 0}: their metadata are set from our schema, so that both sides read
the same columns as categories. Missing cells of numbers are left as they are, since all three model them; those of
categories are values of their own, as SDV does it. Prints {"fit_s", "sample_s"} as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

MAKERS = ("CTGAN", "TVAE", "SDV copula")
_TYPES = {"number": "numerical", "integer": "numerical", "boolean": "categorical", "datetime": "datetime"}


def synthesizer(maker: str, types: dict[str, str]) -> Any:
    """The synthesizer at its defaults, with our types of the columns."""
    from sdv.metadata import Metadata
    from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer, TVAESynthesizer

    columns = {name: {"sdtype": _TYPES.get(kind, "categorical")} for name, kind in types.items()}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}, "relationships": []})
    kinds = {"CTGAN": CTGANSynthesizer, "TVAE": TVAESynthesizer, "SDV copula": GaussianCopulaSynthesizer}
    more = {} if maker == "SDV copula" else {"enable_gpu": False}
    return kinds[maker](metadata, **more)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, sample and write."""
    maker, train, about, n, out = arguments or sys.argv[1:]
    import numpy as np
    import pandas as pd
    import torch

    with open(about, encoding="utf-8") as file:
        told = json.load(file)
    torch.manual_seed(told["seed"])
    np.random.seed(told["seed"])
    text = {name: str for name, kind in told["types"].items() if _TYPES.get(kind) != "numerical"}
    rows = pd.read_csv(train, dtype=text, keep_default_na=False, na_values=[""])[list(told["types"])]
    start = time.perf_counter()
    model = synthesizer(maker, told["types"])
    model.fit(rows)
    middle = time.perf_counter()
    made = model.sample(num_rows=int(n))
    end = time.perf_counter()
    made.to_csv(out, index=False)
    print(json.dumps({"fit_s": round(middle - start, 1), "sample_s": round(end - middle, 1)}))


if __name__ == "__main__":
    main()
