"""pythae's VAE on the same binarized pictures as the row "mlp" of benchmarks/likelihood.py, judged by the same code.

    python -m benchmarks.pythae_likelihood                 # train for 20 minutes, judge both, compare
    python -m benchmarks.pythae_likelihood --evaluate      # what was trained before

pythae trains in its own environment with its own trainer: Adam at 1e-3, batch 128, the rate halved when the
validation loss stalls for 5 epochs (the scheduler of its documentation), the best model on validation kept. Its
weights are then copied into our VAE of the same architecture, which is checked to be the same function, so that one
`evaluate` judges both models; pythae's own `get_nll` is reported beside it. Our row is judged here too, record by
record, for the paired difference. Needs MORPHOGEN_DATA; installs pythae into .peers/ if it is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import peers

RUN, RESULTS = Path("runs/likelihood-pythae"), Path(__file__).parent / "results"
DATA, HIDDEN, LATENT, BATCH = "mnist:binary", (500, 500), 40, 128
CHECKED = 100  # pictures on which the copy must agree with pythae's own networks
AGREE = 1e-3  # in logits and in the posterior's moments: float32 in another order of summation


# ------------------------------------------------------ in pythae's environment


def train(run: Path, minutes: float, epochs: int | None, seed: int) -> None:
    """Train in this process, which is pythae's; write weights and a check of them to `run`/trained.npz."""
    import numpy as np
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Enough(Exception):
        pass

    class Clock(TrainingCallback):
        epochs = 0

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.epochs += 1
            if self.epochs == epochs or (epochs is None and time.perf_counter() - start > 60 * minutes):
                raise Enough

    with np.load(run / "pictures.npz", allow_pickle=False) as arrays:
        pictures = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    data = {name: BaseDataset(x, torch.zeros(len(x))) for name, x in pictures.items()}
    torch.manual_seed(seed)
    model = peers.pythae_vae(HIDDEN, LATENT, "bce")
    config = BaseTrainerConfig(
        output_dir=str(run / "pythae"),
        num_epochs=1_000_000,
        learning_rate=1e-3,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        scheduler_cls="ReduceLROnPlateau",
        scheduler_params={"patience": 5, "factor": 0.5},
        seed=seed,
    )
    clock = Clock()
    trainer = BaseTrainer(model, data["train"], data["validation"], training_config=config, callbacks=[clock])
    start = time.perf_counter()
    with contextlib.suppress(Enough):
        trainer.train()
    duration_s = time.perf_counter() - start
    best = trainer._best_model.eval()  # what its trainer saves as the final model
    x = pictures["test"][:CHECKED]
    with torch.no_grad():
        q = best.encoder(x)
        logits = best.decoder.body[:-1](q.embedding)
    check = {"check/mean": q.embedding, "check/log_var": q.log_covariance, "check/logits": logits}
    weights = {name: value for name, value in best.state_dict().items() if name.startswith(("encoder.", "decoder."))}
    np.savez(run / "trained.npz", **{name: value.numpy() for name, value in {**weights, **check}.items()})
    facts = {
        "epochs": clock.epochs,
        "duration_s": round(duration_s, 1),
        "seed": seed,
        "threads": torch.get_num_threads(),
    }
    (run / "training.json").write_text(json.dumps(facts), encoding="utf-8")


def own_nll(run: Path, n: int, samples: int) -> None:
    """pythae's own estimate on the first `n` test pictures, with the weights in `run`; to `run`/own.json."""
    import numpy as np
    import torch

    model = peers.pythae_vae(HIDDEN, LATENT, "bce").eval()
    with np.load(run / "trained.npz", allow_pickle=False) as arrays:
        weights = {k: torch.from_numpy(arrays[k]) for k in arrays.files if not k.startswith("check/")}
    model.load_state_dict(weights)
    with np.load(run / "pictures.npz", allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["test"][:n]).float()
    torch.manual_seed(0)
    with torch.no_grad():
        value = -float(model.get_nll(x, n_samples=samples, batch_size=min(samples, 500)))
    (run / "own.json").write_text(json.dumps({"value": value, "n": len(x), "importance_samples": samples}))


# ---------------------------------------------------------------------- in ours


def copied(run: Path) -> Any:
    """Our VAE with pythae's weights. Raises `ValueError` if it is not the same function.

    pythae's encoder sees x in {0, 1} and ours 2x - 1, so its first layer W x + b is (W / 2)(2x - 1) + (b + W 1 / 2);
    its two heads become one, and the sigmoid at the end is part of our Bernoulli.
    """
    import numpy as np
    import torch

    import morphogen as mg
    from benchmarks.likelihood import ROWS
    from morphogen.families.vae import VAE

    dataset = mg.load_data(DATA)
    options = {
        **ROWS["mlp"]["options"],
        "hidden": HIDDEN,
        "latent_dim": LATENT,
        "likelihood": "bernoulli",
        "activation": "relu",
    }
    family = VAE(VAE.Spec.parse(options), dataset.spec).eval()
    with np.load(run / "trained.npz", allow_pickle=False) as arrays:
        theirs = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    encoder, decoder = family.inference.encoder.mlp, family.generation.decoder.mlp
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


def _hidden(theirs: dict[str, Any], network: str) -> dict[str, Any]:
    """The hidden layers by our names; in pythae's networks an activation follows each."""
    places = [(i, kind) for i in range(len(HIDDEN)) for kind in ("weight", "bias")]
    return {f"layers.{i}.{kind}": theirs[f"{network}.body.{2 * i}.{kind}"] for i, kind in places}


