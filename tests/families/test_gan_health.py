"""What the monitors of a GAN name: saturation, collapse, missing modes."""

import pytest
import torch
from torch import nn

from morphogen.core.batch import Batch
from morphogen.core.rng import Rng
from morphogen.families.gan_health import _coverage
from tests.families.gans import POINTS, batch, build


class Fixed(nn.Module):
    """A discriminator that knows the records and gives them, and nothing else, a positive logit."""

    def __init__(self, real, logit):
        super().__init__()
        self.real, self.logit = real, logit

    def forward(self, x, c=None, context=None, words=None, slope=False):
        known = torch.tensor([any(torch.equal(v, r) for r in self.real) for v in x])
        return torch.where(known, self.logit, -self.logit) + 1e-3 * torch.linspace(-1, 1, len(x)), None


def test_health_names_a_saturated_discriminator_and_a_generator_that_stands_still():
    b = batch(POINTS, 60)
    for game, words in (("minimax", ["saturated", "stands still"]), ("relativistic", ["saturated"])):
        model = build(POINTS, game=game, moved=0.5).eval()
        model.discriminator = Fixed(b.x, 12.0)
        found = model.health(b, Rng(0))
        assert found.metrics["told_apart"] == 1.0
        said = [w for w in found.warnings if "saturated" in w or "stands still" in w]
        assert len(said) == len(words) and all(word in text for word, text in zip(words, said, strict=True))
        assert "--penalty-weight (0.02)" in said[0]
    assert "--penalty r1_r2" in healthy_without_penalty(b)


def healthy_without_penalty(b):
    model = build(POINTS, penalty="none").eval()
    model.discriminator = Fixed(b.x, 12.0)
    return model.health(b, Rng(0)).warnings[0]


def test_health_names_a_collapse_and_missing_modes_and_nothing_for_copies_of_the_distribution():
    eight = (
        Rng(0).normal("x", 400, (2,)) * 0.02
        + torch.tensor([[0.6, 0.6], [-0.6, 0.6], [0.6, -0.6], [-0.6, -0.6]])[torch.arange(400) % 4]
    )
    b = Batch(eight[:200], torch.arange(200))
    even = eight[200:]
    model = build(POINTS).eval()
    model.discriminator = Fixed([], 0.0)
    cases = {
        "mode collapse": even[:1].expand(200, 2) + 0.01 * Rng(1).normal("noise", 200, (2,)),
        "modes are missing": even[even[:, 0] * even[:, 1] > 0].repeat(2, 1),
        "": even,
    }
    for words, samples in cases.items():
        model._generate = lambda z, cond, samples=samples: samples
        found = model.health(b, Rng(0))
        assert len(found.warnings) == bool(words) and all(words in w for w in found.warnings), (words, found)
    assert found.metrics["diversity"] == pytest.approx(1.0, abs=0.1)
    assert found.metrics["coverage"] == pytest.approx(1.0, abs=0.15)


def test_coverage_counts_the_records_that_have_samples_near():
    x = Rng(0).normal("x", 200, (3,))
    assert _coverage(x, x) == 1.0
    assert _coverage(x, x + 100) == 0.0
