"""pythae's VAE on the same binarized pictures as the row "mlp" of `benchmarks.quality.likelihood`, judged alike.

    python -m benchmarks.quality.pythae_likelihood                 # train for 20 minutes, judge both, compare
    python -m benchmarks.quality.pythae_likelihood --evaluate      # what was trained before

pythae trains in its own environment with its own trainer: Adam at 1e-3, batch 128, the rate halved when the
validation loss stalls for 5 epochs (the scheduler of its documentation), the best model on validation kept. Its
weights are then copied into our VAE of the same architecture, which is checked to be the same function, so that one
`evaluate` judges both models; pythae's own `get_nll` is reported beside it. Our row is judged here too, record by
record, for the paired difference. Needs MORPHOGEN_DATA; installs pythae into .peers/ if it is not there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import RUNS, Json, describe_training, load_data, load_family, path_of, read, say, write
from benchmarks.peers.environments import ensure, run_in, versions
from benchmarks.quality.likelihood import ROWS, paired
from morphogen import artifact
from morphogen.core import registry
from morphogen.evaluation import evaluate

DATA, HIDDEN, LATENT, PEER = "mnist:binary", (500, 500), 40, "benchmarks.peers.pythae"
CHECKED = 100  # pictures on which the copy must agree with pythae's own networks
AGREE = 1e-3  # in logits and in the posterior's moments: float32 in another order of summation


def copied(run: Path) -> Any:
    """Our VAE with pythae's weights. Raises `ValueError` if it is not the same function.

    pythae's encoder sees x in {0, 1} and ours 2x - 1, so its first layer W x + b is (W / 2)(2x - 1) + (b + W 1 / 2);
    its two heads become one, and the sigmoid at the end is part of our Bernoulli.
    """
    dataset, sizes = load_data(DATA), {"hidden": HIDDEN, "latent_dim": LATENT}
    options = {**ROWS["mlp"].options, **sizes, "likelihood": "bernoulli", "activation": "relu"}
    vae = registry.family("vae")
    family: Any = vae(vae.Spec.parse(options), dataset.spec, {}).eval()
    with np.load(run / "trained.npz", allow_pickle=False) as arrays:
        theirs = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    encoder: Any = family.inference.encoder.mlp
    decoder: Any = family.generation.decoder.mlp
    first = theirs["encoder.body.0.weight"]
    state = _hidden(theirs, "encoder")
    state |= {"layers.0.weight": first / 2, "layers.0.bias": theirs["encoder.body.0.bias"] + first.sum(1) / 2}
    for kind in ("weight", "bias"):
        state[f"out.{kind}"] = torch.cat([theirs[f"encoder.{head}.{kind}"] for head in ("mean", "log_var")])
    encoder.load_state_dict(state)
    last = 2 * len(HIDDEN)  # the last layer's place among layers and activations
    state = {f"out.{kind}": theirs[f"decoder.body.{last}.{kind}"] for kind in ("weight", "bias")}
    decoder.load_state_dict(_hidden(theirs, "decoder") | state)

    with torch.no_grad():
        q = family.encode(dataset.split("test").batch(slice(0, CHECKED)).x)
        logits = decoder(theirs["check/mean"])
    for name, ours in (("mean", q.mean), ("log_var", q.log_var), ("logits", logits)):
        off = float((ours - theirs[f"check/{name}"]).abs().max())
        if not off < AGREE:
            raise ValueError(f"the copy of pythae's model is another function: its {name} is off by {off:.2g}.")
    return family


def _hidden(theirs: Json, network: str) -> Json:
    """The hidden layers by our names; in pythae's networks an activation follows each."""
    places = [(i, kind) for i in range(len(HIDDEN)) for kind in ("weight", "bias")]
    return {f"layers.{i}.{kind}": theirs[f"{network}.body.{2 * i}.{kind}"] for i, kind in places}


def judge(family: Any, dataset: Any, n: int | None, samples: int) -> tuple[list[Json], Any]:
    """The results of `evaluate` (elbo, nll), and -log p(x) of each record (n,)."""
    found = evaluate(family, dataset, ["elbo", "nll"], n=n, samples=samples)
    return [result.to_dict() for result in found.results], found.values["nll"].double().cpu().numpy()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("--minutes", type=float, default=20.0, help="of training, its validation included")
    found.add_argument("--epochs", type=int, help="train this many epochs instead")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--evaluate", action="store_true", help="judge what was trained before")
    found.add_argument("--samples", type=int, default=5000, help="importance samples")
    found.add_argument("--n", type=int, help="judge the first n test records (default: all)")
    found.add_argument("--own-n", type=int, default=200, help="records for pythae's own estimate")
    found.add_argument("--records", type=int, help="train on fewer pictures, to see that all of it runs")
    found.add_argument("--ours", type=Path, default=ROWS["mlp"].model(), help="our model, for the paired difference")
    found.add_argument("--run", type=Path, default=RUNS / "likelihood-pythae", help="folder of the run")
    found.add_argument("--out", type=Path, default=path_of("likelihood-pythae"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train pythae's, judge both, and write the paired difference."""
    of = parser()
    chosen = of.parse_args(arguments)
    dataset, run = load_data(DATA), chosen.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    if not chosen.evaluate:
        pictures = {name: records.stored for name, records in dataset.splits.items()}
        pictures["train"] = pictures["train"][: chosen.records]
        arrays: Json = {name: x.numpy() for name, x in pictures.items()}
        np.savez_compressed(run / "pictures.npz", **arrays)
        length = ("--minutes", chosen.minutes) if chosen.epochs is None else ("--epochs", chosen.epochs)
        run_in("pythae", PEER, "train", "--run", run, *length, "--seed", chosen.seed)
    elif not (run / "trained.npz").exists():
        of.error(f"{run} holds nothing that was trained: leave out --evaluate")
    run_in("pythae", PEER, "own", "--run", run, "--own-n", chosen.own_n, "--samples", chosen.samples)

    results, theirs = judge(copied(run), dataset, chosen.n, chosen.samples)
    np.save(run / "nll-pythae.npy", theirs)
    here = harness.recorded(versions(ensure("pythae"), "pythae", "torch"), device="cpu")
    found: Json = {
        "what": "binarized MNIST, pythae's VAE of 500-unit layers, ELBO, its own trainer",
        "model": str(chosen.run),
        "family": "pythae VAE",
        "data": DATA,
        "results": results,
        "own estimate": read(run / "own.json"),
        "training": {**read(run / "training.json"), "versions": here["versions"], "hardware": here["hardware"]},
    }
    if (chosen.ours / artifact.MANIFEST).exists():
        results, ours = judge(load_family(chosen.ours), dataset, chosen.n, chosen.samples)
        np.save(run / "nll-ours.npy", ours)
        found["ours"] = {"model": str(chosen.ours), "results": results, "training": describe_training(chosen.ours)}
        found["ours minus pythae, nats"] = paired(ours, theirs)
        say("ours minus pythae, nats", found["ours minus pythae, nats"])
    else:
        print(f"{chosen.ours} holds no model: no paired difference.", file=sys.stderr)
    write(chosen.out, found)
    for name, one in (("pythae", found), ("ours", found.get("ours", {}))):
        for result in one.get("results", []):
            say(f"{name} {result['name']}", result)
    print(f"pythae's own estimate: {found['own estimate']}")


if __name__ == "__main__":
    main()
