"""Degraded copies of pictures as conditions: what they are, where their noise comes from, and how they are hidden."""

import math

import pytest
import torch

from morphogen.core.batch import Batch, Condition, RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.data.context import Degradation
from morphogen.families.diffusion import Diffusion, DiffusionSpec
from morphogen.nn.backbones.dit import DiT
from morphogen.nn.backbones.unet import UNet
from morphogen.nn.conditioning.conditioner import drop_conditions


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0 - 1.0


@pytest.mark.parametrize("text", ["down2", "blur1.5", "blur0.3", "noise0.2", "gray"])
def test_adjoints_are_adjoint(text):
    degradation, x = Degradation.parse(text), pictures(2, 3, 6, 4)
    y = torch.randn(degradation.linear(x).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close((degradation.linear(x) * y).sum(), (x * degradation.adjoint(y)).sum())
    assert degradation.shape((3, 6, 4), 256) == y.shape[1:]


@pytest.mark.parametrize("text", ["down" + "9" * 400, "blur" + "9" * 400, "noise" + "9" * 400, "down4097", "noise101"])
def test_amounts_beyond_all_pictures_are_refused(text):
    with pytest.raises(SpecError, match="takes at most") as error:
        Degradation.parse(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["blur1e400", "noise-1", "blurnan", "downinf", "down2.5", "blur0", "down\u0664", ""])
def test_what_is_no_degradation_is_said(text):
    with pytest.raises(SpecError, match=r"a degradation is downK|unknown degradation"):
        Degradation.parse(text)


def test_degradations_do_what_they_say():
    x = pictures(2, 3, 12, 8)
    torch.testing.assert_close(Degradation.parse("down4").linear(x)[1, 2, 1, 0], x[1, 2, 4:8, :4].mean())
    luma = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    torch.testing.assert_close(Degradation.parse("gray").linear(x)[:, 0], luma)
    blur = Degradation.parse("blur1.2").linear
    torch.testing.assert_close(blur(x).mean((2, 3)), x.mean((2, 3)))
    twice = Degradation.parse(f"blur{1.2 * math.sqrt(2.0):.10f}").linear(x)
    torch.testing.assert_close(blur(blur(x)), twice, rtol=0, atol=1e-8)
    line = torch.zeros(1, 1, 1, 41, dtype=torch.float64)
    line[..., 20] = 1.0
    place = torch.arange(41) - 20.0
    assert float((blur(line).flatten() * place.square()).sum()) == pytest.approx(1.44, rel=1e-6)


def test_a_copy_has_the_values_of_a_file():
    data = load("digits:context=down2")
    records = data.train
    stored = records.stored.double().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)).round()
    found = data.spec.decode(records.batch().cond.context)
    assert torch.equal(found.double(), stored)
    assert data.spec.context_shape == (1, 4, 4)


def test_noise_belongs_to_the_record_or_to_its_place_in_the_stream():
    records = load("digits:context=noise0.3").train
    whole = records.batch(slice(0, 20))
    torch.testing.assert_close(records.batch(torch.tensor([7, 3])).cond.context, whole.cond.context[[7, 3]])
    noise = (whole.cond.context - whole.x)[whole.x.abs() < 0.2]
    # 20 x 64 pixels, those in the middle of the range: clipping at 4 sigma; 5 standard errors of a deviation
    assert abs(float(noise.std()) / 0.3 - 1.0) < 5.0 / math.sqrt(2 * len(noise)) + 0.01
    stream = Stream(records, 8, seed=0)
    first, again, later = stream.batch(3), Stream(records, 8, seed=0).batch(3), stream.batch(4)
    assert torch.equal(first.cond.context, again.cond.context)
    shares = [stream.batch(3, rank, 2).cond.context for rank in range(2)]
    assert torch.equal(torch.cat(shares), first.cond.context)
    index = torch.tensor([0, 1000])
    anew = records.batch(torch.tensor([5, 5]), index).cond.context
    assert not torch.equal(anew[0], anew[1])
    assert len(later) == 8


def test_a_mirrored_picture_has_a_mirrored_copy():
    records = load("digits:context=down2").train
    rows, flip = torch.arange(6), torch.tensor([True, False] * 3)
    plain, mirrored = records.batch(rows).cond.context, records.batch(rows, None, flip).cond.context
    assert torch.equal(mirrored[flip], plain[flip].flip(-1)) and torch.equal(mirrored[~flip], plain[~flip])


