"""pythae's VAE on the same binarized pictures as the row "mlp" of `benchmarks.quality.likelihood`, judged alike.

    python -m benchmarks.quality.pythae_likelihood                 # train for as long as our row, judge both, compare
    python -m benchmarks.quality.pythae_likelihood --evaluate      # what was trained before

pythae trains in its own environment with its own trainer: Adam at 1e-3, batch 128, the rate halved when the
validation loss stalls for 5 epochs (the scheduler of its documentation), the best model on validation kept. Its
weights are then copied into our VAE of the same architecture, which is checked to be the same function, so that one
`evaluate` judges both models; pythae's own `get_nll` is reported beside it. Our row, which must be trained already, is
judged here too, record by record, for the paired difference. Needs MORPHOGEN_DATA; installs pythae into .peers/.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import fair, harness
from benchmarks.harness import RUNS, Json, describe_training, load_data, load_family, path_of, read, say, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_most, seen_of
from benchmarks.peers.environments import ensure, run_in, versions
from benchmarks.quality.likelihood import ROWS, paired
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


def judge(name: str, family: Any, run: Path, samples: int) -> tuple[list[Json], np.ndarray]:
    """The results of `evaluate` (elbo, nll), and -log p(x) of each record (n,), which is kept."""
    found = evaluate(family, load_data(DATA), ["elbo", "nll"], samples=samples)
    values = found.values["nll"].double().cpu().numpy()
    np.save(run / f"nll-{name}.npy", values)
    results = [result.to_dict() for result in found.results]
    for result in results:
        say(f"{name} {result['name']}", result)
    return results, values


def _less_theirs(record: Result) -> Seen:
    ours, theirs = record["ours"]["training"], record["training"]
    seen = seen_of(record["ours minus pythae, nats"])
    void = fair.verdict(fair.unequal_time(fair.spent(ours), fair.spent(theirs)), fair.unequal_place(ours, theirs))
    return Seen(seen.value, seen.ends, seen.beside, void=void)


_over_pythae = tables.of("quality.pythae_likelihood", "likelihood-pythae")
_WHAT = "binarized MNIST, MLP VAE, -log p(x), less pythae's VAE on the same pictures, paired, nats"
FIGURES = (_over_pythae(_WHAT, at_most(0.0, "below 0"), _less_theirs),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = harness.plain_parser(__doc__)
    found.add_argument("--evaluate", action="store_true", help="judge what was trained before")
    found.add_argument("--samples", type=int, default=5000, help="importance samples")
    found.add_argument("--own-n", type=int, default=200, help="records for pythae's own estimate")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train pythae's, judge both, and write the paired difference."""
    asked, mine = parser().parse_args(arguments), ROWS["mlp"].model()
    run = (RUNS / "likelihood-pythae").resolve()
    training = describe_training(mine)
    if not asked.evaluate:
        run.mkdir(parents=True, exist_ok=True)
        arrays: Json = {name: records.stored.numpy() for name, records in load_data(DATA).splits.items()}
        np.savez_compressed(run / "pictures.npz", **arrays)
        run_in("pythae", PEER, "train", "--run", run, "--seconds", training["duration_s"])
    run_in("pythae", PEER, "own", "--run", run, "--own-n", asked.own_n, "--samples", asked.samples)
    results, theirs = judge("pythae", copied(run), run, asked.samples)
    our_results, ours = judge("ours", load_family(mine), run, asked.samples)
    here = harness.recorded(versions(ensure("pythae"), "pythae", "torch"), device="cpu")
    found: Json = {
        "what": "binarized MNIST, pythae's VAE of 500-unit layers, ELBO, its own trainer",
        "data": DATA,
        "results": results,
        "own estimate": read(run / "own.json"),
        "training": {**read(run / "training.json"), "versions": here["versions"], "hardware": here["hardware"]},
        "ours": {"model": str(mine), "results": our_results, "training": training},
        "ours minus pythae, nats": paired(ours, theirs),
    }
    say("ours minus pythae, nats", found["ours minus pythae, nats"])
    print(f"pythae's own estimate: {found['own estimate']}")
    write(path_of("likelihood-pythae"), found)


if __name__ == "__main__":
    main()
