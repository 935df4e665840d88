"""A private warm-up: moments that are counted, samples of them that are learned, and one release in each run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from morphogen import api
from morphogen.core import registry
from morphogen.core.errors import SpecError
from morphogen.core.family import Progress
from morphogen.core.privacy import parse_privacy
from morphogen.core.rng import Rng
from morphogen.core.strong_noise import SeededSource
from morphogen.data import PoissonStream
from morphogen.theory.privacy import gaussian_noise, subsampled_epsilon
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.private.releasing import Shared
from morphogen.trainer.private.warming import WarmUp

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
pytest.importorskip("dp_accounting")
PRIVACY = "epsilon=2,delta=1e-4"
SMALL: dict[str, Any] = {"backbone": "mlp", "hidden": (16,), "latent_dim": 2, "device": "cpu", "batch_size": 100}

WARM: dict[str, Any] = {**SMALL, "conditional": True, "steps": 6, "privacy": f"{PRIVACY},moments=0.25"}


def test_a_warm_up_learns_moments_that_are_counted(tmp_path: Path) -> None:
    model = api.train("vae", "digits", tmp_path / "warm", **WARM)
    promise = model.describe().privacy
    assert promise is not None
    assert 1.9 < promise.epsilon <= 2.0
    *moments, training = promise.ledger
    assert {use.what for use in moments} >= {"sizes of classes", "means of classes", "covariances of classes"}
    assert training.rounds == 4  # a third of the steps learns samples
    whole = sum(1.0 / use.noise**2 for use in moments if use.noise) ** -0.5
    alone = (1.0 / gaussian_noise(2.0, 1e-4)) ** 2
    assert whole**-2 == pytest.approx(0.25 * alone, rel=1e-6)
    assert promise.epsilon == pytest.approx(
        subsampled_epsilon(training.noise, training.rate, 4, 1e-4, before=whole), rel=1e-6
    )


def test_a_warm_up_that_goes_on_releases_nothing_again(tmp_path: Path) -> None:
    out = tmp_path / "warm"
    events = api.training("vae", "digits", out, **WARM, log_every=1)
    next(events)
    events.close()
    kept = safe_open(out / "checkpoint" / "state.safetensors", "pt")
    means = kept.get_tensor("private/means")
    assert means.abs().sum() > 0
    promise = api.train("vae", "digits", out, resume=True).describe().privacy
    assert promise is not None and promise.ledger[-1].rounds == 4
    assert sum(use.what == "means of classes" for use in promise.ledger) == 1
    again = safe_open(out / "checkpoint" / "state.safetensors", "pt").get_tensor("private/means")
    assert torch.equal(again, means)


def test_samples_of_a_warm_up_are_records_of_the_classes() -> None:
    data = api.load_data("digits:validation=0")
    spec = data.spec
    family = registry.family("vae")(registry.family("vae").Spec.parse({"conditional": True, "backbone": "mlp"}), spec)
    kind = registry.family("class_gaussian")
    terms = parse_privacy("epsilon=1000,delta=1e-6,moments=0.9")
    assert terms is not None
    warm = WarmUp(family, kind(kind.Spec(), spec), Shared(terms, SeededSource(0), False, 0.9), {}, 400, 0)
    warm.release(PoissonStream(data.train, 100, SeededSource(0)))
    batch = warm.batch(3)
    assert batch.cond is not None and batch.cond.label is not None
    assert torch.equal(batch.x, spec.encode(spec.decode(batch.x)))  # values that a record can have
    assert data.train.labels is not None
    x = data.train.spec.encode(data.train.stored)
    middles = torch.stack([x[data.train.labels == k].mean(0) for k in range(10)]).flatten(1)
    nearest = torch.cdist(batch.x.flatten(1), middles).argmin(1)
    assert (nearest == batch.cond.label).double().mean() > 0.8
    assert batch.address.min() == 1200
    plain = WarmUp(family, warm.moments, warm.mechanism, {}, 400, 0)
    assert torch.equal(plain.batch(3).x, batch.x)


def test_a_warm_up_is_refused_where_there_are_no_moments(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave out copies and moments"):
        api.train("class_gaussian", "digits", tmp_path / "a", privacy=f"{PRIVACY},moments=0.2")
    with pytest.raises(SpecError, match="pictures or numbers"):
        api.train(
            "vae",
            "breast_cancer",
            tmp_path / "b",
            **{**SMALL, "steps": 6, "privacy": f"{WARM['privacy']},public=ranges"},
        )


def test_samples_teach_what_records_are_like() -> None:
    data = api.load_data("digits:validation=0")
    kind, release = registry.family("vae"), registry.family("class_gaussian")
    with Rng(0).forked():
        family = kind(kind.Spec.parse({"backbone": "mlp", "hidden": (32,), "latent_dim": 4, "lr": 5e-3}), data.spec)
    players = {name: PlayerOptimizer(player, None) for name, player in family.players().items()}
    terms = parse_privacy("epsilon=10,delta=1e-4,moments=0.5")
    assert terms is not None
    moments = release(release.Spec(), data.spec)
    warm = WarmUp(family, moments, Shared(terms, SeededSource(0), False, 0.5), players, 128, 0)
    warm.release(PoissonStream(data.train, 100, SeededSource(0)))
    x = data.train.spec.encode(data.train.stored)
    before = family.score(x, None, Rng(1)).value.mean()
    for step in range(150):
        for optimizer, norm in warm.of(Progress(step, step / 150), None):
            optimizer.move(norm, 1.0)
    after = family.score(x, None, Rng(1)).value.mean()
    shuffled = x.flatten(1)[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))].view_as(x)
    assert after > before + 10.0  # nats of records that no step has shown
    assert after > family.score(shuffled, None, Rng(1)).value.mean() + 10.0  # where ink lies, not how much there is