def test_the_source_holds_it_and_a_model_repeats_it():
    trained = load("digits:context=blur1.50")
    assert trained.spec.source == "digits:context=blur1.5" and trained.spec.preprocessing["context"] == "blur1.5"
    again = load("digits", like=trained.spec)
    assert again.spec == trained.spec.replace(source=again.spec.source)
    assert torch.equal(again.test.batch().cond.context, trained.test.batch().cond.context)
    assert load("digits").train.batch(slice(0, 2)).cond.context is None
    with pytest.raises(SpecError, match=r"context=down2 contradicts context=blur1\.5"):
        load("digits:context=down2", like=trained.spec)
    shapes = load("shapes:n=40,context=gray")
    batch = shapes.train.batch(slice(0, 3))
    assert batch.cond.context.shape == (3, *shapes.spec.context_shape) == (3, 1, 32, 32)
    assert batch.cond[:2].context.shape[0] == 2 and batch.cond.kept(torch.zeros(3).bool()).context is not None


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("digits:context=dwon2", UsageError, "did you mean 'down'"),
        ("digits:context=down2.5", UsageError, "a whole K from 2 on"),
        ("digits:context=down1", UsageError, "a whole K from 2 on"),
        ("digits:context=blur", UsageError, "blurS with S in pixels"),
        ("digits:context=blur0", UsageError, "blurS with S in pixels"),
        ("digits:context=gray2", UsageError, "or gray"),
        ("digits:context", UsageError, "downK"),
        ("digits:context=down3", DataError, r"blocks of side 3, which does not divide pictures of 8x8"),
        ("digits:context=gray", DataError, "takes the color away"),
        ("digits:binary,context=down2", DataError, "leave out binary"),
    ],
)
def test_what_cannot_be_is_said(source, error, words):
    with pytest.raises(error, match=words):
        load(source)


def test_numbers_are_no_pictures(tmp_path):
    import numpy as np

    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(50, 2)))
    with pytest.raises(DataError, match="gray or RGB pictures"):
        load(f"{tmp_path}/a.npz:context=down2")


def test_a_share_of_the_pictures_is_hidden_apart_from_the_labels():
    n = 4000
    cond = RawCondition(label=torch.zeros(n).long(), context=torch.ones(n, 1, 2, 2))
    batch = Batch(torch.zeros(n, 1, 4, 4), torch.arange(n), cond, torch.arange(n))
    found = drop_conditions(batch, Rng(0), 0.5, 0.3)
    no_label, no_picture = found.label < 0, (found.context == 0.0).flatten(1).all(1)
    assert ((found.context == 1.0).flatten(1).all(1) | no_picture).all()
    # 5 standard deviations of each share: false alarm below 1e-5 in all
    for share, expected in ((no_label, 0.5), (no_picture, 0.3), (no_label & no_picture, 0.15)):
        assert abs(float(share.double().mean()) - expected) < 5.0 * math.sqrt(expected * (1 - expected) / n)
    half = drop_conditions(batch[2000:], Rng(0), 0.5, 0.3)
    assert torch.equal(half.context, found.context[2000:])
    untouched = drop_conditions(batch, Rng(0), 0.0)
    assert torch.equal(untouched.context, cond.context) and torch.equal(untouched.label, cond.label)


@pytest.mark.parametrize("make", [UNet, DiT])
def test_a_picture_of_zeros_equals_none(make):
    small = {"widths": (16, 16), "blocks": (1, 1)} if make is UNet else {"width": 16, "depth": 1}
    with Rng(0).forked():
        network = make(1, 1, context=1, **small)
        for p in network.parameters():
            p.data.add_(0.1 * torch.randn_like(p))
    x, u, nothing = (
        torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(2),
        torch.zeros(2, 0),
    )

    def given(context):
        return network(x, u, Condition(nothing[..., None], nothing.bool(), nothing, context))

    assert torch.equal(given(torch.zeros(2, 1, 4, 4)), given(None))
    assert not torch.allclose(given(torch.ones(2, 1, 4, 4)), given(None))


def test_hiding_needs_something_to_hide():
    data = DataSpec(name="plain", shape=(1, 8, 8), kind="continuous", levels=256)
    with pytest.raises(SpecError, match="context_dropout hides the pictures"):
        Diffusion(DiffusionSpec(backbone="unet", widths=(16,), blocks=(1,), context_dropout=0.1), data)
