"""Archives with a loss: the pictures that the encoder saw come back, near to the originals, at every quality."""

import io
import random

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.api.archive_models import reading_family
from morphogen.applications.compression import archives, by_integers, container
from morphogen.applications.compression.archives import Tally
from morphogen.core.rng import Rng
from morphogen.nn.backbones.quality_ladder import place_of
from tests.applications.test_archives import mutated


@pytest.fixture(scope="module")
def integers(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("integers") / "model"
    mg.quantize(toy("lossy"), out, "digits", n=20)
    return out


@pytest.fixture(scope="module")
def family(integers):
    return mg.load(integers, "cpu").module


def digits():
    return mg.load_data("digits").test.stored.numpy()


def test_the_integer_form_loses_little(toy, tmp_path):
    found = mg.quantize(toy("lossy"), tmp_path / "integers", "digits", n=10)
    assert abs(found.loss) < 5e-3  # of a density as narrow as 2 gray levels, which feels the steps of the grid
    assert found.largest_sum < 2**53 and found.checked > 10 * 10


def test_codes_are_as_long_and_pictures_as_near_as_the_model_says(family, toy):
    """The integer form beside the model in floating point, whose rounded latents may differ here and there."""
    model, u = mg.load(toy("lossy"), "cpu").module, torch.from_numpy(digits()[:100])
    _, bits, made = by_integers.encode(family, u, 20)
    x, t = model.data.encode(u), torch.full((100,), place_of(20))
    with torch.no_grad():
        rate, near = model._coded(x, t, Rng(0), 100, False)
    assert bits == pytest.approx(float(rate.sum()) / np.log(2.0), rel=0.01)
    again = model.data.encode(torch.from_numpy(made))
    errors = [float((v.clamp(-1, 1) - x).square().mean()) for v in (model.data.encode(model.data.decode(near)), again)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


@pytest.mark.parametrize("quality", [1, 37, 100])
def test_what_the_encoder_saw_comes_back(family, quality):
    u = torch.from_numpy(digits()[:50])
    code, bits, made = by_integers.encode(family, u, quality)
    assert 0 <= 8 * len(code) - bits < 64
    assert np.array_equal(by_integers.decode(family, code, 50, (1, 8, 8), 17, quality), made)


def test_quality_costs_bits_and_gives_nearer_pictures(integers, tmp_path):
    x, found = digits(), []
    for quality in (1, 15, 30):
        a = mg.compress(integers, "digits", tmp_path / "a.mgz", split="test", quality=quality)
        assert a.exact and a.blocks == {"integers": 1} and a.quality == quality
        again = mg.decompress(tmp_path / "a.mgz", integers)
        error = (again.x.astype(float) - x).reshape(len(x), -1) ** 2
        assert a.psnr == pytest.approx(float((10 * np.log10(16**2 / error.mean(1))).mean()), abs=1e-6)
        assert 0 < a.ms_ssim < 1 and not again.warnings
        found.append((a.bytes, a.psnr, a.ms_ssim))
    for column in zip(*found, strict=True):
        assert list(column) == sorted(column)
    plain = mg.compress(None, "digits", tmp_path / "b.mgz", split="test")
    assert found[0][0] < plain.bytes / 2


def test_codes_do_not_depend_on_the_batch(family):
    u = torch.from_numpy(digits()[:20])
    made = by_integers.encode(family, u, 60)[2]
    assert np.array_equal(by_integers.encode(family, u[7:8], 60)[2], made[7:8])


def test_a_loss_is_said(integers, toy, tmp_path):
    with pytest.raises(mg.UsageError, match="--quality, 1 to 100"):
        mg.compress(integers, "digits", tmp_path / "a.mgz")
    with pytest.raises(mg.UsageError, match="rate_distortion"):
        mg.compress(None, "digits", tmp_path / "a.mgz", quality=50)
    with pytest.raises(mg.UsageError, match="got 101"):
        mg.compress(integers, "digits", tmp_path / "a.mgz", quality=101)
    with pytest.raises(mg.UsageError, match="quantize"):
        mg.compress(toy("lossy"), "digits", tmp_path / "a.mgz", quality=50)


def test_archives_with_a_loss_have_a_version_of_their_own(integers, tmp_path):
    """A reader of version 1 refuses them, and still reads the others."""
    mg.compress(integers, "digits", tmp_path / "a.mgz", split="test", quality=50)
    mg.compress(None, "digits", tmp_path / "b.mgz", split="test")
    assert [(tmp_path / name).read_bytes()[8] for name in ("a.mgz", "b.mgz")] == [2, 1]
    assert mg.describe_archive(tmp_path / "a.mgz").quality == 50


def test_noise_is_coded_plainly_where_that_is_smaller(integers, tmp_path):
    noise = np.random.default_rng(0).integers(0, 17, (1, 1, 8, 8)).astype(np.uint8)
    noise = noise.repeat(300, 0)
    a = mg.compress(integers, iter([noise]), tmp_path / "a.mgz", quality=100)
    assert a.blocks == {"plain": 1} and a.psnr == 100.0
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz").x, noise)  # no block needs the model


def test_a_model_travels_inside(integers, tmp_path):
    mg.compress(integers, "digits", tmp_path / "a.mgz", split="test", quality=30, with_model=True)
    found = mg.decompress(tmp_path / "a.mgz").x
    assert np.array_equal(found, mg.decompress(tmp_path / "a.mgz", integers).x) and len(found) == len(digits())
    assert abs(found.astype(float) - digits()).mean() < abs(digits() - digits().mean(0)).mean(), "nearer than the mean"


@pytest.mark.parametrize("n", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_mutation_gives_wrong_pixels(n, integers, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "VALUES", dict.fromkeys(archives.VALUES, 64 * 40))  # 40 digits
    x = digits()[:120]
    mg.compress(integers, iter([x]), tmp_path / "a.mgz", quality=60)
    data, rng, saved = (tmp_path / "a.mgz").read_bytes(), random.Random(0), 0
    right = mg.decompress(tmp_path / "a.mgz", integers).x
    header = container.read_start(io.BytesIO(data), "a")
    with reading_family(tmp_path / "a.mgz", header, integers) as family:
        for _ in range(n):
            (tmp_path / "b.mgz").write_bytes(mutated(data, rng))
            tally = Tally()
            try:
                told = archives.read_header(tmp_path / "b.mgz")
                for block in archives.read(tmp_path / "b.mgz", told, family, tally):
                    assert np.array_equal(block.values, right[block.start : block.start + len(block.values)])
                    saved += len(block.values)
                assert tally.problems or (tmp_path / "b.mgz").read_bytes() == data
            except mg.MorphogenError:
                pass
    assert saved
