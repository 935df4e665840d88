"""Mean features: what a record changes, and a generator that comes near to the records without seeing them."""

from pathlib import Path

import pytest
import torch

from morphogen import api
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.rng import Rng
from morphogen.families.mean_embedding import MeanEmbedding, MeanEmbeddingSpec
from morphogen.trainer.private.releasing import Exact

DATA = DataSpec(name="p", shape=(2,), kind="continuous", classes=("left", "right"))


def _records(n: int) -> Batch:
    label = torch.arange(n) % 2
    x = torch.stack((label - 0.5, torch.zeros(n)), 1) + 0.1 * Rng(0).normal("x", n, (2,))
    return Batch(x, torch.arange(n), RawCondition(label))


def _model(**options: object) -> MeanEmbedding:
    with Rng(0).forked():
        return MeanEmbedding(
            MeanEmbeddingSpec.parse({"features": 200, "hidden": (32,), "latent_dim": 2, **options}), DATA
        )


def test_features_have_norm_one_and_their_products_are_a_kernel() -> None:
    model = _model(features=3000)
    x = Rng(1).uniform("x", 20, (2,)) * 2 - 1
    phi = model._features(x)
    assert torch.allclose(phi.norm(dim=1), torch.ones(20), atol=1e-5)
    lengths = 2 * 2**0.5 * torch.tensor([0.1, 0.2, 0.4])
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square()[..., None] / lengths.square()).mean(-1)
    assert (phi @ phi.T - kernel).abs().max() < 0.12  # 6 deviations of 3000 frequencies


def test_one_record_changes_the_sums_by_one() -> None:
    seen: list[torch.Tensor] = []

    class Recorded(Exact):
        def gaussian(self, value: torch.Tensor, sensitivity: float, share: float, what: str) -> torch.Tensor:
            assert sensitivity == 1.0
            seen.append(value.clone())
            return value

    batch = _records(30)
    _model().release(lambda: iter([batch]), Recorded())
    _model().release(lambda: iter([batch[1:]]), Recorded())
    for a, b in zip(seen[:2], seen[2:], strict=True):
        assert float((a - b).norm()) == pytest.approx(1.0, abs=1e-5)


def test_steps_read_no_record_and_samples_come_near_to_the_records() -> None:
    model = _model()
    batch = _records(2000)
    model.release(lambda: iter([batch]), Exact())
    steps = [next(model.steps(b, Rng(0), Progress(0, 0.0))).terms["discrepancy"][0] for b in (batch[:1], batch[5:6])]
    assert torch.equal(*steps)
    optimizer = torch.optim.AdamW(model.generator.parameters(), lr=5e-3)
    for step in range(150):
        loss = next(model.steps(batch[:1], Rng(0), Progress(step, 0.0))).terms["discrepancy"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for k in (0, 1):
        drawn = model.sample(500, RawCondition(torch.full((500,), k)), Rng(2))
        real = batch.x[batch.cond.label == k]
        assert (drawn.mean(0) - real.mean(0)).abs().max() < 0.08
        assert (drawn.std(0) - real.std(0)).abs().max() < 0.06


def test_it_trains_privately_and_goes_on_without_the_records(tmp_path: Path) -> None:
    terms = "epsilon=1,delta=1e-4,seeded"
    options = {"features": 100, "hidden": (16,), "latent_dim": 4}
    api.train("mean_embedding", "digits", tmp_path / "m", steps=5, privacy=terms, device="cpu", **options)
    promise = api.describe(tmp_path / "m").privacy
    assert promise is not None and promise.epsilon == pytest.approx(1.0, rel=1e-6)
    assert [item.what for item in promise.ledger] == ["sizes of classes", "mean features"]
    assert api.sample(tmp_path / "m", 3, seed=0).x.shape[0] == 3


def test_texts_are_refused() -> None:
    with pytest.raises(SpecError, match="pictures, numbers or tables"):
        MeanEmbedding(MeanEmbeddingSpec(), DataSpec(name="t", shape=(8,), kind="sequence", levels=5))
