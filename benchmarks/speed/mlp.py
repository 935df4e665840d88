"""The classic MLP VAE and GAN of 28 x 28 pictures: their sizes, the operations of a step, and loops written by hand.

The VAE is 784-512-256-2-256-512-784 with ReLUs, learned by Adam at 0.001. Of the GAN the generator is
100-256-512-1024-784, ending in tanh, the discriminator 784-512-256-1, both with leaky ReLUs of slope 0.2; the game is
the non-saturating one, Adam's learning rate 0.0002, its first decay 0.5; a step shows the discriminator 128 pictures
and as many samples, and moves both once. Torch is imported where it is needed, since Keras' environment has none.

    python -m benchmarks.speed.mlp vae --pictures PICTURES.npy --seconds 25   # or gan: images a second of the loop
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from benchmarks.peers.environments import bf16
from benchmarks.speed.clock import Clock

BATCH = 128
HIDDEN, LATENT = (512, 256), 2
NOISE = 100
GENERATOR, DISCRIMINATOR = (NOISE, 256, 512, 1024, 784), (784, 512, 256, 1)
SLOPE, LR, BETAS = 0.2, 2e-4, (0.5, 0.999)


def vae_flops() -> float:
    """Floating-point operations of one training step for one picture, multiply and add counted apart.

    A layer costs 2 n m forward and the same for either gradient; the first layer needs none for its input.
    """
    encoder, decoder = (784, *HIDDEN, 2 * LATENT), (LATENT, *HIDDEN[::-1], 784)
    products = sum(a * b for sizes in (encoder, decoder) for a, b in pairwise(sizes))
    return 2.0 * (3 * products - encoder[0] * encoder[1])


def gan_flops() -> float:
    """The same of the GAN, as few as a step needs.

    The discriminator sees a picture and a sample, with gradients for its weights and, beyond the first layer, for its
    inputs; then the sample anew, with gradients for inputs alone, which reach the generator.
    """
    g, d = (sum(a * b for a, b in pairwise(sizes)) for sizes in (GENERATOR, DISCRIMINATOR))
    first_g, first_d = GENERATOR[0] * GENERATOR[1], DISCRIMINATOR[0] * DISCRIMINATOR[1]
    return 2.0 * ((3 * g - first_g) + 2 * (3 * d - first_d) + 2 * d)


def pictures_of(path: str) -> Any:
    """The stored bytes as float32 in [0, 1]."""
    import numpy as np

    return np.load(path, allow_pickle=False).astype("float32") / 255.0


def bare_vae(pictures: Any, seconds: float) -> dict[str, float]:
    """A loop as one writes it by hand for speed: pictures in memory, fused Adam, bf16, compiled, clipping, averages."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def layers(*sizes: int) -> list[nn.Module]:
        return [module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.ReLU())]

    encoder = nn.Sequential(*layers(784, *HIDDEN), nn.Linear(HIDDEN[-1], 2 * LATENT))
    decoder = nn.Sequential(*layers(LATENT, *HIDDEN[::-1]), nn.Linear(HIDDEN[0], 784), nn.Sigmoid())
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    averages = [p.detach().clone() for p in parameters]

    @torch.compile(dynamic=False)
    def loss_of(x: Any) -> Any:
        mean, log_var = encoder(x).float().chunk(2, dim=-1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        rate = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1)
        return (F.mse_loss(decoder(z).float(), x, reduction="none").sum(-1) + rate).mean()

    x = torch.from_numpy(pictures).flatten(1)
    clock, enough, fast = Clock(seconds), False, bf16()
    while not enough:
        order = torch.randperm(len(x))
        batches = order[: len(x) // BATCH * BATCH].split(BATCH)
        for rows in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                loss = loss_of(x.index_select(0, rows))
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 100.0)
            optimizer.step()
            torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1e-3)
        enough = clock.lap(BATCH * len(batches))
    return clock.result()


def bare_gan(pictures: Any, seconds: float) -> dict[str, float]:
    """The same for the GAN, not compiled and without averages."""
    import torch
    from torch.nn import functional as F

    generator, discriminator = network(GENERATOR, torch.nn.Tanh()), network(DISCRIMINATOR)
    g_optimizer, d_optimizer = (
        torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, fused=True) for net in (generator, discriminator)
    )
    x = 2.0 * torch.from_numpy(pictures).flatten(1) - 1.0
    clock, enough, fast = Clock(seconds), False, bf16()
    while not enough:
        batches = torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH)
        for rows in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                made = generator(torch.randn(BATCH, NOISE))
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
        enough = clock.lap(BATCH * len(batches))
    return clock.result()


def network(sizes: tuple[int, ...], *last: Any) -> Any:
    """A perceptron of the GAN in torch."""
    from torch import nn

    inner = [m for a, b in pairwise(sizes[:-1]) for m in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
    return nn.Sequential(*inner, nn.Linear(sizes[-2], sizes[-1]), *last)


def time_loop(doc: str | None, loops: Mapping[str, Callable[[Any, float], Any]]) -> None:
    """Run one of the loops as the command line says, and print what it reached."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=loops)
    parser.add_argument("--pictures", required=True, help="uint8 pictures (N, 1, 28, 28) as .npy")
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args()
    print(json.dumps(loops[asked.loop](pictures_of(asked.pictures), asked.seconds)))


if __name__ == "__main__":
    time_loop(__doc__, {"vae": bare_vae, "gan": bare_gan})
