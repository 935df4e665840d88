"""pythae's VAE by its own trainer, on the classic MLP for speed and for likelihoods; runs in the environment "pythae".

python -m benchmarks.peers.pythae vae --pictures PICTURES.npy --seconds 25   # images a second
python -m benchmarks.peers.pythae train --run RUN --seconds 1200             # on RUN/pictures.npz, to RUN
python -m benchmarks.peers.pythae own --run RUN --own-n 200 --samples 5000   # its own estimate of log p(x)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn

from benchmarks.peers.limit import Limit
from benchmarks.speed import mlp
from benchmarks.speed.clock import Clock

HIDDEN, LATENT, BATCH = (500, 500), 40, 128  # of the VAE whose likelihood is compared
CHECKED = 100  # pictures on which the copy must agree with pythae's own networks


class Enough(Exception):
    """The time is up; raised in a callback, it ends the training."""


def network(hidden: tuple[int, ...], latent_dim: int, loss: str) -> Any:
    """pythae's VAE of 28x28 pictures with ReLU perceptrons.

    The encoder has the layers `hidden` and the decoder the same in reverse, ending in the sigmoid that pythae's own
    networks end in; `loss` is its reconstruction loss, "bce" or "mse".
    """

    def layers(*sizes: int) -> list[nn.Module]:
        return [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*layers(784, *hidden))
            self.mean, self.log_var = nn.Linear(hidden[-1], latent_dim), nn.Linear(hidden[-1], latent_dim)

        def forward(self, x: Any) -> Any:
            h = self.body(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*layers(latent_dim, *hidden[::-1]), nn.Linear(hidden[0], 784), nn.Sigmoid())

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent_dim, reconstruction_loss=loss)
    return VAE(config, Encoder(), Decoder())


def speed(pictures: Any, seconds: float) -> dict[str, float]:
    """pythae's BaseTrainer on the classic MLP VAE, epoch after epoch."""

    class Laps(TrainingCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            if clock.lap(len(pictures)):
                raise Enough

    data = BaseDataset(torch.from_numpy(pictures), torch.zeros(len(pictures)))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=100_000, learning_rate=1e-3, per_device_train_batch_size=mlp.BATCH
        )
        model = network(mlp.HIDDEN, mlp.LATENT, "mse")
        trainer = BaseTrainer(model, data, training_config=config, callbacks=[Laps()])
        clock = Clock(seconds)
        with contextlib.suppress(Enough):
            trainer.train()
    return clock.result()


def train(run: Path, seconds: float) -> None:
    """Train in this process, which is pythae's; write weights and a check of them to `run`/trained.npz."""

    class Stop(TrainingCallback):
        epochs = 0

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.epochs += 1
            if not limit.more():
                raise Enough

    with np.load(run / "pictures.npz", allow_pickle=False) as arrays:
        pictures = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    data = {name: BaseDataset(x, torch.zeros(len(x))) for name, x in pictures.items()}
    torch.manual_seed(0)
    model = network(HIDDEN, LATENT, "bce")
    config = BaseTrainerConfig(
        output_dir=str(run / "pythae"),
        num_epochs=1_000_000,
        learning_rate=1e-3,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        scheduler_cls="ReduceLROnPlateau",
        scheduler_params={"patience": 5, "factor": 0.5},
    )
    stop = Stop()
    trainer = BaseTrainer(model, data["train"], data["validation"], training_config=config, callbacks=[stop])
    limit = Limit(seconds)
    with contextlib.suppress(Enough):
        trainer.train()
    spent = limit.spent()
    best = trainer._best_model.eval()  # what its trainer saves as the final model
    x = pictures["test"][:CHECKED]
    with torch.no_grad():
        q = best.encoder(x)
        logits = best.decoder.body[:-1](q.embedding)
    check = {"check/mean": q.embedding, "check/log_var": q.log_covariance, "check/logits": logits}
    weights = {name: value for name, value in best.state_dict().items() if name.startswith(("encoder.", "decoder."))}
    np.savez(run / "trained.npz", **{name: value.numpy() for name, value in {**weights, **check}.items()})
    facts: dict[str, Any] = {
        "epochs": stop.epochs,
        "duration_s": round(spent["wall_s"], 1),
        "threads": torch.get_num_threads(),
    }
    facts["spent"] = spent
    (run / "training.json").write_text(json.dumps(facts), encoding="utf-8")


def own_nll(run: Path, n: int, samples: int) -> None:
    """pythae's own estimate on the first `n` test pictures, with the weights in `run`; to `run`/own.json."""
    model = network(HIDDEN, LATENT, "bce").eval()
    with np.load(run / "trained.npz", allow_pickle=False) as arrays:
        weights = {k: torch.from_numpy(arrays[k]) for k in arrays.files if not k.startswith("check/")}
    model.load_state_dict(weights)
    with np.load(run / "pictures.npz", allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["test"][:n]).float()
    torch.manual_seed(0)
    with torch.no_grad():
        value = -float(model.get_nll(x, n_samples=samples, batch_size=min(samples, 500)))
    (run / "own.json").write_text(json.dumps({"value": value, "n": len(x), "importance_samples": samples}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["vae", "train", "own"])
    parser.add_argument("--pictures", help="uint8 pictures (N, 1, 28, 28) as .npy")
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--run", type=Path, help="folder with pictures.npz")
    parser.add_argument("--own-n", type=int, default=200)
    parser.add_argument("--samples", type=int, default=5000)
    asked = parser.parse_args()
    if asked.verb == "vae":
        print(json.dumps(speed(mlp.pictures_of(asked.pictures), asked.seconds)))
    elif asked.verb == "train":
        train(asked.run, asked.seconds)
    else:
        own_nll(asked.run, asked.own_n, asked.samples)


if __name__ == "__main__":
    main()
