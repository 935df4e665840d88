"""A GAN in Keras on TensorFlow as one sets it up for small pictures today; runs in the environment "keras".

    python -m benchmarks.peers.keras_gan sized PICTURES.npy SAMPLES.npz --seconds 600

A DCGAN of few enough channels that a processor makes thousands of steps in minutes, the non-saturating game with the
R1 penalty in every fourth step (Mescheder et al., 2018), two learning rates (Heusel et al., 2017), averaged weights
and tf.function. `wide` has the channels of TensorFlow's tutorial.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.peers.limit import Draw, Limit, main

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
LATENT, SLOPE, EVERY = 100, 0.2, 4
SIZED = {"widths": (128, 64, 32), "batch": 64, "g_rate": 2e-4, "d_rate": 4e-4, "gamma": 1.0, "average": 0.999}
SETUPS = {"sized": SIZED, "wide": {**SIZED, "widths": (256, 128, 64)}}


def networks(shape: tuple[int, ...], widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Generator and discriminator of pictures (H, W, C) whose sides are multiples of four."""
    import keras
    from keras import layers

    (h, w, channels), (first, *rest) = shape, widths
    up = [
        layer
        for n in rest
        for layer in (
            layers.Conv2DTranspose(n, 4, 2, "same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(SLOPE),
        )
    ]
    start = [layers.Dense(h * w // 16 * first, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(SLOPE)]
    last = layers.Conv2D(channels, 3, padding="same", activation="tanh")
    reshaped = layers.Reshape((h // 4, w // 4, first))
    generator = keras.Sequential([keras.Input((LATENT,)), *start, reshaped, *up, last])
    down = [layer for n in reversed(rest) for layer in (layers.Conv2D(n, 4, 2, "same"), layers.LeakyReLU(SLOPE))]
    wide = [layers.Conv2D(first, 3, padding="same"), layers.LeakyReLU(SLOPE), layers.Flatten(), layers.Dense(1)]
    return generator, keras.Sequential([keras.Input(shape), *down, *wide])


def train(pictures: np.ndarray, limit: Limit, setup: Mapping[str, Any]) -> Draw:
    """Play until the time is up; the averaged generator draws."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(setup["seed"])
    x = pictures.transpose(0, 2, 3, 1).astype("float32") / 127.5 - 1.0
    generator, discriminator = networks(x.shape[1:], tuple(setup["widths"]))
    averaged = keras.models.clone_model(generator)
    averaged.set_weights(generator.get_weights())
    g_optimizer, d_optimizer = (keras.optimizers.Adam(setup[rate], 0.0, 0.99) for rate in ("g_rate", "d_rate"))
    batch = setup["batch"]

    @tf.function
    def step(real: Any, penalized: bool, average: Any) -> None:
        made = generator(tf.random.normal((batch, LATENT)), training=True)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softplus(discriminator(made)))
            with tf.GradientTape() as inner:
                inner.watch(real)
                logits = discriminator(real)
            loss += tf.reduce_mean(tf.nn.softplus(-logits))
            if penalized:
                slope = tf.reduce_sum(tf.square(inner.gradient(logits, real)), (1, 2, 3))
                loss += 0.5 * setup["gamma"] * EVERY * tf.reduce_mean(slope)
        mine = discriminator.trainable_weights
        d_optimizer.apply_gradients(zip(tape.gradient(loss, mine), mine, strict=True))
        with tf.GradientTape() as tape:
            made = generator(tf.random.normal((batch, LATENT)), training=True)
            loss = tf.reduce_mean(tf.nn.softplus(-discriminator(made)))
        mine = generator.trainable_weights
        g_optimizer.apply_gradients(zip(tape.gradient(loss, mine), mine, strict=True))
        for kept, now in zip(averaged.weights, generator.weights, strict=True):
            kept.assign(average * kept + (1.0 - average) * now)

    data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x), seed=setup["seed"])
    for real in data.batch(batch, drop_remainder=True).repeat():
        if not limit.more():
            break
        for optimizer, rate in ((g_optimizer, "g_rate"), (d_optimizer, "d_rate")):
            optimizer.learning_rate.assign(setup[rate] * limit.rate(decays=False))
        average = min(setup["average"], (1.0 + limit.steps) / (10.0 + limit.steps))
        step(real, limit.steps % EVERY == 0, tf.constant(average, tf.float32))

    def draw(n: int, seed: int) -> np.ndarray:
        z = np.random.default_rng(seed).standard_normal((n, LATENT)).astype("float32")
        made = averaged.predict(z, batch_size=500, verbose=0)
        return np.clip(np.rint((made + 1.0) * 127.5), 0, 255).astype("uint8").transpose(0, 3, 1, 2)

    return draw


if __name__ == "__main__":
    main(__doc__, SETUPS, train, ("tensorflow", "keras"))
