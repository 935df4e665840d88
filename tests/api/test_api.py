"""The functions that a user calls, on a small model of binarized digits that knows their classes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from morphogen import api
from morphogen.core.batch import RawCondition
from morphogen.core.errors import ArtifactError, DataError, SpecError, UsageError
from morphogen.trainer import Event

OPTIONS: dict[str, Any] = {"latent_dim": 2, "hidden": (64,), "conditional": True, "lr": 5e-3, "ema": None}
LIKELIHOODS = ("elbo", "nll", "bits_per_dim")
QUICK: dict[str, Any] = {"compile": "off", "precision": "fp32"}


def trained(out: Path, data: str = "digits:binary", **how: Any) -> Path:
    events = list(api.training("vae", data, out, **{"options": OPTIONS, "recipe": {**QUICK, "steps": 2}, **how}))
    assert events[-1].remaining_s == 0.0 and events[-1].step == events[-1].total
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("api") / "model", recipe={**QUICK, "steps": 400})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unconditional, with three latents, and hardly trained."""
    return trained(tmp_path_factory.mktemp("api") / "plain", options={"latent_dim": 3, "hidden": (8,)})


# -------------------------------------------------------------------- training


def test_the_default_length_is_ten_minutes(tmp_path: Path) -> None:
    events = api.training("vae", "digits", tmp_path / "m", options=OPTIONS, recipe=QUICK)
    next(events)
    _close(events)
    shown = api.describe(tmp_path / "m")
    assert shown["recipe"]["budget"] == 600.0
    assert shown["provenance"]["complete"] is False


@pytest.mark.parametrize("length", [{"steps": 2}, {"epochs": 0.1}, {"budget": "0.2s"}])
def test_a_length_that_is_given_is_the_only_one(tmp_path: Path, length: dict[str, Any]) -> None:
    trained(tmp_path / "m", recipe={**QUICK, **length})
    recipe = api.describe(tmp_path / "m")["recipe"]
    assert {name for name in ("steps", "epochs", "budget") if recipe[name] is not None} == set(length)


def test_a_start_gives_the_first_weights_and_is_recorded(model: Path, tmp_path: Path) -> None:
    recipe = {**QUICK, "steps": 50, "log_every": 1}
    events = api.training("vae", "digits:binary", tmp_path / "m", options=OPTIONS, recipe=recipe, start=model)
    next(events)
    weights = load_file(model / "weights.safetensors")
    with safe_open(tmp_path / "m" / "checkpoint" / "state.safetensors", framework="pt") as checkpoint:
        assert json.loads(checkpoint.metadata()["state"])["step"] == 0
        for name, value in weights.items():
            assert torch.equal(checkpoint.get_tensor(f"weights/{name}"), value)
    _close(events)
    after = load_file(tmp_path / "m" / "weights.safetensors")
    assert any(not torch.equal(after[name], value) for name, value in weights.items())
    assert api.describe(tmp_path / "m")["provenance"]["started_from"]["model"] == model.name


def test_a_start_of_another_shape_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot start from .* with latent_dim \d+, not 3; give the same"):
        trained(tmp_path / "m", options={**OPTIONS, "latent_dim": 3}, start=model)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 1, 12, 12)).astype(np.uint8)
    other = {"x": pixels, "labels": np.arange(40) % 10}
    with pytest.raises(SpecError, match=r"its records have shape \(1, 8, 8\), and these have \(1, 12, 12\)"):
        api.train("vae", other, tmp_path / "m", steps=1, likelihood="gaussian", start=model)
    with pytest.raises(ArtifactError, match="no such model directory"):
        trained(tmp_path / "m", start=tmp_path / "nowhere")
    assert not (tmp_path / "m").exists()


def test_a_family_that_only_encodes_shows_what_it_rebuilds(tmp_path: Path) -> None:
    small = {"widths": (8,), "blocks": 1, "latent_channels": 2}
    trained_ = {"recipe": {**QUICK, "steps": 2}, "options": small}
    list(api.training("autoencoder", "digits", tmp_path / "m", **trained_))
    assert list((tmp_path / "m" / "samples").glob("*.png"))
    drawn = api.interpolate(tmp_path / "m", "digits", 2, steps=3)
    assert drawn.x.shape == (6, 1, 8, 8)
    with pytest.raises(UsageError, match="a manifold is drawn for 2 latents"):
        api.manifold(tmp_path / "m")


