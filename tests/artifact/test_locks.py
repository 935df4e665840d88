import multiprocessing as mp
import os
from pathlib import Path
from typing import Any

import pytest

from morphogen.artifact.locks import locked
from morphogen.core.errors import ArtifactError


def _hold(path: Path, taken: Any, die: bool) -> None:
    with locked(path, "training", "training vae"):
        taken.set()
        if die:
            os._exit(9)
        mp.Event().wait(60)


@pytest.mark.parametrize("die", [False, True])
def test_a_second_writer_is_told_of_the_first_and_a_dead_one_holds_nothing(tmp_path: Path, die: bool) -> None:
    context = mp.get_context("spawn")
    taken = context.Event()
    first = context.Process(target=_hold, args=(tmp_path / "m", taken, die))
    first.start()
    assert taken.wait(60)
    if die:
        first.join()
        with locked(tmp_path / "m", "training", "training gan"):
            pass
        return
    with (
        pytest.raises(ArtifactError, match=f"process {first.pid} on .* has been training vae since"),
        locked(tmp_path / "m", "training", "training gan"),
    ):
        pass
    with locked(tmp_path / "m", "writing", "writing"):  # another purpose
        pass
    first.kill()
    first.join()
    with locked(tmp_path / "m", "training", "training gan"):
        pass
