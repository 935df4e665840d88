"""Archives: what comes back is what was packed, damage costs what it hits, and nothing wrong is ever given out."""

import io
import random
import warnings

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.api.archive_models import reading_family
from morphogen.applications.compression import archives, by_conditionals, by_latents, container, plain
from morphogen.applications.compression.archives import Tally
from morphogen.applications.compression.container import Header
from morphogen.applications.compression.frequency_coding import by_frequencies, stream
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.rng import Rng


@pytest.fixture(scope="module")
def integers(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("integers") / "model"
    mg.quantize(toy("pixels"), out, "digits", n=20)
    return out


@pytest.fixture(scope="module")
def of_latents(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("latents") / "model"
    mg.quantize(toy("vae"), out, "digits", n=20)
    return out


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(archives, "VALUES", dict.fromkeys(archives.VALUES, 64 * 40))  # 40 digits
    monkeypatch.setattr(archives, "LOCKSTEP", 1)


def digits():
    return mg.load_data("digits").test.stored.numpy()


def test_the_integer_form_loses_little(toy, tmp_path):
    found = mg.quantize(toy("pixels"), tmp_path / "integers", "digits", n=10)
    assert abs(found.loss) < 1e-3 and found.largest_sum < 2**53
    assert found.checked == 10 * 10  # one place of each record in each of nine layers, and its frequencies
    with pytest.raises(mg.SpecError, match="already"):
        mg.quantize(tmp_path / "integers", tmp_path / "again", "digits")
    with pytest.raises(mg.SpecError, match="does not learn"):
        mg.train("autoregressive", "digits", tmp_path / "run", integer=True, steps=1)


def test_a_model_codes_what_plain_coding_codes_longer(integers, tmp_path):
    x = digits()
    a = mg.compress(integers, "digits", tmp_path / "a.mgz", split="test", compare=True)
    assert a.records == len(x) and a.blocks == {"conditionals": 1} and a.exact
    assert 0 < a.bytes - a.ideal_bits_per_dim * x.size / 8 < 700  # heads and the header
    assert a.gap == pytest.approx(a.bits_per_dim / a.ideal_bits_per_dim - 1.0)
    assert a.bits_per_dim < min(a.rivals.values())
    found = mg.decompress(tmp_path / "a.mgz", integers)
    assert np.array_equal(found.x, x) and found.x.dtype == np.uint8 and not found.warnings


def test_the_code_is_as_long_as_the_likelihood_says(integers, tmp_path):
    """log2 P of the integer form, from a whole pass, is the length of the code of the walk, to within two words."""
    family = mg.load(integers, "cpu").module
    u = torch.from_numpy(digits()[:30])
    code, bits = by_conditionals.encode(family, u, 17)
    log_p = family.score(mg.load_data("digits").spec.encode(u), None, Rng(0)).value
    assert bits == pytest.approx(float(-log_p.sum() / np.log(2.0)), rel=1e-9)
    assert 0 <= 8 * len(code) - bits < 64


def test_bits_back_is_exact_and_as_long_as_the_bound(of_latents, tmp_path):
    """Beside the records that the plain coder takes, a record costs the negative of the evidence lower bound."""
    x = mg.load_data("digits").train.stored.numpy()
    a = mg.compress(of_latents, "digits", tmp_path / "a.mgz", split="train")
    assert a.blocks == {"latents": 1}
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz", of_latents).x, x)
    bound = mg.evaluate(of_latents, "digits", ["bits_per_dim"], split="train").results[0]
    coded = a.ideal_bits_per_dim / (1.0 - _plainly(of_latents, tmp_path / "a.mgz") / len(x))
    assert coded == pytest.approx(bound.value, rel=0.01)
    assert a.bits_per_dim == pytest.approx(bound.value, rel=0.03)


def _plainly(model, path):
    """How many records of the first block are coded plainly."""
    block = next(archives.blocks(path, Tally()))
    return int.from_bytes(block.code[:4], "little")


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 3)])
@pytest.mark.parametrize("likelihood", ["categorical", "discretized_logistic_mixture"])
def test_both_heads_code_colors_and_grays(shape, likelihood):
    """The code of a model whose every weight matters is as long as its likelihood says, and comes back."""
    data = DataSpec(name="pictures", shape=shape, kind="continuous", levels=100)
    small = {"width": 8, "inner": 6, "blocks": 2, "hidden": 8, "stem": (2, 2), "likelihood": likelihood}
    with Rng(0).forked():
        model = registry.family("autoregressive")(registry.family("autoregressive").Spec.parse(small), data)
        for p in model.parameters():
            p.data.add_(0.5 * torch.randn_like(p) / p[0].numel() ** 0.5)
    integers = model.eval().quantized(16)
    assert max(integers.sums().values()) < 2**53
    u = data.decode(model.sample(5, None, Rng(1)))  # likely pictures: frequencies are no smaller than 2^-24
    for form in (model, integers):
        code, bits = by_conditionals.encode(form, u, 100)
        assert np.array_equal(by_conditionals.decode(form, code, 5, shape, 100), u.numpy())
        log_p = form.score(data.encode(u, torch.float64 if form is integers else torch.float32), None, Rng(0)).value
        assert bits == pytest.approx(float(-log_p.sum() / np.log(2.0)), rel=2e-3)