# -------------------------------------------------------------------- sampling


@pytest.mark.parametrize("label", [None, 4])
def test_a_sample_does_not_depend_on_the_batch_size(model: Path, label: int | None) -> None:
    whole = api.sample(model, 70, seed=5, label=label)
    assert whole.x.shape == (70, 1, 8, 8) and 0.0 <= whole.x.min() < whole.x.max() <= 1.0
    for size in (1, 7, 70):
        parts = api.sample(model, 70, seed=5, label=label, batch_size=size)
        assert np.abs(parts.x - whole.x).max() <= 1 / 255
    fewer = api.sample(model, 3, seed=5, label=label)
    assert np.abs(fewer.x - whole.x[:3]).max() <= 1 / 255
    assert np.abs(api.sample(model, 70, seed=6, label=label).x - whole.x).max() > 0.1


@pytest.mark.parametrize("label", [None, 4])
def test_exact_samples_are_the_same_bits_whatever_their_number(model: Path, label: int | None) -> None:
    many = api.sample(model, 130, seed=5, label=label, exact=True)
    for n in (1, 63, 64, 65):
        assert np.array_equal(api.sample(model, n, seed=5, label=label, exact=True).x, many.x[:n])


def test_samples_of_a_class_look_like_it(model: Path) -> None:
    train = api.load_data("digits:binary").train
    means = torch.stack([train.stored[train.labels == k].float().mean(0).flatten() for k in range(10)])
    right = 0
    for k in range(10):
        drawn = api.sample(model, 20, seed=1, label=k)
        assert drawn.labels is not None and drawn.labels.tolist() == [k] * 20
        right += int((torch.cdist(torch.from_numpy(drawn.x).flatten(1), means).argmin(1) == k).sum())
    assert right / 200 >= 0.8  # one in ten by chance


