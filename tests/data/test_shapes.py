"""`shapes`: the pictures, what is withheld from training, and the parser."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from morphogen.core.errors import DataError
from morphogen.data import load
from morphogen.data.shapes import COLORS, RELATIONS, SHAPES, SIZES, WITHHELD, captions, draw, scenes, triples
from morphogen.data.shapes_parser import Object, check, parse, relation

BLURS = {16: 0.5, 24: 0.5, 32: 0.7, 64: 0.7}
TRIPLES = set(itertools.product(SIZES, COLORS, SHAPES))


def pairs(found):
    return {(i, j, t[i], t[j]) for t in found for i, j in ((0, 1), (0, 2), (1, 2))}


def mentioned(caption):
    """The triples of a caption, read by position: a SIZE COLOR SHAPE ... a SIZE COLOR SHAPE."""
    words = caption.split()
    return [tuple(words[1:4]), *([tuple(words[-3:])] if len(words) > 4 else [])]


def test_triples_are_withheld_whose_pairs_are_all_seen():
    data = load("shapes:size=16,n=3000")
    seen = {t for split in ("train", "validation", "test") for c in data.split(split).captions for t in mentioned(c)}
    assert seen == TRIPLES - WITHHELD
    trained = {t for c in data.train.captions for t in mentioned(c)}
    assert pairs(trained) == pairs(TRIPLES)
    assert all(not WITHHELD.isdisjoint(mentioned(c)) for c in data.split("test_withheld").captions)
    assert {t for c in data.split("test_withheld").captions for t in mentioned(c)} >= WITHHELD
    assert data.spec.text is not None and data.spec.text.longest == 2 + max(len(c.split()) for c in data.train.captions)


def test_pictures_depend_on_their_number_and_the_seed_alone():
    small, large = load("shapes:size=16,n=300"), load("shapes:size=16,n=900")
    for name, records in small.splits.items():
        more = large.split(name)
        assert torch.equal(more.ids[: len(records)], records.ids)
        assert torch.equal(more.stored[: len(records)], records.stored)
    assert load("shapes:size=16,n=300,seed=1").spec.fingerprint != small.spec.fingerprint
    assert sum(large.spec.splits.values()) == 900


def test_scenes_are_what_they_say():
    found = scenes(torch.arange(4000), seed=0)
    first, second = found.center[:, 0], found.center[:, 1]
    apart = (second - first)[found.two]
    said = found.relation[found.two]
    vertical = said < 2
    along = torch.where(vertical, apart[:, 1], apart[:, 0])
    across = torch.where(vertical, apart[:, 0], apart[:, 1])
    assert torch.equal(along > 0, said % 2 == 0)
    assert (across.abs() < 0.8 * along.abs()).all()
    assert (found.color[:, 0] != found.color[:, 1]).all()
    for values, n in ((found.size, 2), (found.color, 6), (found.shape, 4), (found.relation, 4)):
        share = torch.bincount(values.flatten(), minlength=n) / values.numel()
        deviation = (1 / n * (1 - 1 / n) / values.numel()) ** 0.5
        assert (share - 1 / n).abs().max() < 5 * deviation


def test_pictures_have_as_many_objects_as_asked_for():
    loaded = {objects: load(f"shapes:size=16,n=300,objects={objects}").train for objects in ("any", "one", "two")}
    said = {objects: {len(mentioned(caption)) for caption in records.captions} for objects, records in loaded.items()}
    assert said == {"any": {1, 2}, "one": {1}, "two": {2}}
    for objects, records in loaded.items():
        for caption, picture in zip(records.captions[:20], records.stored[:20], strict=True):
            assert all(check(caption, picture).values()), (objects, caption)
    free, single, pair = (scenes(torch.arange(300), 0, objects) for objects in ("any", "one", "two"))
    assert all(torch.equal(one.size[:, 0], free.size[:, 0]) for one in (single, pair))
    assert torch.equal(draw(single, 16)[~free.two], draw(free, 16)[~free.two])
    assert torch.equal(draw(pair, 16)[free.two], draw(free, 16)[free.two])
    assert load("shapes:size=16,n=300").spec == load("shapes:size=16,n=300,objects=any").spec


@pytest.mark.parametrize("side", [16, 24, 32, 64])
def test_nothing_is_cut_off_at_the_border(side):
    pictures = draw(scenes(torch.arange(500), seed=3), side)
    border = torch.ones(side, side, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    inside = (240 - pictures.float().amin(1)).flatten(1).amax(1)
    assert (240 - pictures[..., border].float()).max() <= 0.5 * 215  # at most the soft half of an edge
    assert (inside > 60).all()


@pytest.mark.parametrize("side", [16, 24, 32, 64])
@pytest.mark.parametrize("blurred", [False, True])
def test_the_parser_is_right_on_every_picture(side, blurred):
    found = scenes(torch.arange(500), seed=11)
    pictures = draw(found, side).permute(0, 2, 3, 1).numpy()
    if blurred:
        sigma = BLURS[side]
        pictures = np.rint(gaussian_filter(pictures.astype(float), (0, sigma, sigma, 0), mode="nearest"))
        pictures = pictures.astype(np.uint8)
    for i, caption in enumerate(captions(found)):
        statements = check(caption, pictures[i])
        assert all(statements.values()), (caption, statements)
        count = 1 + int(found.two[i])
        assert len(statements) == (4 if count == 1 else 8)


def test_the_parser_says_what_is_where():
    found = scenes(torch.arange(60), seed=12)
    for side in BLURS:
        for i, picture in enumerate(draw(found, side)):
            objects = {(o.size, o.color, o.shape): o.position for o in parse(picture)}
            count = 1 + int(found.two[i])
            assert objects.keys() == set(triples(found, i)[:count])
            for words, center in zip(triples(found, i)[:count], found.center[i].tolist(), strict=False):
                assert max(abs(a - b) for a, b in zip(objects[words], center, strict=True)) < 0.1 / side


def truths(caption, objects):
    """Every reading of a caption on true objects: name -> whether it holds, one for each way to match them."""
    said = mentioned(caption)
    for chosen in itertools.permutations([*objects, *[None] * len(said)], len(said)):
        holds = {f"there {'is 1 object' if len(said) == 1 else 'are 2 objects'}": len(objects) == len(said)}
        for name, words, found in zip(("first", "second"), said, chosen, strict=False):
            for article, k in (("", 0), ("", 1), ("a ", 2)):
                true = found is not None and (found.size, found.color, found.shape)[k] == words[k]
                holds[f"the {name} is {article}{words[k]}"] = true
        if len(said) == 2:
            between = " ".join(caption.split()[4:-4])
            (ax, ay), (bx, by) = ((o.position if o else (0, 0)) for o in chosen)
            true = {"above": by - ay, "below": ay - by, "left of": bx - ax, "right of": ax - bx}
            holds[f"the first is {between} the second"] = None not in chosen and true[between] == max(true.values())
        yield holds


@pytest.mark.parametrize("side", [16, 32])
def test_false_statements_of_shuffled_captions_are_reported_false(side):
    n = 300
    found = scenes(torch.arange(n), seed=5)
    pictures, texts = draw(found, side), captions(found)
    for i in range(n):
        caption = texts[(i + 1) % n]
        objects = [
            Object(*words, position=tuple(center))
            for words, center in zip(triples(found, i), found.center[i].tolist(), strict=True)
        ][: 1 + int(found.two[i])]
        readings = list(truths(caption, objects))
        most = max(sum(r.values()) for r in readings)
        assert check(caption, pictures[i]) in [r for r in readings if sum(r.values()) == most]


def test_each_word_of_a_caption_matters():
    found = scenes(torch.arange(40), seed=2)
    pictures, texts = draw(found, 32), captions(found)
    words = [SIZES, tuple(COLORS), SHAPES]
    for i in range(40):
        for kinds in words:
            for word in kinds:
                if f" {word}" in texts[i]:
                    other = kinds[(kinds.index(word) + 1) % len(kinds)]
                    assert not all(check(texts[i].replace(f" {word}", f" {other}", 1), pictures[i]).values())
        if found.two[i]:
            said = RELATIONS[int(found.relation[i])]
            for other in set(RELATIONS) - {said}:
                statements = check(texts[i].replace(said, other), pictures[i])
                assert not statements[f"the first is {other} the second"] or sum(statements.values()) < len(statements)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_nothing_is_seen_on_empty_pictures_and_noise(side):
    rng = np.random.default_rng(0)
    shape = (side, side, 3)
    for k in range(18):
        for nothing in (
            np.full(shape, 240),
            np.full(shape, rng.integers(256)),
            np.broadcast_to(rng.integers(0, 256, 3), shape),
            rng.integers(0, 256, shape),
            np.clip(240 + (10, 30, 80)[k % 3] * rng.normal(size=shape), 0, 255),
            np.kron(rng.integers(0, 256, (side // 4, side // 4, 3)), np.ones((4, 4, 1))),
        ):
            picture = np.asarray(nothing).astype(np.uint8)
            assert parse(picture) == []
            assert not any(check("a small red circle", picture).values())


def test_what_is_no_shape_is_no_object_and_spoils_the_count():
    found = scenes(torch.arange(40), seed=0)
    i = next(i for i in range(40) if not found.two[i] and 0.3 < found.center[i, 0, 1] < 0.6)
    picture, caption = draw(found, 32)[i], captions(found)[i]
    assert check(caption, picture)["there is 1 object"]
    picture[:, 27:30, 2:30] = torch.tensor([220, 40, 40], dtype=torch.uint8)[:, None, None]  # a bar
    statements = check(caption, picture)
    assert not statements.pop("there is 1 object")
    assert all(statements.values()) and len(parse(picture)) == 1


def test_relation_is_that_of_the_longer_axis():
    def at(x, y):
        return Object("small", "red", "circle", (x, y))

    assert relation(at(0.5, 0.2), at(0.6, 0.8)) == "above"
    assert relation(at(0.6, 0.8), at(0.5, 0.2)) == "below"
    assert relation(at(0.1, 0.3), at(0.8, 0.5)) == "left of"
    assert relation(at(0.8, 0.5), at(0.1, 0.3)) == "right of"


def test_wrong_input_is_explained():
    picture = np.full((16, 16, 3), 240, np.uint8)
    for caption in ("", "a red circle", "a small red dog", "a small red circle over a large blue square"):
        with pytest.raises(DataError, match="expected a caption such as"):
            check(caption, picture)
    for bad in (picture[:8], picture[..., :1], picture.astype(float), picture[:8, :8]):
        with pytest.raises(DataError, match="expected a square RGB picture"):
            parse(bad)
    with pytest.raises(DataError, match="16 to 64 pixels"):
        load("shapes:size=8")
