"""Pictures by pythae's autoencoders, for `quality.equal_time`; runs in the environment "pythae".

    python -m benchmarks.peers.pythae_pictures rae PICTURES.npy SAMPLES.npz --seconds 600

`rae` is RAE-L2 with the perceptrons that pythae builds where it is given no networks, `rae-conv` with small
convolutions, `vaegan` VAE-GAN with these and pythae's own discriminator. Weights of losses are those of its scripts for
MNIST: 0.01 of the embeddings and 0.0001 of the decoder, an adversarial scale of 0.8. pythae's trainer of each runs
until the time is up; learning rates warm up and fall as a cosine, and weights are averaged. Its GaussianMixtureSampler
draws: 10 components, fitted to the encodings of 10,000 of the pictures.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pythae import models, samplers, trainers
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn

from benchmarks.peers.limit import Draw, Limit, main

FITTED, AVERAGE = 10_000, 0.999
RAE = {"model": "rae", "conv": False, "batch": 128, "latent": 16, "lr": 1e-3}
CONV = {**RAE, "conv": True, "widths": (32, 64), "lr": 2e-3}
SETUPS = {"rae": RAE, "rae-conv": CONV, "vaegan": {**CONV, "model": "vaegan", "lr": 1e-3}}


class Enough(Exception):
    """The time is up; raised in a callback, it ends the training."""


class Encoder(BaseEncoder):
    """Two convolutions that halve the sides, and linear heads."""

    def __init__(self, shape: tuple[int, ...], latent: int, widths: tuple[int, int]) -> None:
        super().__init__()
        (c, h, w), (a, b) = shape, widths
        down = nn.Conv2d(c, a, 4, 2, 1), nn.ReLU(), nn.Conv2d(a, b, 4, 2, 1), nn.ReLU(), nn.Flatten()
        self.body = nn.Sequential(*down, nn.Linear(b * h * w // 16, 256), nn.ReLU())
        self.mean, self.log_var = nn.Linear(256, latent), nn.Linear(256, latent)

    def forward(self, x: Any) -> Any:
        h = self.body(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    """The way back."""

    def __init__(self, shape: tuple[int, ...], latent: int, widths: tuple[int, int]) -> None:
        super().__init__()
        (c, h, w), (a, b) = shape, widths
        start = nn.Linear(latent, 256), nn.ReLU(), nn.Linear(256, b * h * w // 16), nn.ReLU()
        up = nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(a, c, 4, 2, 1), nn.Sigmoid()
        self.body = nn.Sequential(*start, nn.Unflatten(1, (b, h // 4, w // 4)), *up)

    def forward(self, z: Any) -> Any:
        return ModelOutput(reconstruction=self.body(z))


def built(shape: tuple[int, ...], setup: Mapping[str, Any], folder: str) -> tuple[Any, Any, Any]:
    """The model, the class of its trainer and the trainer's configuration."""
    sizes = shape, setup["latent"], tuple(setup.get("widths", ()))
    chosen = {"encoder": Encoder(*sizes), "decoder": Decoder(*sizes)} if setup["conv"] else {}
    ends: dict[str, Any] = {"input_dim": shape, "latent_dim": setup["latent"]}
    how: dict[str, Any] = {"output_dir": folder, "num_epochs": 1_000_000, "per_device_train_batch_size": setup["batch"]}
    how |= {"encoder_learning_rate": setup["lr"], "decoder_learning_rate": setup["lr"]}
    if setup["model"] == "rae":
        config = models.RAE_L2_Config(**ends, embedding_weight=1e-2, reg_weight=1e-4)
        how |= {"decoder_optimizer_params": {"weight_decay": config.reg_weight}}  # as TrainingPipeline has it
        model = models.RAE_L2(config, **chosen)
        return model, trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig(**how)
    config = models.VAEGANConfig(**ends, adversarial_loss_scale=0.8, reconstruction_layer=1)
    how |= {"discriminator_learning_rate": setup["lr"]}
    kinds = trainers.CoupledOptimizerAdversarialTrainer, trainers.CoupledOptimizerAdversarialTrainerConfig
    return models.VAEGAN(config, **chosen), kinds[0], kinds[1](**how)


def train(pictures: np.ndarray, limit: Limit, setup: Mapping[str, Any]) -> Draw:
    """Train until the time is up; the averaged weights draw."""
    torch.manual_seed(setup["seed"])
    x = torch.from_numpy(pictures).float() / 255.0
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        model, kind, config = built(tuple(x.shape[1:]), setup, folder)
        averaged = copy.deepcopy(model)

        class Steps(TrainingCallback):
            def on_train_step_end(self, *_: Any, **__: Any) -> None:
                decay = min(AVERAGE, (1.0 + limit.steps) / (10.0 + limit.steps))
                with torch.no_grad():
                    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1.0 - decay)
                if not limit.more():
                    raise Enough
                for optimizer in (v for k, v in vars(trainer).items() if k.endswith("optimizer") and v is not None):
                    for group in optimizer.param_groups:
                        group["lr"] = setup["lr"] * limit.rate()

        trainer = kind(model, BaseDataset(x, torch.zeros(len(x))), training_config=config, callbacks=[Steps()])
        trainer.train()
    averaged.eval()

    def draw(n: int, seed: int) -> np.ndarray:
        mixture = samplers.GaussianMixtureSamplerConfig(n_components=10)
        sampler = samplers.GaussianMixtureSampler(averaged, mixture)
        torch.manual_seed(seed)
        np.random.seed(seed)  # with which scikit-learn fits the mixture and draws from it
        with torch.no_grad():
            sampler.fit(x[:FITTED])
            made = sampler.sample(num_samples=n, return_gen=True)
        found: np.ndarray = (255.0 * made.clamp(0, 1)).round().to(torch.uint8).numpy()
        return found

    return draw


if __name__ == "__main__":
    main(__doc__, SETUPS, train)
