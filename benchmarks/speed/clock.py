"""The clock of those that train epoch after epoch; it runs in the environments of the peers, too."""

from __future__ import annotations

import time


class Clock:
    """The speed from the first lap on, which is the warm-up, until `seconds` have passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.images, self._began = seconds, 0, time.perf_counter()
        self._from: float | None = None
        self._last = self._began

    def lap(self, images: int) -> bool:
        """Note that `images` more were trained on; true once it is enough."""
        self._last = time.perf_counter()
        if self._from is None:
            self._from = self._last
            return False
        self.images += images
        return self._last - self._from >= self.seconds

    def result(self) -> dict[str, float]:
        """Images per second, and the seconds of the warm-up with all that is done only once."""
        assert self._from is not None, "a clock needs two laps: one warms up"
        return {"images_per_s": self.images / (self._last - self._from), "warmup_s": self._from - self._began}
