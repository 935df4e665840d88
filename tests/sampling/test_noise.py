"""Closed walks: fair samples at every frame, the seed's samples at the stops, and no end."""

from __future__ import annotations

import pytest
import torch

from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.rng import Rng
from morphogen.sampling.noise import Walk

FRAMES, STOPS = 12, 4


def walk(seed: int = 3) -> Walk:
    return Walk(Rng(seed), FRAMES, STOPS)


def test_its_stops_are_the_samples_of_the_seed() -> None:
    noise = walk().normal("z", FRAMES, (2, 5))
    assert torch.equal(noise[:: FRAMES // STOPS], Rng(3).normal("z", STOPS, (2, 5)))
    assert torch.equal(walk().child("step 1").normal("z", [3]), Rng(3).child("step 1").normal("z", [1]))


def test_it_closes_and_goes_round_again() -> None:
    """In steps of one length in the plane of each pair of stops, the last one to the first frame, too."""
    noise = walk().normal("z", FRAMES + 5, (4000,), torch.float64)
    assert torch.equal(noise[FRAMES:], noise[:5])
    stops = noise[:FRAMES:3]
    for f in range(FRAMES):
        k, t = divmod(f, 3)
        angle = torch.tensor(t / 3 * torch.pi / 2, dtype=torch.float64)
        assert torch.allclose(noise[f], angle.cos() * stops[k] + angle.sin() * stops[(k + 1) % STOPS], atol=1e-12)
    # For nearly orthogonal stops of length 63, 15 degrees are steps of about 33; the last one is no other.
    steps = (noise[1 : FRAMES + 1] - noise[:FRAMES]).norm(dim=1)
    assert steps.max() < 1.1 * steps.min()


def test_a_frame_is_a_function_of_its_number_alone() -> None:
    whole = walk().normal("z", FRAMES, (3,))
    assert torch.equal(walk().normal("z", [7, 2], (3,)), whole[[7, 2]])
    assert torch.equal(walk().shifted(5).normal("z", 4, (3,)), whole[5:9])
    assert torch.equal(
        walk().shifted(2).shifted(3).child("a").normal("z", 4), walk().child("a").normal("z", FRAMES)[5:9]
    )
    assert not torch.equal(walk(4).normal("z", FRAMES, (3,)), whole)


def test_every_frame_is_standard_normal() -> None:
    """Variance 1 and mean 0 also between stops, where a straight line would have 1/2: off by 5 sigma, 1 in 10^5."""
    n = 40_000
    noise = walk().normal("z", FRAMES, (n,), torch.float64)
    assert (noise.mean(1).abs() < 5 / n**0.5).all()
    assert ((noise.square().mean(1) - 1).abs() < 5 * (2 / n) ** 0.5).all()


def test_what_cannot_be_walked_is_said() -> None:
    for draw in (lambda w: w.uniform("codes", 3), lambda w: w.integers("codes", 3, 7), lambda w: w.bits("codes", 3, 1)):
        with pytest.raises(CapabilityError, match=r"uniform numbers \('codes'\).*normal|normal.*uniform numbers"):
            draw(walk())
    with pytest.raises(UsageError, match="at least 2 stops"):
        Walk(Rng(0), 5, 1)
    with pytest.raises(UsageError, match="at least as many frames"):
        Walk(Rng(0), 5, 6)