def judge(family: Any, dataset: Any, n: int | None, samples: int) -> tuple[list[dict[str, Any]], Any]:
    """The results of `evaluate` (elbo, nll), and -log p(x) of each record (n,)."""
    import torch

    from morphogen.evaluation import evaluate

    kept: list[Any] = []
    score = family.score

    def kept_score(*arguments: Any) -> Any:  # `evaluate` gives means, and pairs need the records
        found = score(*arguments)
        if found.kind == "importance":
            kept.append(found.value.double().cpu())
        return found

    family.score = kept_score
    results = evaluate(family, dataset, ["elbo", "nll"], n=n, samples=samples)
    return [result.to_dict() for result in results], -torch.cat(kept).numpy()


def paired(a: Any, b: Any) -> dict[str, Any]:
    """The mean of a - b over records that both were judged on, with its 95 % interval."""
    from morphogen.evaluation.result import mean_interval

    if len(a) != len(b):
        raise ValueError(f"pairs need the same records: {len(a)} and {len(b)} came.")
    d = a - b
    return {
        "value": float(d.mean()),
        "interval": mean_interval(float(d.mean()), float(d.std(ddof=1)), len(d)),
        "n": len(d),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, its validation included")
    parser.add_argument("--epochs", type=int, help="train this many epochs instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate", action="store_true", help="judge what was trained before")
    parser.add_argument("--samples", type=int, default=5000, help="importance samples")
    parser.add_argument("--n", type=int, help="judge the first n test records (default: all)")
    parser.add_argument("--own-n", type=int, default=200, help="records for pythae's own estimate")
    parser.add_argument("--records", type=int, help="train on fewer pictures, to see that all of it runs")
    parser.add_argument(
        "--ours", type=Path, default=Path("runs/likelihood/mlp"), help="our model, for the paired difference"
    )
    parser.add_argument("--run", type=Path, default=RUN, help="folder of the run")
    parser.add_argument("--out", type=Path, default=RESULTS / "likelihood-pythae.json")
    parser.add_argument("--peer", choices=["train", "own"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peer == "train":
        train(chosen.run, chosen.minutes, chosen.epochs, chosen.seed)
        return
    if chosen.peer == "own":
        own_nll(chosen.run, chosen.own_n, chosen.samples)
        return

    import numpy as np
    import torch

    import morphogen as mg
    from morphogen import artifact
    from morphogen.training import provenance

    python = peers.ensure("pythae")
    dataset = mg.load_data(DATA)
    run = chosen.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    if not chosen.evaluate:
        pictures = {name: records.stored for name, records in dataset.splits.items()}
        pictures["train"] = pictures["train"][: chosen.records]
        np.savez_compressed(run / "pictures.npz", **{name: x.numpy() for name, x in pictures.items()})
        length = ["--minutes", str(chosen.minutes)] if chosen.epochs is None else ["--epochs", str(chosen.epochs)]
        _in_peer(python, run, "train", *length, "--seed", str(chosen.seed))
    elif not (run / "trained.npz").exists():
        parser.error(f"{run} holds nothing that was trained: leave out --evaluate")
    _in_peer(python, run, "own", "--own-n", str(chosen.own_n), "--samples", str(chosen.samples))

    results, theirs = judge(copied(run), dataset, chosen.n, chosen.samples)
    np.save(run / "nll-pythae.npy", theirs)
    found: dict[str, Any] = {
        "what": "binarized MNIST, pythae's VAE of 500-unit layers, ELBO, its own trainer",
        "model": str(chosen.run),
        "family": "pythae VAE",
        "data": DATA,
        "results": results,
        "own estimate": json.loads((run / "own.json").read_text(encoding="utf-8")),
        "training": {
            **json.loads((run / "training.json").read_text(encoding="utf-8")),
            "versions": provenance.versions() | peers.versions(python, "pythae", "torch"),
            "hardware": provenance.hardware(torch.device("cpu"), 1),
        },
    }
    if (chosen.ours / artifact.MANIFEST).exists():
        loaded = artifact.load(chosen.ours)
        results, ours = judge(loaded.family, dataset, chosen.n, chosen.samples)
        np.save(run / "nll-ours.npy", ours)
        found["ours"] = {"model": str(chosen.ours), "results": results, "training": dict(loaded.provenance)}
        found["ours minus pythae, nats"] = paired(ours, theirs)
    else:
        print(f"{chosen.ours} holds no model: no paired difference.", file=sys.stderr)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, one in (("pythae", found), ("ours", found.get("ours", {}))):
        for result in one.get("results", []):
            low, high = result["interval"]
            print(f"{name} {result['name']}: {result['value']:.3f} ({low:.3f} to {high:.3f}), n {result['n']}")
    print(f"pythae's own estimate: {found['own estimate']}")
    print(f"ours minus pythae, nats: {found.get('ours minus pythae, nats')}")


def _in_peer(python: Path, run: Path, what: str, *options: str) -> None:
    command = [str(python), "-m", "benchmarks.pythae_likelihood", "--peer", what, "--run", str(run), *options]
    if subprocess.run(command, cwd=peers.ROOT).returncode:
        raise SystemExit(f"pythae's part failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
