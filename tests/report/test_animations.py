"""Animations hold their frames in order, the last one longest."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from morphogen.core.errors import UsageError
from morphogen.report.animations import animation


def frames() -> list[Image.Image]:
    return [Image.fromarray(np.full((6, 9, 3), (40 * i, 10, 250 - 40 * i), np.uint8)) for i in range(4)]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_frames_come_back_in_order_with_their_durations(suffix: str) -> None:
    data = animation(frames(), suffix=suffix, frames_per_second=10, hold_s=2.0)
    assert data == animation(frames(), suffix=suffix, frames_per_second=10, hold_s=2.0)
    back = Image.open(io.BytesIO(data))
    seen = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(back)]
    assert [duration for _, duration in seen] == [100, 100, 100, 2100]
    for (got, _), frame in zip(seen, frames(), strict=True):
        assert (got == np.asarray(frame)).all()


def test_wrong_input_is_named() -> None:
    with pytest.raises(UsageError, match=r"'\.gif'"):
        animation(frames(), suffix=".gift")
    with pytest.raises(UsageError, match="one size"):
        animation([frames()[0], Image.new("RGB", (3, 3))])
    with pytest.raises(UsageError, match="none"):
        animation([])
