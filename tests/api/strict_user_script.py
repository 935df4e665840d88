"""What a user may write with the whole public API. `mypy --strict` passes on it (`test_types.py`); it is not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch.utils.data import TensorDataset

import morphogen as mg


def train_models(rng: np.random.Generator) -> mg.Model:
    """Every kind of data, and both ways to train."""
    table = rng.normal(size=(500, 6)).astype(np.float32)
    labels = np.arange(500) % 2
    pictures: list[Image] = mg.sample("runs/first", 16).images
    tensors = TensorDataset(torch.from_numpy(table), torch.from_numpy(labels))

    def report(event: mg.Event) -> None:
        print(event.step, event.total, dict(event.terms), event.warnings)

    mg.train("vae", table, Path("runs/table"), backbone="mlp", steps=500)
    mg.train("vae", torch.from_numpy(table), "runs/tensor", steps=500, lr=1e-3)
    mg.train("vae", (table, labels), "runs/pairs", steps=500, conditional=True)
    mg.train("vae", {"x": table, "labels": labels}, "runs/named", budget=60.0)
    mg.train("vae", tensors, "runs/tensors", epochs=2.0, precision="fp32")
    mg.train("vae", pictures, "runs/pictures", batch_size=4, steps=5, progress=False)
    mg.train("vae", mg.load_data("digits"), "runs/dataset", steps=5, device="cpu", seed=1)
    mg.train("gan", "digits", "runs/gan", preset="classic", steps=5)
    first = mg.train("vae", "digits", "runs/first", latent_dim=8, hidden=(64, 64), steps=2000, on_event=report)
    mg.train("vae", "digits", "runs/from", latent_dim=8, steps=5, start=first)
    mg.train("diffusion", "digits", "runs/latent", parts={"autoencoder": first}, options={"steps": 20}, steps=5)
    mg.train(out="runs/first", resume=True)
    for event in mg.training("diffusion", "digits", "runs/diffusion", widths=(16, 32), steps=5, recipe={"seed": 1}):
        report(event)
    return first


def look(model: mg.Model) -> None:
    """A model, its directory, data and families."""
    module: torch.nn.Module = model.module
    print(sum(p.numel() for p in module.parameters()), model.family, model.data.shape, model.device, model.path)
    described: mg.Description = mg.describe(model)
    promise: mg.PrivacyGuarantee | None = described.privacy
    print("" if promise is None else promise.sentence())
    print(described["family"], model.describe().to_dict(), described.save("described.json"))
    verified: mg.Verification = mg.verify("runs/first")
    print(verified.family, verified.unlisted, mg.fingerprint(model) == model.fingerprint)
    data: mg.Dataset = mg.load_data("digits")
    found: mg.Inspection = mg.inspect_data("digits")
    print(data.spec.classes, len(data.train), found.counts, found.to_dict())
    print([family["name"] for family in mg.list_families()], mg.describe_family("vae"), mg.check_family("vae"))
    mg.register("mine", "package.module:Class")


def draw(model: mg.Model) -> None:
    """New records, edits and restorations."""
    pictures: mg.Pictures = model.sample(16, seed=1, label="3", guidance=2.0, steps=20, stepper="heun", device="cpu")
    first: Image = pictures[0]
    first.save("first.png")
    array: np.ndarray = pictures.x
    saved: Path = pictures.save("sheet.png")
    print(len(pictures), array.shape, pictures.pixels.dtype, pictures.warnings, saved, pictures.image().size)
    mg.sample("runs/first", n=4, temperature=0.7, batch_size=2, precision="bf16", exact=True).save("four")
    model.draw(["a red circle", "a blue square"], n=2, negative="a cross", along={"guidance": [1.0, 2.0]}).save("d.png")
    model.walk(frames=12, stops=3).save("walk.npz")
    edits: mg.Pictures = model.edit(first, mask="mask.png", strength=0.5, text="a large circle", n=2)
    larger: mg.Restored = model.upscale(pictures.pixels[0], 4, n=2)
    clean: mg.Restored = mg.restore(model, Path("noisy.png"), "noise0.2", n=2)
    print(len(edits), larger.stddev.mean(), clean.uncertainty.shape, clean.map().size, clean.sample_image(1).size)


def explain(model: mg.Model) -> None:
    """Latents, chains and attention."""
    latents: mg.Latents = model.encode("digits", n=8)
    print(len(latents), latents.mean.shape, latents.labels, latents.classes, np.asarray(latents).shape)
    original, made = model.reconstruct("digits", n=4)
    between: mg.Pictures = model.interpolate("digits", n=4, steps=8)
    levels: mg.Reconstructions = model.levels("digits", split="validation")
    print(len(original), len(made), len(between), levels.save("levels.png"), model.manifold(10).save("plane.png"))
    directions: mg.Directions = model.directions("digits", factors=3)
    edits: mg.LatentEdits = model.edit_latent("3.png", "factor-1", [-3.0, 0.0, 3.0], directions=directions)
    print(directions.names, directions.save("directions.npz"), edits.rmse, edits.image().size)
    into: mg.Chain = model.forward_chain("digits", n=2, times=5)
    out: mg.Chain = model.reverse_chain(n=2, times=None)
    learned: mg.Variances = model.variances("digits", n=16)
    maps: mg.AttentionMaps = model.attention_maps("a red circle", n=2)
    print(into.t, out.estimates, learned.learned, maps.shares, maps.save("words.png"))


def measure(model: mg.Model, other: mg.Model) -> None:
    """Numbers with intervals, and errors."""
    report: mg.Evaluation = model.evaluate("digits", metrics=["nll"], n=100, seed=1, save=False)
    result: mg.Result = report["nll"]
    low, high = result.interval or (0.0, 0.0)
    print(result.value, low, high, result.baselines, report.save("report.json"), [one.name for one in report])
    compared: mg.Comparison = mg.compare([model, other, "runs/gan"], "digits", ["fd"])
    differences: tuple[mg.Difference, ...] = compared.differences
    print([difference.verdict for difference in differences], compared.to_dict())
    print(mg.evaluate_samples(np.zeros((300, 1, 8, 8)), "digits", ["fd"])["FD"].value)
    aligned: mg.Alignment = model.evaluate_alignment("shapes", n=100)
    curve: tuple[mg.AlignmentPoint, ...] = model.alignment_curve("shapes", [1.0, 4.0], n=300)
    print(aligned.drawn.save("drawn.png"), aligned.results[0].value, [point.guidance for point in curve])
    alarms: mg.Detections = mg.detect(model, "digits", normal="digits:only=3", alpha=0.1, batch_size=64)
    print(alarms.p_values.shape, alarms.alarms.sum(), alarms.save("alarms.csv"))
    try:
        mg.load("nowhere", device="cuda")
    except (
        mg.ArtifactError,
        mg.UsageError,
        mg.SpecError,
        mg.DataError,
        mg.CapabilityError,
        mg.NonFiniteError,
    ) as e:
        print(isinstance(e, mg.MorphogenError), mg.MorphogenWarning, mg.__version__)


def plan_and_follow(data: mg.Dataset) -> None:
    """What a training would take, and how one goes."""
    planned: mg.Plan = mg.plan("vae", data, budget="10min")
    offered: list[mg.Suggestion] = mg.suggest("digits", "5min", families=["vae", "gan"])
    followed: mg.Following = mg.follow("runs/first")
    print(planned.steps, planned.seconds, [one.expected for one in offered], followed)


def fill(model: mg.Model) -> None:
    """Rows of tables."""
    rows: mg.SyntheticTable = mg.synthesize(model, n=100, where="age>50", temperature=0.9)
    filled: mg.Imputed = mg.impute(model, "table.csv", draws=5)
    print(rows.cells.shape, rows.warnings, filled.filled)


def pack(model: mg.Model) -> None:
    """Archives by the integer form of a model."""
    audited: mg.Audit = mg.audit(model, "digits", only=["privacy"])
    print(audited)
    graphs: mg.Exported = model.export("graphs", format="onnx")
    print(graphs.inputs["decoder"], graphs.to_dict(), model.module(torch.zeros(1, 1, 8, 8)))
    integer: mg.Quantized = mg.quantize(model, "runs/integer", bits=16)
    packed: mg.Archive = mg.compress("runs/integer", "digits", "digits.mga", with_model=True)
    again: mg.Decompressed = mg.decompress("digits.mga", out="digits.npz")
    blocks: list[mg.Decompressed] = list(mg.decompressing("digits.mga", "runs/integer"))
    print(
        len(blocks),
        integer.loss,
        packed.bits_per_dim,
        again.x.shape,
        mg.describe_archive("digits.mga", verify=True).warnings,
    )


def design(model: mg.Model) -> None:
    """Molecules: measured, and with wanted properties."""
    judged: mg.Evaluation = mg.evaluate_molecules(model, "chembl", ["product"], baselines=["copies"], n=100)
    found: mg.Design = mg.design(model, "qed>=0.9", "runs/design", calls=100, similar_to=("CCO", 0.4))
    best: mg.DesignedMolecule = found.molecules[0]
    around: mg.Pictures = mg.complete(model, "c1cc(*)ncc1", n=10, temperature=0.9)
    print(judged["product"].value, found.met, found.curve, best.smiles, best.alerts, around.texts)


if __name__ == "__main__":
    held = train_models(np.random.default_rng(0))
    look(held)
    draw(held)
    explain(held)
    measure(held, mg.load("runs/gan"))
    plan_and_follow(mg.load_data("digits"))
    fill(held)
    pack(held)
    design(held)