def test_a_class_is_its_name_or_its_number(tmp_path: Path) -> None:
    for name, value in {"cats": 20, "dogs": 230}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.full((8, 8), value, np.uint8)
            pixels[i % 8, i // 8] = i
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    source = str(tmp_path / "photos")
    out = trained(tmp_path / "m", source, recipe={**QUICK, "steps": 20, "batch_size": 16})
    named, numbered, written, other = (api.sample(out, 4, label=k) for k in ("dogs", 1, "1", "cats"))
    assert np.array_equal(named.x, numbered.x) and np.array_equal(named.x, written.x)
    assert not np.array_equal(named.x, other.x)
    assert not named.warnings and not other.warnings
    assert numbered.warnings == written.warnings and "position of the class 'dogs'" in numbered.warnings[0]
    for unknown in ("cat", 2, -1):
        with pytest.raises(UsageError, match="unknown class"):
            api.sample(out, 4, label=unknown)


def test_impossible_samples_are_refused(model: Path, plain: Path) -> None:
    with pytest.raises(UsageError, match="knows no classes"):
        api.sample(plain, 4, label=1)
    with pytest.raises(UsageError, match="--n is a whole number from 1"):
        api.sample(model, 0)
    with pytest.raises(UsageError, match="--batch-size is a whole number from 1"):
        api.sample(model, 4, batch_size=0)
    with pytest.raises(SpecError, match="unknown device"):
        api.sample(model, 4, device="warp")


def test_options_of_a_familys_own_sampling_pass_through(model: Path) -> None:
    cold = api.sample(model, 8, temperature=0.0, label=1).x
    assert np.allclose(cold, cold[:1], atol=1e-6), "at temperature 0 every latent is the prior's mean"
    warm = [api.sample(model, 64, temperature=t, label=1).x.std(0).mean() for t in (0.3, 0.7, 1.0)]
    assert warm[0] < warm[1] < warm[2]
    assert np.array_equal(api.sample(model, 8, temperature=None).x, api.sample(model, 8).x)
    with pytest.raises(UsageError, match=r"not sampled with 'stepper'; its options: temperature; families that have"):
        api.sample(model, 8, stepper="euler")
    with pytest.raises(UsageError, match="--temperature is a number from 0"):
        api.sample(model, 8, temperature=-1.0)


# --------------------------------------------------------------------- latents


def test_levels_go_from_the_prior_to_the_reconstruction(model: Path, tmp_path: Path) -> None:
    """With one group: without it all records of a class are alike, and with it they are the reconstructions."""
    originals, rows = api.levels(model, "digits", 12)
    assert np.array_equal(originals.x, api.reconstruct(model, "digits", 12).original.x)
    none, all_ = rows.x.reshape(2, 12, *originals.x.shape[1:])
    labels = originals.labels
    assert labels is not None
    for k in set(labels.tolist()):
        assert np.allclose(none[labels == k], none[labels == k][:1], atol=1e-6)
    assert np.allclose(all_, api.reconstruct(model, "digits", 12).made.x, atol=1e-6)
    out = tmp_path / "ladder"
    ladder = {"widths": (8, 8), "groups": (1, 2), "latent_channels": (1, 2), "lr": 5e-3}
    list(api.training("hierarchical_vae", "digits:binary", out, options=ladder, recipe={**QUICK, "steps": 150}))
    originals, rows = api.levels(out, "digits", 20)
    error = np.square(rows.x.reshape(4, 20, 1, 8, 8) - originals.x).mean((1, 2, 3, 4))
    assert error[3] < error[0], "all groups know more than none"
    assert np.allclose(rows.x[60:], api.reconstruct(out, "digits", 20).made.x, atol=1e-5)


def test_reconstructions_stand_beside_their_originals(model: Path) -> None:
    originals, copies = api.reconstruct(model, "digits", 40)
    data = api.load_data("digits:binary").split("test")
    assert originals.ids is not None and np.array_equal(originals.ids, data.ids[:40].numpy())
    assert np.array_equal(originals.x, data.stored[:40].numpy())
    assert copies.x.shape == originals.x.shape
    assert copies.ids is not None and np.array_equal(copies.ids, originals.ids)
    error = np.square(copies.x - originals.x).mean()
    assert error < np.square(copies.x - np.roll(originals.x, 1, axis=0)).mean()
    assert error < np.square(originals.x - data.stored.float().mean(0).numpy()).mean()


def test_the_ends_of_a_walk_are_the_reconstructions(model: Path) -> None:
    _, ends = api.reconstruct(model, "digits", 10)
    walks = api.interpolate(model, "digits", 5, steps=7)
    assert walks.x.shape == (35, 1, 8, 8)
    rows = walks.x.reshape(5, 7, 1, 8, 8)
    assert np.allclose(rows[:, 0], ends.x[:5], atol=1e-5)
    assert np.allclose(rows[:, -1], ends.x[5:], atol=1e-5)
    with pytest.raises(UsageError, match="at least 2 steps"):
        api.interpolate(model, "digits", 5, steps=1)


def test_codes_are_the_means_of_the_posterior(model: Path) -> None:
    codes = api.encode(model, "digits", split="validation")
    records = api.load_data("digits:binary").split("validation")
    batch = records.batch()
    mean = api.load(model).module.encode(batch.x, batch.cond).mean
    assert np.array_equal(codes.mean, mean.numpy())
    assert codes.labels is not None and np.array_equal(codes.labels, records.labels.numpy())
    assert np.allclose(api.encode(model, "digits", split="validation", n=3).mean, codes.mean[:3], atol=1e-5)
    with pytest.raises(UsageError, match="--n is a whole number from 1"):
        api.encode(model, "digits", n=-1)


def test_the_manifold_decodes_quantiles_from_the_top_left(model: Path, plain: Path) -> None:
    grid = api.manifold(model, 3).x.reshape(3, 3, 1, 8, 8)
    decode = api.load(model).module.decode
    q = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 / 3, dtype=torch.float64)))  # of the normal at 5/6
    places = {(0, 0): (-q, q), (0, 2): (q, q), (1, 1): (0.0, 0.0), (2, 0): (-q, -q), (1, 2): (q, 0.0)}
    for (row, column), z in places.items():
        assert np.allclose(grid[row, column], decode(torch.tensor([z])).mean[0].numpy(), atol=1e-5)
    with pytest.raises(UsageError, match="this model has 3"):
        api.manifold(plain)


# ------------------------------------------------------------------ evaluation


