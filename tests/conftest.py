"""One thread a test process: the networks are small, and spinning threads cost more than they bring."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # of the terminal that tests are run in

import numpy as np
import pytest
import torch

from tests.toys import POINTS, TOYS, Toys

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor leave anything in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MORPHOGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    """The tiny models of tests/toys.py by name, each trained when it is first asked for. Tests do not change them."""
    folder = tmp_path_factory.mktemp("toys")
    np.savez(folder / POINTS, x=np.random.default_rng(0).normal(size=(100, 2)))

    def get(name: str) -> Path:
        out, of = folder / name.replace(" ", "-"), TOYS[name]
        if not out.exists():
            import morphogen as mg

            data = str(folder / POINTS) if of.data == POINTS else of.data
            list(mg.training(of.family, data, out, options=dict(of.options), recipe=of.recipe))
        return out

    return get
