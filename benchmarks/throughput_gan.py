"""The contestants of `benchmarks.throughput --model gan`: the textbook's pair of perceptrons on 28 x 28 pictures.

The generator is 100-256-512-1024-784, ending in tanh, the discriminator 784-512-256-1, both with leaky ReLUs of slope
0.2; the game is the non-saturating one, Adam's learning rate 0.0002, its first decay 0.5. A step shows the
discriminator 128 pictures and as many samples, and moves both once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks import peers

BATCH, LATENT = 128, 100
GENERATOR, DISCRIMINATOR = (LATENT, 256, 512, 1024, 784), (784, 512, 256, 1)
SLOPE, LR, BETAS = 0.2, 2e-4, (0.5, 0.999)


def flops_per_image() -> float:
    """Floating-point operations of one training step for one picture, multiply and add counted apart.

    The discriminator sees a picture and a sample, with gradients for its weights and, beyond the first layer, for its
    inputs; then the sample anew, with gradients for inputs alone, which reach the generator.
    """
    g, d = (sum(a * b for a, b in pairwise(sizes)) for sizes in (GENERATOR, DISCRIMINATOR))
    first_g, first_d = GENERATOR[0] * GENERATOR[1], DISCRIMINATOR[0] * DISCRIMINATOR[1]
    return 2.0 * ((3 * g - first_g) + 2 * (3 * d - first_d) + 2 * d)


def keras(pictures: Any, seconds: float, clock: Callable[[float], Any], xla: bool = False) -> dict[str, Any]:
    """`fit` with a train_step of its own, as Keras' guide to GANs has it."""
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    import keras
    import tensorflow as tf
    from keras import layers

    def network(sizes: tuple[int, ...], last: str | None) -> Any:
        inner = [layer for n in sizes[1:-1] for layer in (layers.Dense(n), layers.LeakyReLU(SLOPE))]
        return keras.Sequential([keras.Input((sizes[0],)), *inner, layers.Dense(sizes[-1], last)])

    class Pair(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.generator, self.discriminator = network(GENERATOR, "tanh"), network(DISCRIMINATOR, None)
            self.noise = keras.random.SeedGenerator(0)
            self.loss = keras.losses.BinaryCrossentropy(from_logits=True)
            self.g_optimizer, self.d_optimizer = (keras.optimizers.Adam(LR, *BETAS) for _ in range(2))
            self.g_loss, self.d_loss = keras.metrics.Mean(name="g"), keras.metrics.Mean(name="d")

        @property
        def metrics(self) -> list[Any]:
            return [self.g_loss, self.d_loss]

        def train_step(self, x: Any) -> dict[str, Any]:
            n = tf.shape(x)[0]
            z = keras.random.normal((n, LATENT), seed=self.noise)
            with tf.GradientTape() as tape:
                logits = self.discriminator(tf.concat([x, self.generator(z)], axis=0))
                d_loss = 2.0 * self.loss(tf.concat([tf.ones((n, 1)), tf.zeros((n, 1))], axis=0), logits)
            mine = self.discriminator.trainable_weights
            self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, mine), mine, strict=True))
            z = keras.random.normal((n, LATENT), seed=self.noise)
            with tf.GradientTape() as tape:
                g_loss = self.loss(tf.ones((n, 1)), self.discriminator(self.generator(z)))
            mine = self.generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, mine), mine, strict=True))
            self.g_loss.update_state(g_loss)
            self.d_loss.update_state(d_loss)
            return {"g": self.g_loss.result(), "d": self.d_loss.result()}

    class Laps(keras.callbacks.Callback):
        def on_epoch_end(self, *_: Any) -> None:
            self.model.stop_training = laps.lap(BATCH * (len(x) // BATCH))

    x = 2.0 * pictures.reshape(len(pictures), -1) - 1.0
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH, drop_remainder=True).prefetch(2)
    pair = Pair()
    pair.compile(optimizer=None, jit_compile=xla)
    laps = clock(seconds)
    pair.fit(data, epochs=100_000, verbose=0, callbacks=[Laps()])
    return laps.result()


def torchgan(pictures: Any, seconds: float, clock: Callable[[float], Any]) -> dict[str, Any]:
    """torchgan's Trainer with its losses, which draws other samples for the generator's move than for its opponent's.

    Each call trains for an epoch. At its end it saves the networks and draws a sheet of samples, whatever the options;
    both are taken out (the sheet also fails, by a keyword that torchvision has dropped). What it logs in each step, the
    losses and the squared norms of gradients, no option turns off either: that is the cost of its loop, and stays.
    """
    peers.declare_torchvision_operators()
    import torch
    from torch.utils.data import DataLoader
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    class G(Generator):
        def __init__(self) -> None:
            super().__init__(LATENT)
            self.body = _network(GENERATOR, torch.nn.Tanh())

        def forward(self, z: Any) -> Any:
            return self.body(z)

    class D(Discriminator):
        def __init__(self) -> None:
            super().__init__(DISCRIMINATOR[0])
            self.body = _network(DISCRIMINATOR)

        def forward(self, x: Any) -> Any:
            return self.body(x)

    adam = {"name": torch.optim.Adam, "args": {"lr": LR, "betas": BETAS}}
    # A tensor serves as the data set: of a TensorDataset, the trainer demands labels.
    x = 2.0 * torch.from_numpy(pictures).flatten(1) - 1.0
    batches = DataLoader(x, BATCH, shuffle=True, drop_last=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            {"generator": {"name": G, "optimizer": adam}, "discriminator": {"name": D, "optimizer": adam}},
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
            device=torch.device("cpu"),
            epochs=1,
            checkpoints=f"{folder}/checkpoints/gan",
            recon=f"{folder}/samples",
        )
        trainer.save_model = lambda epoch: None
        trainer.logger.logger_end_epoch.clear()
        laps, enough = clock(seconds), False
        while not enough:
            trainer(batches)
            enough = laps.lap(BATCH * len(batches))
    return laps.result()


def bare(pictures: Any, seconds: float, clock: Callable[[float], Any]) -> dict[str, Any]:
    """A loop as one writes it by hand for speed: pictures in memory, fused Adam, bf16."""
    import torch
    from torch.nn import functional as F

    generator, discriminator = _network(GENERATOR, torch.nn.Tanh()), _network(DISCRIMINATOR)
    g_optimizer, d_optimizer = (
        torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, fused=True) for net in (generator, discriminator)
    )
    x = 2.0 * torch.from_numpy(pictures).flatten(1) - 1.0
    laps, enough, fast = clock(seconds), False, peers.bf16()
    while not enough:
        batches = torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH)
        for rows in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                made = generator(torch.randn(BATCH, LATENT))
                real, fake = discriminator(torch.cat((x.index_select(0, rows), made.detach()))).float().split(BATCH)
                d_loss = F.softplus(-real).mean() + F.softplus(fake).mean()
            d_optimizer.zero_grad(set_to_none=True)
            d_loss.backward()
            d_optimizer.step()
            discriminator.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                g_loss = F.softplus(-discriminator(made).float()).mean()
            g_optimizer.zero_grad(set_to_none=True)
            g_loss.backward()
            g_optimizer.step()
            discriminator.requires_grad_(True)
        enough = laps.lap(BATCH * len(batches))
    return laps.result()


def _network(sizes: tuple[int, ...], *last: Any) -> Any:
    """A perceptron in torch."""
    from torch import nn

    inner = [m for a, b in pairwise(sizes[:-1]) for m in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
    return nn.Sequential(*inner, nn.Linear(*sizes[-2:]), *last)
