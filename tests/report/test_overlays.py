"""Maps over pictures: opacity in proportion, and comparable within a picture."""

import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.report.overlays import COLOR, overlays


def test_opacity_is_in_proportion_to_the_map():
    pixels = np.full((1, 3, 1, 3), 100, np.uint8)
    maps = np.array([[[[0.0, 0.1, 0.2]], [[0.4, 0.4, 0.0]]]])
    found = overlays(pixels, maps)
    assert found.shape == (1, 3, 3, 1, 3) and found.dtype == np.uint8
    assert np.array_equal(found[0, 0], pixels[0]), "the picture comes first"
    for k in range(2):
        for x in range(3):
            opacity = 0.9 * maps[0, k, 0, x] / 0.4  # the largest of both maps
            expected = (1 - opacity) * 100 + opacity * np.array(COLOR)
            assert np.abs(found[0, 1 + k, :, 0, x] - expected).max() <= 0.5 + 1e-9


def test_each_picture_has_its_own_scale_and_no_map_leaves_it_gray():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    maps = np.zeros((2, 1, 4, 5))
    maps[1] = 1e-3
    found = overlays(pixels, maps)
    assert (np.ptp(found[0, 1], axis=0) == 0).all(), "gray"
    assert np.array_equal(found[1:], overlays(pixels[1:], 7.0 * maps[1:]))


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_pictures_become_colored_ones(channels):
    pixels = np.full((1, channels, 2, 2), 50, np.uint8)
    if channels == 4:
        pixels[:, 3] = 0
    found = overlays(pixels, np.ones((1, 1, 2, 2)))
    assert found.shape == (1, 2, 3, 2, 2) and (found[0, 0] == (255 if channels == 4 else 50)).all()


@pytest.mark.parametrize("maps", [np.ones((1, 1, 2, 3)), np.ones((2, 2)), -np.ones((1, 1, 2, 2))])
def test_maps_that_do_not_fit_are_refused(maps):
    with pytest.raises(DataError, match="maps of at least 0"):
        overlays(np.zeros((1, 3, 2, 2), np.uint8), maps)
