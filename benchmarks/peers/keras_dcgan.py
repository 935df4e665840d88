"""A DCGAN in Keras on TensorFlow, for benchmarks.quality, which runs it in the environment of that peer.

    python -m benchmarks.peers.keras_dcgan PICTURES.npy SAMPLES.npz --minutes 20 --n 10000

The network and the settings are those of TensorFlow's tutorial "Deep Convolutional Generative Adversarial Network":
28 x 28, 100 latents, 5 x 5 convolutions, batch normalization, dropout, Adam of rate 0.0001, batch 256, tf.function.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH, LATENT, SLOPE, RATE = 256, 100, 0.3, 1e-4


def trained(pictures: np.ndarray, minutes: float) -> tuple[Any, int]:
    """The generator after so many minutes, and the steps that it took."""
    import keras
    import tensorflow as tf
    from keras import layers

    def up(channels: int, stride: int) -> list[Any]:
        convolution = layers.Conv2DTranspose(channels, 5, stride, "same", use_bias=False)
        return [convolution, layers.BatchNormalization(), layers.LeakyReLU(SLOPE)]

    generator = keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(7 * 7 * 256, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(SLOPE),
            layers.Reshape((7, 7, 256)),
            *up(128, 1),
            *up(64, 2),
            layers.Conv2DTranspose(1, 5, 2, "same", use_bias=False, activation="tanh"),
        ]
    )
    down = [
        layer
        for channels in (64, 128)
        for layer in (layers.Conv2D(channels, 5, 2, "same"), layers.LeakyReLU(SLOPE), layers.Dropout(0.3))
    ]
    discriminator = keras.Sequential([keras.Input((28, 28, 1)), *down, layers.Flatten(), layers.Dense(1)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    g_optimizer, d_optimizer = keras.optimizers.Adam(RATE), keras.optimizers.Adam(RATE)

    @tf.function
    def step(x: Any) -> None:
        z = tf.random.normal((BATCH, LATENT))
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            made = generator(z, training=True)
            real, fake = discriminator(x, training=True), discriminator(made, training=True)
            g_loss = loss(tf.ones_like(fake), fake)
            d_loss = loss(tf.ones_like(real), real) + loss(tf.zeros_like(fake), fake)
        for tape, value, network, optimizer in (
            (g_tape, g_loss, generator, g_optimizer),
            (d_tape, d_loss, discriminator, d_optimizer),
        ):
            mine = network.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(value, mine), mine, strict=True))

    x = pictures.reshape(-1, 28, 28, 1).astype("float32") / 127.5 - 1.0
    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH, drop_remainder=True).repeat()
    steps, start = 0, time.perf_counter()
    for batch in data:
        step(batch)
        steps += 1
        if time.perf_counter() - start > 60 * minutes:
            break
    return generator, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as TensorFlow takes")
    asked = parser.parse_args()
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    tf.config.threading.set_inter_op_parallelism_threads(asked.threads)
    generator, steps = trained(np.load(asked.pictures), asked.minutes)
    z = np.random.default_rng(1).standard_normal((asked.n, LATENT)).astype("float32")
    made = generator.predict(z, batch_size=500, verbose=0)
    x = np.clip(np.rint((made + 1.0) * 127.5), 0, 255).astype("uint8").transpose(0, 3, 1, 2)
    np.savez(asked.out, x=x)
    asked.out.with_suffix(".json").write_text(json.dumps({"steps": steps, "minutes": asked.minutes}))


if __name__ == "__main__":
    main()
