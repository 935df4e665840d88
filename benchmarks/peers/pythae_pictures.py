"""Pictures by pythae's autoencoders, for benchmarks.quality.equal_time, which runs it in the environment of that peer.

    python -m benchmarks.peers.pythae_pictures rae PICTURES.npy SAMPLES.npz --minutes 10 --n 2000    # or vaegan
    python -m benchmarks.peers.pythae_pictures rae PICTURES.npy SAMPLES.npz --minutes 10 --networks default

The networks are pythae's own for MNIST, and so are the settings, those of its scripts for MNIST: 16 latents, Adam,
RAE-L2 with weights 0.01 of the embeddings and 0.0001 of the decoder, VAE-GAN with an adversarial scale of 0.8 and
distances in layer 3 of the discriminator (by default it is the last one, a single number, from which nothing is
learned). `--networks default` takes the perceptrons that pythae builds where it is given no networks, a step of which
is less than a hundredth of the arithmetic. pythae's trainer of each trains on batches of 128 and is stopped when the
time is up, wherever it is in its epoch; there is no validation, and the last weights count. Its GaussianMixtureSampler
draws: 10 components, fitted to the encodings of at most 10,000 of the pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.pythae import Enough

BATCH, LATENT, FITTED = 128, 16, 10_000
RATES = {"rae": 1e-3, "vaegan": 1e-4}


def built(kind: str, rate: float, folder: str, networks: str = "mnist") -> tuple[Any, Any, Any]:
    """The model, the class of its trainer and the trainer's configuration."""
    from pythae import models, trainers
    from pythae.models.nn.benchmarks import mnist

    shape: dict[str, Any] = {"input_dim": (1, 28, 28), "latent_dim": LATENT}
    how: dict[str, Any] = {"output_dir": folder, "num_epochs": 1_000_000, "per_device_train_batch_size": BATCH}
    how |= {"encoder_learning_rate": rate, "decoder_learning_rate": rate}
    if kind == "rae":
        config = models.RAE_L2_Config(**shape, embedding_weight=1e-2, reg_weight=1e-4)
        chosen: tuple[Any, ...] = (
            (mnist.Encoder_Conv_AE_MNIST, mnist.Decoder_Conv_AE_MNIST) if networks == "mnist" else ()
        )
        model = models.RAE_L2(config, *(network(config) for network in chosen))
        how |= {"decoder_optimizer_params": {"weight_decay": config.reg_weight}}  # as TrainingPipeline has it
        return model, trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig(**how)
    convolutions = mnist.Encoder_Conv_VAE_MNIST, mnist.Decoder_Conv_AE_MNIST, mnist.Discriminator_Conv_MNIST
    chosen, layer = (convolutions, 3) if networks == "mnist" else ((), 1)  # the only hidden one of the perceptron
    config = models.VAEGANConfig(**shape, adversarial_loss_scale=0.8, reconstruction_layer=layer)
    model = models.VAEGAN(config, *(network(config) for network in chosen))
    how |= {"discriminator_learning_rate": rate}
    kinds = trainers.CoupledOptimizerAdversarialTrainer, trainers.CoupledOptimizerAdversarialTrainerConfig
    return model, kinds[0], kinds[1](**how)


def trained(kind: str, x: Any, minutes: float, rate: float, networks: str) -> tuple[Any, dict[str, Any]]:
    """The model after so many minutes, and what it took."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.trainers.training_callbacks import TrainingCallback

    class Stop(TrainingCallback):
        steps, start = 0, 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_train_step_end(self, *_: Any, **__: Any) -> None:
            self.steps += 1
            if time.perf_counter() - self.start > 60 * minutes:
                raise Enough

    torch.manual_seed(0)
    stop = Stop()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        model, trainer, config = built(kind, rate, folder, networks)
        trainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=config, callbacks=[stop]).train()
    facts: dict[str, Any] = {
        "steps": stop.steps,
        "epochs": round(stop.steps * BATCH / len(x), 2),
        "batch": BATCH,
        "lr": rate,
    }
    facts |= {"networks": networks, "minutes": minutes, "duration_s": round(time.perf_counter() - stop.start, 1)}
    return model.eval(), {**facts, "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=RATES)
    parser.add_argument("pictures", type=Path, help="uint8 pictures (N, 1, 28, 28)")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--lr", type=float, help=f"learning rate of all networks (default: {RATES})")
    parser.add_argument("--networks", choices=["mnist", "default"], default="mnist")
    asked = parser.parse_args()

    import torch
    from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig

    x = torch.from_numpy(np.load(asked.pictures)).float() / 255.0
    model, facts = trained(asked.model, x, asked.minutes, asked.lr or RATES[asked.model], asked.networks)
    sampler = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=10))
    torch.manual_seed(1)
    np.random.seed(1)  # which the mixture of scikit-learn is fitted and drawn with
    sampler.fit(x[:FITTED])
    with torch.no_grad():
        made = sampler.sample(num_samples=asked.n, return_gen=True)
    np.savez(asked.out, x=(255.0 * made.clamp(0, 1)).round().to(torch.uint8).numpy())
    asked.out.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