def test_an_evaluation_is_recorded_with_all_that_it_takes_to_believe_it(model: Path) -> None:
    found = api.evaluate(model, "digits", LIKELIHOODS, samples=20).to_dict()
    results = {r["name"]: r for r in found["results"]}
    assert set(results) == {"elbo", "nll", "bits_per_dim"}
    for result in results.values():
        assert result["n"] == 299 and result["seed"] == 0 and result["protocol"] and result["fingerprint"]
        assert result["interval"][0] < result["value"] < result["interval"][1]
        assert {"pixel marginals", "one histogram"} <= result["baselines"].keys()
        assert "binary" in result["data"]
    assert {"lzma (all at once)", "PNG (one by one)"} <= results["bits_per_dim"]["baselines"].keys()
    assert results["nll"]["value"] <= -results["elbo"]["value"]
    assert results["nll"]["value"] < results["nll"]["baselines"]["pixel marginals"]
    assert results["bits_per_dim"]["value"] == pytest.approx(-results["elbo"]["value"] / (64 * math.log(2)), rel=1e-4)
    assert results["nll"]["details"]["importance_samples"] == 20
    kept = {e["name"]: e["result"] for e in api.describe(model)["evaluations"]}
    assert kept == json.loads(json.dumps(results))
    card = (model / "card.md").read_text(encoding="utf-8")
    assert "### nll" in card and f"{results['nll']['value']:.6g}" in card and "pixel marginals" in card
    api.verify(model)