def test_groups_of_latents_are_coded_one_after_the_other(toy, tmp_path):
    mg.quantize(toy("ladder"), tmp_path / "integers", "digits", n=10)
    family = mg.load(tmp_path / "integers", "cpu").module
    u = torch.from_numpy(mg.load_data("digits").train.stored.numpy()[:150])
    code, _ = by_latents.encode(family, u, 17)
    assert by_latents.encode(family, u[:2], 17)[0] is None  # the plain coder takes so few
    assert int.from_bytes(code[:4], "little") < 100  # others go through the networks
    assert np.array_equal(by_latents.decode(family, code, 150, (1, 8, 8), 17), u.numpy())


def test_a_latent_model_needs_its_integer_form(toy, tmp_path):
    with pytest.raises(mg.UsageError, match="quantize"):
        mg.compress(toy("vae"), "digits", tmp_path / "a.mgz", this_machine_only=True)
    with pytest.raises(mg.CapabilityError, match="Quantizes"):
        mg.quantize(toy("vamp"), tmp_path / "integers", "digits")


def test_frequencies_do_not_depend_on_the_batch(integers):
    family = mg.load(integers, "cpu").module
    u = torch.from_numpy(digits()[:30])
    whole, _ = by_conditionals.encode(family, u[7:8], 17)
    s, several, alone = family.symbols(u), family.conditionals(30), family.conditionals(1)
    f, g = next(several), next(alone)
    for t in range(s.shape[1] - 1):
        assert torch.equal(f[7:8], g)
        f, g = several.send(s[:, t]), alone.send(s[7:8, t])
    assert by_conditionals.encode(family, u[7:8], 17)[0] == whole


def test_the_coder_has_the_frequencies_that_it_is_given():
    """Each edge of each value's interval, by a coder in that very state."""
    f = np.array([5, 1_000_000, 1, 7, 300, 2**24 - 1_000_313], dtype=np.float64)
    ends = np.cumsum(f).astype(int)
    for k, (first, last) in enumerate(zip([0, *ends[:-1]], ends - 1, strict=True)):
        for state in (first, last):
            coder = stream().stack.AnsCoder(np.array([state, 12345], dtype=np.uint32))
            assert coder.decode(by_frequencies(), (f - 1.0)[None])[0] == k


@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 4, 4), (7,)])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_plain_coding_is_exact(shape, levels):
    rng = np.random.default_rng(0)
    smooth = np.minimum(np.cumsum(rng.integers(0, 2, (9, *shape)), axis=-1), levels - 1)
    for x in (rng.integers(0, levels, (9, *shape)), smooth):
        x = x.astype(np.uint8)
        assert np.array_equal(plain.decode(plain.encode(x, levels), 9, shape, levels), x)


