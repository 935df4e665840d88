"""Clipped sums of gradients against a loop over records, in float64."""

import pytest
import torch
from torch import Tensor, nn

from morphogen.core.tapping import expanded
from morphogen.nn.layers.norm import GroupNorm
from morphogen.trainer.private.clipping import Unreadable, Watch, clipped_sums

N = 6


class Places(nn.Module):
    """Layers at several places, one of them called twice, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1, stride=2)
        self.norm, self.point = GroupNorm(8, 2), nn.Conv2d(8, 8, 1, bias=False)
        self.linear, self.layer_norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.embedding, self.shift = nn.Embedding(5, 8), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        h = self.point(torch.relu(self.norm(self.conv(x)))).flatten(2).mT  # (B, 16, 8)
        h = self.layer_norm(self.linear(torch.tanh(self.linear(h)))) + self.embedding(words).sum(1, keepdim=True)
        return (h + expanded(self.shift, len(x))[:, None]).square().flatten(1).sum(1)


def _records() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(N, 2, 8, 8, dtype=torch.float64, generator=g), torch.randint(0, 5, (N, 3), generator=g)


def _by_loop(model: nn.Module, groups: list[list[int]], clip: float) -> tuple[list[Tensor], Tensor]:
    x, words = _records()
    parameters, total, norms = list(model.parameters()), None, []
    for rows in groups:
        g = torch.autograd.grad(model(x[rows], words[rows]).mean(), parameters)
        norm = torch.sqrt(sum(v.square().sum() for v in g))
        short = [v * min(1.0, clip / float(norm)) for v in g]
        total = short if total is None else [a + b for a, b in zip(total, short, strict=True)]
        norms.append(float(norm))
    assert total is not None
    return total, torch.tensor(norms, dtype=torch.float64)


@pytest.mark.parametrize("units", [None, torch.tensor([0, 0, 1, 2, 2, 2])])
def test_clipped_sums_are_those_of_a_loop(units: Tensor | None) -> None:
    torch.manual_seed(0)
    model = Places().double()
    x, words = _records()
    watch = Watch(model, list(model.parameters()))
    with watch.open():
        losses = model(x, words)
    found = watch.gradients(losses, list(model.parameters()))
    of = list(range(N)) if units is None else units.tolist()
    groups = [[i for i in range(N) if of[i] == u] for u in range(max(of) + 1)]
    clip = float(_by_loop(model, groups, 1e9)[1].median())  # so that some are clipped and some are not
    sums, norms = clipped_sums(model, found, clip, units, N)
    wanted, lengths = _by_loop(model, groups, clip)
    assert torch.allclose(norms, lengths, rtol=1e-10) and (norms > clip).any() and (norms <= clip).any()
    for p, total in zip(model.parameters(), wanted, strict=True):
        assert torch.allclose(sums[id(p)], total, rtol=1e-9, atol=1e-10)


def test_a_record_whose_gradient_is_not_finite_counts_for_nothing() -> None:
    torch.manual_seed(0)
    model = Places().double()
    x, words = _records()
    x[2] = float("nan")
    watch = Watch(model, list(model.parameters()))
    with watch.open():
        losses = model(x, words)
    sums, norms = clipped_sums(model, watch.gradients(losses, list(model.parameters())), 1.0, None, N)
    assert not torch.isfinite(norms[2]) and torch.isfinite(norms).sum() == N - 1
    wanted, _ = _by_loop(model, [[i] for i in range(N) if i != 2], 1.0)
    for p, total in zip(model.parameters(), wanted, strict=True):
        assert torch.allclose(sums[id(p)], total, rtol=1e-9, atol=1e-10)


def test_layers_that_read_other_rows_than_the_records_are_refused() -> None:
    layer = nn.Linear(3, 3)
    watch = Watch(layer, list(layer.parameters()))
    with watch.open():
        losses = layer(torch.randn(8, 3)).view(4, 2, 3).sum((1, 2))
    with pytest.raises(Unreadable, match="another number of rows"):
        watch.gradients(losses, list(layer.parameters()))