def test_numbers_live_on_where_the_model_cannot_keep_them(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ArtifactError("no space left.")

    monkeypatch.setattr("morphogen.artifact.write_evaluation", full)
    found = api.evaluate(plain, "digits", ["elbo"], n=50)
    assert np.isfinite(found["elbo"].value)
    assert found.notes == ("the numbers are not kept in the model's folder: no space left.",)
    assert found.to_dict()["notes"] == list(found.notes)


def test_an_evaluation_can_be_kept_out_of_the_artifact(plain: Path) -> None:
    api.evaluate(plain, "digits", ["elbo"], n=16, save=False)
    assert api.describe(plain)["evaluations"] == []


def test_data_are_prepared_as_the_model_s_were(model: Path, plain: Path) -> None:
    for path in (model, plain):
        bare, said = (api.evaluate(path, source, ["elbo"], save=False) for source in ("digits", "digits:binary"))
        assert bare["elbo"].value == said["elbo"].value
    with pytest.raises(SpecError, match="contradicts binary=stochastic"):
        api.evaluate(model, "digits:binary=0.5", ["elbo"])
    with pytest.raises(DataError, match="has no split 'tset'"):
        api.evaluate(model, "digits", split="tset")


def test_models_are_compared_on_the_same_records_and_with_the_same_noise(
    model: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOGEN_CACHE", str(tmp_path))
    found = api.compare([model, plain], "digits", ["elbo", "fd", "copied_pixels"], n=290, save=False).to_dict()
    assert [m["model"] for m in found["models"]] == [str(model), str(plain)]
    ours, theirs = ({r["name"]: r for r in m["results"]} for m in found["models"])
    assert ours.keys() == theirs.keys() and len(ours) == 3
    pairs = {d["metric"]: d for d in found["differences"]}
    difference = ours["elbo"]["value"] - theirs["elbo"]["value"]
    assert pairs["elbo"]["value"] == pytest.approx(difference) and pairs["elbo"]["paired"]
    assert pairs["elbo"]["verdict"] == f"{model} is better"  # the other was trained for 2 steps
    (fd,) = (name for name in ours if name.startswith("FD-mnist-"))
    assert pairs[fd]["verdict"] == f"{model} is better" and pairs[fd]["interval"][1] < 0
    assert ours[fd]["floor"] < ours[fd]["value"] and ours[fd]["place"] and ours[fd]["network"] in fd
    assert {"blur", "noise", "JPEG", "dropped"} <= found["models"][0]["ladders"][fd]["tracks"].keys()
    with pytest.raises(UsageError, match="twice"):
        api.compare([model, model], "digits")
    other = trained(tmp_path / "other", data="breast_cancer", options={"latent_dim": 3, "hidden": (8,)})
    with pytest.raises(UsageError, match="only models of the same kind of records"):
        api.compare([model, other], "digits")


def test_sets_of_samples_are_compared_with_each_other_and_with_models(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOGEN_CACHE", str(tmp_path / "cache"))
    train = api.load_data("digits").train.stored.numpy()
    np.savez(tmp_path / "real.npz", x=train[:310])
    np.savez(
        tmp_path / "noisy.npz",
        x=np.clip(train[300:600] + np.random.default_rng(0).integers(0, 4, (300, 1, 8, 8)), 0, 16),
    )
    real, noisy = str(tmp_path / "real.npz"), str(tmp_path / "noisy.npz")
    found = api.compare([real, noisy], "digits", ["fd", "kid"])
    assert [one.of["samples"] for one in found.models] == [real, noisy]
    assert {one.results[0].n for one in found.models} == {300}  # one size for all
    assert [d.verdict for d in found.differences] == [f"{real} is better"] * 2
    assert all(d.paired and d.interval[1] < 0 for d in found.differences)
    beside = api.compare([model, noisy], "digits", ["elbo", "fd"], n=290, save=False)
    assert [len(one.results) for one in beside.models] == [2, 1] and len(beside.differences) == 1
    with pytest.raises(UsageError, match="a set of samples is given twice"):
        api.compare([real, real], "digits")
    with pytest.raises(ArtifactError, match="no such"):
        api.compare([real, tmp_path / "missing"], "digits")


def test_what_another_program_made_is_judged_like_a_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOGEN_CACHE", str(tmp_path / "cache"))
    train = api.load_data("digits").train
    np.savez(tmp_path / "copies.npz", x=train.stored[:300].numpy())
    found = api.evaluate_samples(str(tmp_path / "copies.npz"), "digits", ["coverage", "copied_pixels"]).to_dict()
    copied = next(r for r in found["results"] if r["name"].startswith("copied"))
    assert copied["value"] == 1.0 and "copying" in copied["warnings"][0]
    (tmp_path / "made").mkdir()
    drawn = api.sample(model, 120, seed=3).x
    for i, picture in enumerate(drawn):
        Image.fromarray((255 * picture[0]).astype(np.uint8)).save(tmp_path / "made" / f"{i}.png")
    found = api.evaluate_samples(str(tmp_path / "made"), "digits", ["kid"], n=100).to_dict()
    assert found["results"][0]["n"] == 100 and found["results"][0]["interval"][0] > 0
    assert found["notes"] == []
    np.savez(tmp_path / "floats.npz", arr_0=drawn * 2 - 1)
    found = api.evaluate_samples(str(tmp_path / "floats.npz"), "digits", ["kid"]).to_dict()
    assert "the array arr_0 is taken for the records" in found["notes"] and "from -1 (black)" in found["notes"][1]
    with pytest.raises(UsageError, match="metric of generated records"):
        api.evaluate_samples(str(tmp_path / "made"), "digits", ["nll"])


# -------------------------------------------------------------------- listings


def test_families_are_listed_with_all_that_they_can_be_told() -> None:
    assert "vae" in [f["name"] for f in api.list_families()]
    found = api.describe_family("vae")
    assert found["capabilities"] == ["Encodes", "Latents", "Quantizes", "Samples", "Scores"]
    assert found["presets"]["classic"]["latent_dim"] == 2
    for field in found["options"] + found["recipe"]:
        assert field["name"] and field["type"] and field["description"], f"{field['name']} is not described"
    with pytest.raises(UsageError, match="did you mean 'vae'"):
        api.describe_family("vea")


def test_what_is_shown_is_what_was_asked_for(model: Path) -> None:
    shown = api.describe(model)
    assert shown["options"]["hidden"] == [64] and shown["recipe"]["steps"] == 400
    assert shown["data"]["source"].startswith("digits:") and shown["data"]["kind"] == "binary"
    assert shown["provenance"]["complete"] and shown["provenance"]["steps"] == 400
    loaded = api.load(model).module
    assert shown["parameters"] == sum(p.numel() for p in loaded.parameters())
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    null = RawCondition(label=torch.tensor([-1]))
    assert torch.equal(loaded.decode(torch.zeros(1, 2), null).mean, loaded.decode(torch.zeros(1, 2)).mean)


def _close(events: Iterator[Event]) -> None:
    events.close()  # type: ignore[attr-defined]