def test_names_and_pictures_come_back(tmp_path):
    from PIL import Image

    (tmp_path / "photos" / "inner").mkdir(parents=True)
    rng = np.random.default_rng(0)
    given = {f"inner/{i}.png": rng.integers(0, 256, (5, 4, 3), dtype=np.uint8) for i in range(6)}
    for name, x in given.items():
        Image.fromarray(x).save(tmp_path / "photos" / name)
    mg.compress(None, tmp_path / "photos", tmp_path / "a.mgz")
    found = mg.decompress(tmp_path / "a.mgz", out=tmp_path / "out")
    assert len(found.names) == 6
    for name, x in zip(found.names, found.x, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)).transpose(2, 0, 1), x)
        assert np.array_equal(x, next(v for n, v in given.items() if name.endswith(n)).transpose(2, 0, 1))
    mg.decompress(tmp_path / "a.mgz", out=tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as npz:
        assert np.array_equal(npz["x"], found.x) and list(npz["names"]) == list(found.names)


def test_names_do_not_lead_out_of_the_folder(tmp_path):
    x = np.zeros((3, 1, 2, 2), np.uint8)
    header = Header(shape=[1, 2, 2], levels=256, block=10)
    archives.write(tmp_path / "a.mgz", header, [(x, ["../../up.png", "/abs", "a/../a"])], None, None)
    mg.decompress(tmp_path / "a.mgz", out=tmp_path / "deep" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mgz", "deep"]
    assert len(list((tmp_path / "deep" / "out").rglob("*.png"))) == 3


def test_a_stream_goes_through_in_blocks(integers, tmp_path, small_blocks):
    x = digits()
    pieces = (x[i : i + 33] for i in range(0, len(x), 33))
    a = mg.compress(integers, pieces, tmp_path / "a.mgz")
    assert a.records == len(x) and a.blocks == {"conditionals": -(-len(x) // 40)}
    read = list(mg.decompressing(tmp_path / "a.mgz", integers, tmp_path / "pictures"))
    assert np.array_equal(np.concatenate([block.x for block in read]), x) and len(read) == -(-len(x) // 40)
    assert len(list((tmp_path / "pictures").iterdir())) == len(x)
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz", integers).x, x)


def test_large_records_are_coded_many_at_a_time():
    sizes = [archives.block_of(d, container.CONDITIONALS) for d in (64, 784, 3 * 128 * 128, 3 * 1024 * 1024, 1 << 26)]
    assert sizes == [8192, 668, 64, 21, 1]
    assert archives.block_of(3 * 128 * 128, container.PLAIN) == 10


def test_a_model_travels_inside(integers, tmp_path):
    a = mg.compress(integers, "digits", tmp_path / "a.mgz", split="test", with_model=True)
    assert 0 < a.model_bytes < a.bytes
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz").x, digits())


def test_what_no_model_knows_is_coded_plainly(integers, tmp_path):
    noise = np.random.default_rng(0).integers(0, 17, (20, 1, 8, 8)).astype(np.uint8)
    noise[:] = noise[:1]
    a = mg.compress(integers, iter([noise]), tmp_path / "a.mgz")
    assert a.blocks == {"plain": 1}
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz", integers).x, noise)


def test_a_model_in_floating_point_is_for_this_machine(toy, tmp_path):
    with pytest.raises(mg.UsageError, match="quantize"):
        mg.compress(toy("pixels"), "digits", tmp_path / "a.mgz")
    a = mg.compress(toy("pixels"), "digits", tmp_path / "a.mgz", split="test", this_machine_only=True)
    assert not a.exact
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz", toy("pixels")).x, digits())


def test_another_model_is_refused(integers, toy, tmp_path):
    mg.compress(integers, "digits", tmp_path / "a.mgz", split="test")
    with pytest.raises(mg.ArtifactError, match="is not the model"):
        mg.decompress(tmp_path / "a.mgz", toy("pixels"))
    with pytest.raises(mg.UsageError, match="--model"):
        mg.decompress(tmp_path / "a.mgz")
    with pytest.raises(mg.CapabilityError, match="autoregressive"):
        mg.compress(toy("gan"), "digits", tmp_path / "b.mgz")


def test_a_newer_version_and_no_archive_are_told(tmp_path):
    mg.compress(None, "digits", tmp_path / "a.mgz", split="test")
    data = bytearray((tmp_path / "a.mgz").read_bytes())
    data[8:10] = (container.VERSION + 1).to_bytes(2, "little")
    (tmp_path / "b.mgz").write_bytes(data)
    with pytest.raises(mg.DataError, match="newer"):
        mg.decompress(tmp_path / "b.mgz")
    (tmp_path / "c.mgz").write_bytes(b"something else")
    with pytest.raises(mg.DataError, match="no archive"):
        mg.describe_archive(tmp_path / "c.mgz")
    with pytest.raises(mg.DataError, match="cannot be read"):
        mg.describe_archive(tmp_path / "nowhere.mgz")


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(file, end):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container, "write_end", full)
    with pytest.raises(mg.MorphogenError, match="No space left"):
        mg.compress(None, "digits", tmp_path / "a.mgz", split="test")
    assert list(tmp_path.iterdir()) == []


def test_damage_costs_the_block_that_it_hits(integers, tmp_path, small_blocks):
    x = digits()
    mg.compress(integers, "digits", tmp_path / "a.mgz", split="test")
    data = (tmp_path / "a.mgz").read_bytes()
    header = container.read_start(io.BytesIO(data), "a")
    parts = [p for p in archives.blocks(tmp_path / "a.mgz", Tally()) if p.index == 3]
    place = data.index(parts[0].code)
    for hit in (place + 5, place - 20):  # in its code, and in its head
        changed = bytearray(data)
        changed[hit] ^= 16
        (tmp_path / "b.mgz").write_bytes(changed)
        with pytest.warns(mg.MorphogenWarning, match="damaged|lost"):
            found = mg.decompress(tmp_path / "b.mgz", integers)
        kept = np.delete(np.arange(len(x)), np.arange(3 * header.block, 4 * header.block))
        assert np.array_equal(found.places, kept) and np.array_equal(found.x, x[kept])


def mutated(data, rng):
    """The bytes with one thing wrong."""
    data = bytearray(data)
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            del data[at : at + rng.randrange(1, 60)]
        case 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 60))
        case 4:
            size = rng.randrange(1, 200)
            other = rng.randrange(len(data))
            data[at : at + size] = data[other : other + size]
    return bytes(data)


@pytest.mark.parametrize("kind", ["model", "latents", "inside", "plain"])
@pytest.mark.parametrize("n", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_mutation_gives_wrong_pixels(kind, n, integers, of_latents, tmp_path, small_blocks):
    x = digits()[:120]
    model = None if kind == "plain" else of_latents if kind == "latents" else integers
    a = mg.compress(model, iter([x]), tmp_path / "a.mgz", with_model=kind == "inside")
    data, rng = (tmp_path / "a.mgz").read_bytes(), random.Random(0)
    header = container.read_start(io.BytesIO(data), "a")
    saved, refused = 0, 0
    with reading_family(tmp_path / "a.mgz", header, model) as family:
        for _ in range(n):
            changed = mutated(data, rng)
            if changed == data:
                continue
            (tmp_path / "b.mgz").write_bytes(changed)
            tally = Tally()
            try:
                told = archives.read_header(tmp_path / "b.mgz")
                if told.model is not None and kind == "inside":
                    archives.read_inside(tmp_path / "b.mgz")
                assert told == header  # its CRC has seen to it
                for block in archives.read(tmp_path / "b.mgz", told, family, tally):
                    assert np.array_equal(block.values, x[block.start : block.start + len(block.values)])
                    saved += len(block.values)
                assert tally.problems
            except mg.MorphogenError:
                refused += 1
    assert saved and refused and a.records == 120


def test_hostile_heads_take_no_memory(tmp_path):
    """A head with a right checksum that asks for more than there may be is none."""
    header = Header(shape=[1, 2, 2], levels=256, block=10)
    huge = container.Block(0, 10, container.PLAIN, b"", plain.encode(np.zeros((10, 1, 2, 2), np.uint8), 256), 0)
    file = io.BytesIO()
    container.write_block(file, container.Block(0, 1 << 31, 0, b"", b"", 0))
    container.write_block(file, huge)
    file.seek(0)
    parts = list(container.read_parts(file, header))
    assert isinstance(parts[0], container.Problem) and parts[1] == huge
    with pytest.raises(ValueError, match="26"):
        Header(shape=[1 << 20, 1 << 20], levels=256, block=1)
    bomb = plain.encode(np.zeros((1 << 20, 1), np.uint8), 256)
    with warnings.catch_warnings(), pytest.raises(mg.DataError):
        plain.unpress(bomb[1:], 1000)


def test_plain_blocks_need_no_model(integers, tmp_path):
    """An archive whose blocks are all plain is read without the model that it was made with."""
    noise = np.random.default_rng(0).integers(0, 17, (20, 1, 8, 8)).astype(np.uint8)
    noise[:] = noise[:1]
    a = mg.compress(integers, iter([noise]), tmp_path / "a.mgz")
    assert a.blocks == {"plain": 1} and a.model is not None
    assert np.array_equal(mg.decompress(tmp_path / "a.mgz").x, noise)
    assert mg.describe_archive(tmp_path / "a.mgz", verify=True).warnings == ()
