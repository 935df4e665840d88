"""Keras' `fit` on TensorFlow on the classic MLP VAE and GAN; runs in the environment "keras".

python -m benchmarks.peers.keras_loops vae --pictures PICTURES.npy --seconds 25   # or gan, gan-xla
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.speed.clock import Clock
from benchmarks.speed.mlp import BATCH, BETAS, DISCRIMINATOR, GENERATOR, HIDDEN, LATENT, LR, NOISE, SLOPE, time_loop

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


def vae_loop(pictures: Any, seconds: float) -> dict[str, float]:
    """`fit` with a train_step of its own, as Keras' example of a VAE has it."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = keras.Sequential([layers.Dense(n, "relu") for n in HIDDEN])
            self.mean, self.log_var = layers.Dense(LATENT), layers.Dense(LATENT)
            outwards = [layers.Dense(n, "relu") for n in HIDDEN[::-1]]
            self.decoder = keras.Sequential([*outwards, layers.Dense(784, "sigmoid")])
            self.noise = keras.random.SeedGenerator(0)
            self.loss_tracker = keras.metrics.Mean(name="loss")

        @property
        def metrics(self) -> list[Any]:
            return [self.loss_tracker]

        def train_step(self, x: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                h = self.encoder(x)
                mean, log_var = self.mean(h), self.log_var(h)
                z = mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.noise)
                distortion = ops.sum(ops.square(self.decoder(z) - x), axis=-1)
                rate = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1)
                loss = ops.mean(distortion + rate)
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
            )
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    class Laps(keras.callbacks.Callback):
        def on_epoch_end(self, *_: Any) -> None:
            self.model.stop_training = clock.lap(len(pictures))

    x = pictures.reshape(len(pictures), -1)
    net = Net()
    net.compile(optimizer=keras.optimizers.Adam(1e-3))
    clock = Clock(seconds)
    net.fit(x, epochs=100_000, batch_size=BATCH, verbose=0, callbacks=[Laps()])
    return clock.result()


def gan_loop(pictures: Any, seconds: float, xla: bool = False) -> dict[str, float]:
    """`fit` with a train_step of its own, as Keras' guide to GANs has it."""
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
            z = keras.random.normal((n, NOISE), seed=self.noise)
            with tf.GradientTape() as tape:
                logits = self.discriminator(tf.concat([x, self.generator(z)], axis=0))
                d_loss = 2.0 * self.loss(tf.concat([tf.ones((n, 1)), tf.zeros((n, 1))], axis=0), logits)
            mine = self.discriminator.trainable_weights
            self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, mine), mine, strict=True))
            z = keras.random.normal((n, NOISE), seed=self.noise)
            with tf.GradientTape() as tape:
                g_loss = self.loss(tf.ones((n, 1)), self.discriminator(self.generator(z)))
            mine = self.generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, mine), mine, strict=True))
            self.g_loss.update_state(g_loss)
            self.d_loss.update_state(d_loss)
            return {"g": self.g_loss.result(), "d": self.d_loss.result()}

    class Laps(keras.callbacks.Callback):
        def on_epoch_end(self, *_: Any) -> None:
            self.model.stop_training = clock.lap(BATCH * (len(x) // BATCH))

    x = 2.0 * pictures.reshape(len(pictures), -1) - 1.0
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH, drop_remainder=True).prefetch(2)
    pair = Pair()
    pair.compile(optimizer=None, jit_compile=xla)
    clock = Clock(seconds)
    pair.fit(data, epochs=100_000, verbose=0, callbacks=[Laps()])
    return clock.result()


if __name__ == "__main__":
    time_loop(__doc__, {"vae": vae_loop, "gan": gan_loop, "gan-xla": lambda x, seconds: gan_loop(x, seconds, xla=True)})
