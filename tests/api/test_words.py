"""Drawing from words: what each option promises, held on models that were trained for a moment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morphogen as mg
from morphogen import ArtifactError, CapabilityError, UsageError
from tests.toys import Toys

RED, GREEN = "a large red circle", "a small green square"


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """To within the 1 of 255 that another batch size may make."""
    return a.shape == b.shape and int(np.abs(a.astype(int) - b).max()) <= 1


# --------------------------------------------------------------------- prompts


def test_a_drawing_is_what_sample_draws_at_the_same_guidance(toy: Toys) -> None:
    drawn = mg.draw(toy("words"), RED, n=3, seed=5)
    assert drawn.columns == 3 and drawn.options == {"guidance": 4.0} and drawn.warnings == ()
    assert np.array_equal(drawn.x, mg.sample(toy("words"), 3, 5, text=RED, guidance=4.0).x)
    assert not np.array_equal(drawn.x, mg.draw(toy("words"), RED, n=3, seed=5, guidance=1.0).x)
    assert len(mg.draw(toy("words, gan"), RED).x) == 4
    assert np.array_equal(mg.draw(toy("words, gan"), RED).x, mg.sample(toy("words, gan"), 4, text=RED).x)


def test_prompts_are_rows_of_the_same_noise(toy: Toys) -> None:
    both = mg.draw(toy("words"), [RED, GREEN], n=2, seed=1)
    assert both.columns == 2 and both.x.shape == (4, 3, 16, 16)
    assert close(both.x[:2], mg.draw(toy("words"), RED, n=2, seed=1).x)
    assert close(both.x[2:], mg.draw(toy("words"), GREEN, n=2, seed=1).x)
    same = mg.draw(toy("words"), [RED, RED], n=2, seed=1)
    assert close(same.x[:2], same.x[2:]) and not close(both.x[:2], both.x[2:])
    assert close(mg.draw(toy("words"), [RED, GREEN], n=2, seed=1, batch_size=3).x, both.x)


def test_exact_drawings_do_not_depend_on_what_else_is_drawn(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("prompt_grids", "sampling"):
        monkeypatch.setattr(f"morphogen.applications.{module}.CHUNK", 8)
    alone = mg.draw(toy("words"), GREEN, n=2, seed=1, exact=True)
    assert np.array_equal(mg.draw(toy("words"), [RED, GREEN], n=9, seed=1, exact=True).x[9:11], alone.x)
    assert np.array_equal(mg.sample(toy("words"), 3, 1, text=GREEN, guidance=4.0, exact=True).x[:2], alone.x)
    column = mg.draw(toy("words"), [RED, GREEN], along={"seed": [7, 1]}, exact=True).x[3]
    assert np.array_equal(column, alone.x[0])


@pytest.mark.parametrize("name", ["words", "words, gan"])
def test_weights_of_words(toy: Toys, name: str) -> None:
    plain = mg.draw(toy(name), RED, n=2)
    assert np.array_equal(mg.draw(toy(name), "a (large red:1) circle", n=2).x, plain.x)
    assert np.array_equal(
        mg.draw(toy(name), "a large (red:0) circle", n=2).x, mg.draw(toy(name), "a large circle", n=2).x
    )
    assert np.array_equal(mg.draw(toy(name), r"a large red circle (green:0)", n=2).x, plain.x)
    assert not np.array_equal(mg.draw(toy(name), "a large (red:3) circle", n=2).x, plain.x)
    assert np.array_equal(mg.sample(toy(name), 2, text="a large (red:1) circle").x, mg.sample(toy(name), 2, text=RED).x)


@pytest.mark.parametrize("name", ["words", "words, dit", "words, gan"])
def test_the_way_from_one_prompt_to_another_ends_at_both(toy: Toys, name: str) -> None:
    way = mg.draw(toy(name), RED, to="a small (green:2) square", frames=3, n=2, seed=4)
    rows = way.x.reshape(2, 3, 3, 16, 16)
    assert way.columns == 3
    for j, end in ((0, RED), (2, "a small (green:2) square")):
        assert close(rows[:, j], mg.draw(toy(name), end, n=2, seed=4).x)
    middle = rows[:, 1].astype(int)
    assert np.abs(middle - rows[:, 0]).any() and np.abs(middle - rows[:, 2]).any()
    nowhere = mg.draw(toy(name), RED, to=RED, frames=3, n=1, seed=4).x
    assert close(nowhere[0], nowhere[1]) and close(nowhere[0], nowhere[2])


# -------------------------------------------------------------------- guidance


def test_guidance_leads_away_from_a_negative_prompt(toy: Toys) -> None:
    plain = mg.draw(toy("words"), RED, n=2)
    away = mg.draw(toy("words"), RED, n=2, negative=GREEN)
    assert away.options == {"guidance": 4.0}
    assert not np.array_equal(away.x, plain.x)
    assert not np.array_equal(away.x, mg.draw(toy("words"), RED, n=2, negative="a small (green:3) square").x)
    assert close(mg.draw(toy("words"), RED, n=2, negative="").x, plain.x), "no words to lead away from is no condition"
    itself = mg.draw(toy("words"), RED, n=2, negative=RED).x
    assert close(itself, mg.draw(toy("words"), RED, n=2, guidance=1.0).x), "away from itself is no guidance"
    assert np.array_equal(mg.sample(toy("words"), 2, text=RED, negative=GREEN, guidance=4.0).x, away.x)
    (said,) = mg.draw(toy("words"), RED, n=1, negative="a crimson circle").warnings
    assert "'crimson'" in said


@pytest.mark.parametrize("negative", [None, GREEN])
def test_columns_of_a_grid_are_single_drawings(toy: Toys, negative: str | None) -> None:
    scales, seeds = [1.0, 2.0, 5.0], [3, 1]
    grid = mg.draw(toy("words"), [RED, GREEN], along={"guidance": scales}, seed=2, negative=negative)
    assert grid.columns == 3 and len(grid.x) == 6 and "guidance" not in grid.options
    for i, prompt in enumerate((RED, GREEN)):
        for j, w in enumerate(scales):
            away = None if w == 1.0 else negative  # 1 is no guidance
            alone = mg.draw(toy("words"), prompt, n=1, seed=2, guidance=w, negative=away)
            assert close(grid.x[3 * i + j], alone.x[0])
    grid = mg.draw(toy("words"), [RED, GREEN], along={"seed": seeds}, negative=negative)
    for i, prompt in enumerate((RED, GREEN)):
        for j, seed in enumerate(seeds):
            assert close(grid.x[2 * i + j], mg.draw(toy("words"), prompt, n=1, seed=seed, negative=negative).x[0])


def test_a_model_that_never_drew_without_a_prompt_is_not_led_away_from_that(toy: Toys) -> None:
    plain = mg.draw(toy("words, never without"), RED, n=1)
    assert plain.options == {} and plain.warnings == ()
    (said,) = mg.draw(toy("words, never without"), RED, n=1, guidance=2.0).warnings
    assert "condition_dropout" in said
    away = mg.draw(toy("words, never without"), RED, n=1, negative=GREEN)
    assert away.options == {"guidance": 4.0} and away.warnings == ()


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("words", {"negative": GREEN, "guidance": 1.0}, "scale 1 is none"),
        ("words", {"n": 0}, "--n is a whole number from 1"),
        ("words", {"batch_size": 0}, "--batch-size is a whole number from 1"),
        ("words", {"prompts": []}, "no prompt"),
        ("words", {"to": GREEN, "frames": 1}, "--frames is a whole number from 2"),
        ("words", {"to": GREEN, "prompts": [RED, GREEN]}, "starts from one prompt"),
        ("words", {"to": GREEN, "along": {"seed": [1]}}, "without a grid"),
        ("words", {"along": {"seed": [1], "guidance": [2.0]}}, "one thing along its columns"),
        ("words", {"along": {"sead": [1]}}, "did you mean 'seed'"),
        ("words", {"along": {"seed": []}}, "it has none"),
        ("words", {"along": {"guidance": [2.0]}, "guidance": 3.0}, "leave out the other one"),
        ("words", {"along": {"seed": [1]}, "n": 3}, "leave out --n"),
        ("words", {"truncation": 0.5}, "not sampled with 'truncation'"),
        ("words", {"prompts": "a (red:-1) circle"}, "from 0 to 1000"),
        ("words, gan", {"negative": GREEN}, "not sampled with 'negative'.*diffusion"),
        ("words, gan", {"along": {"guidance": [2.0]}}, "not sampled with 'guidance'"),
    ],
)
def test_wrong_requests_say_what_to_do(toy: Toys, name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mg.draw(toy(name), **{"prompts": RED, **arguments})


# ----------------------------------------------------------------- fingerprint


def test_a_fingerprint_is_of_all_that_drawings_depend_on(toy: Toys, tmp_path: Path) -> None:
    one = mg.fingerprint(toy("words"))
    assert len(one) == 64 and one == mg.fingerprint(str(toy("words"))) != mg.fingerprint(toy("words, dit"))
    copy = tmp_path / "moved"
    shutil.copytree(toy("words"), copy)
    assert mg.fingerprint(copy) == one
    mg.evaluate(copy, "shapes:size=16,n=300", ["nll"], n=16)
    assert mg.fingerprint(copy) == one, "what is found out about a model changes nothing that it draws"
    with pytest.raises(ArtifactError):
        mg.fingerprint(tmp_path)


# ----------------------------------------------------------------------- edits


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_edits_follow_words(toy: Toys) -> None:
    def edit(**how: Any) -> np.ndarray:
        return mg.edit(toy("words"), noise(), n=2, **how).x

    red = edit(text=RED)
    assert not np.array_equal(red, edit(text=GREEN)) and not np.array_equal(red[0], red[1])
    assert np.array_equal(red, edit(text=RED, guidance=4.0)), "the default of `draw`"
    assert np.array_equal(red, edit(text="a (large red:1) circle"))
    assert not np.array_equal(red, edit(text="a large (red:3) circle"))
    away = edit(text=RED, negative=GREEN)
    assert not np.array_equal(away, red)
    assert close(edit(text=RED, negative=RED), edit(text=RED, guidance=1.0)), "away from itself is no guidance"
    assert not np.array_equal(edit(negative=GREEN), edit()), "away from words, towards nothing"
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = 255
    kept = edit(text=RED, negative=GREEN, mask=mask, strength=1.0)
    assert np.array_equal(kept[:, :, 8:], noise().transpose(2, 0, 1)[None, :, 8:].repeat(2, 0))
    assert not np.array_equal(kept[:, :, :8], edit(text=GREEN, mask=mask, strength=1.0)[:, :, :8])


def test_a_negative_prompt_reaches_every_window(toy: Toys) -> None:
    wide = np.concatenate((noise(1), noise(2)), axis=1)
    plain = mg.edit(toy("words"), wide, text=RED, tiles=True, steps=2)
    away = mg.edit(toy("words"), wide, text=RED, negative=GREEN, tiles=True, steps=2)
    assert plain.x.shape == (1, 3, 16, 32) and not np.array_equal(plain.x, away.x)
    itself = mg.edit(toy("words"), wide, text=RED, negative=RED, tiles=True, steps=2)
    assert close(itself.x, mg.edit(toy("words"), wide, text=RED, guidance=1.0, tiles=True, steps=2).x)


def test_edits_away_from_words_without_guidance_are_refused(toy: Toys) -> None:
    with pytest.raises(UsageError, match="scale 1 is none"):
        mg.edit(toy("words"), noise(), text=RED, negative=GREEN, guidance=1.0)


# ------------------------------------------------------------------- attention


@pytest.mark.parametrize("name", ["words", "words, dit", "words, gan"])
def test_maps_are_shares_of_attention_in_the_pictures_that_are_drawn(toy: Toys, name: str) -> None:
    found = mg.attention_maps(toy(name), "a large (red:2) crimson circle", n=2, seed=3)
    assert found.words == ("a", "large", "red", "crimson", "circle") and "'crimson'" in found.warnings[0]
    assert np.array_equal(found.x, mg.draw(toy(name), "a large (red:2) crimson circle", n=2, seed=3).x)
    assert found.maps.shape == (2, 5, 16, 16) and found.maps.dtype == np.float32
    assert (found.maps > 0).all() and (found.maps.sum(1) < 1).all()
    assert mg.attention_maps(toy(name), "a (red:0) circle").words == ("a", "circle")


@pytest.mark.parametrize("name", ["words", "words, dit"])
def test_only_what_was_asked_for_the_prompt_counts(toy: Toys, name: str) -> None:
    """In the first step all see the same noise, so what is led away from can make no difference."""
    alone = mg.attention_maps(toy(name), RED, steps=1, guidance=1.0)
    led = mg.attention_maps(toy(name), RED, steps=1, guidance=5.0, negative=GREEN)
    assert np.array_equal(alone.maps, led.maps) and not np.array_equal(alone.x, led.x)


def test_a_heavier_word_gets_more_attention(toy: Toys) -> None:
    def share(weight: float) -> np.ndarray:
        found = mg.attention_maps(toy("words"), f"a large (red:{weight}) circle", steps=1)
        return found.maps[0, found.words.index("red")]

    assert (share(1.0) < share(2.0)).all() and (share(2.0) < share(4.0)).all()


def test_without_cross_attention_there_are_no_maps(toy: Toys) -> None:
    with pytest.raises(CapabilityError, match=r"as one vector alone.*--attention 1 or more, or a dit"):
        mg.attention_maps(toy("words, no attention"), RED)
    for prompt in ("", "(red:0)"):
        with pytest.raises(UsageError, match="no words"):
            mg.attention_maps(toy("words"), prompt)
    with pytest.raises(UsageError, match="1 to 64"):
        mg.attention_maps(toy("words"), RED, n=0)
