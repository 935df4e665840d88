"""The two networks of a variational autoencoder, q(z | x) and p(x | z), and its bound as one network."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from morphogen.core.data_spec import DataSpec
from morphogen.core.distributions import Distribution, Gaussian, standard_normal
from morphogen.families.vae_spec import VAESpec
from morphogen.nn.backbones.encoders import centered
from morphogen.nn.integer.grid import to_grid
from morphogen.nn.sequence_autoencoder import SequenceDistribution
from morphogen.nn.sequences import CausalSequences
from morphogen.theory import elbo
from morphogen.theory.likelihoods import likelihood


class Inference(nn.Module):
    """q(z | x): (B, *shape) -> mean and log-variance (B, D). It also gives the moments of the pseudo-inputs (M, D)."""

    def __init__(self, encoder: nn.Module, data: DataSpec, pseudo_inputs: int) -> None:
        super().__init__()
        self.encoder, self.data = encoder, data
        self.pseudo = nn.Parameter(torch.randn(pseudo_inputs, *data.shape)) if pseudo_inputs else None

    def forward(self, x: Tensor, c: Tensor | None = None, null: Tensor | None = None) -> tuple[Tensor, ...]:
        """`c` (B, C) is the condition of the records; `null` (1, C) is the empty condition, for the pseudo-inputs."""
        x = centered(x, self.data)
        if self.pseudo is None:
            return self._moments(self.encoder(x, c))
        m = len(self.pseudo)
        x = torch.cat((x, self.pseudo.tanh()))
        if c is not None and null is not None:
            c = torch.cat((c, null.expand(m, -1)))
        mean, log_var = self._moments(self.encoder(x, c))
        return mean[:-m], log_var[:-m], mean[-m:], log_var[-m:]

    def prior(self, null: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Moments of q(z | u_m), each (M, D)."""
        u = cast(Tensor, self.pseudo).tanh()
        return self._moments(self.encoder(u, None if null is None else null.expand(len(u), -1)))

    @staticmethod
    def _moments(h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = h.to(torch.promote_types(h.dtype, torch.float32)).chunk(2, dim=-1)
        return mean, log_var.clamp(-14.0, 6.0)  # sigma in [1e-3, 20]: keeps exp finite in any precision


class Generation(nn.Module):
    """p(x | z): latents (*N, D) -> log p(x | z) (*N,), for records (B, *shape); the last dimension of N is B."""

    def __init__(self, decoder: nn.Module, data: DataSpec, spec: VAESpec, name: str) -> None:
        super().__init__()
        self.decoder, self.data, self.spec, self.name = decoder, data, spec, name
        self.log_var = float(torch.tensor(spec.variance, device="cpu").log())

    def distribution(self, z: Tensor, c: Tensor | None = None) -> Distribution:
        """p(x | z) with the batch shape of z."""
        batch = z.shape[:-1]
        if isinstance(self.decoder, CausalSequences):
            return SequenceDistribution(self.decoder, z if c is None else torch.cat((z, c.expand(*batch, -1)), -1))
        if c is not None:
            c = c.expand(*batch, -1).reshape(-1, c.shape[-1])
        z = to_grid(z) if self.spec.integer else z
        raw = self.decoder(z.reshape(-1, z.shape[-1]), c)
        raw = raw.unflatten(0, batch)
        if self.spec.bounded:
            raw = raw.tanh()
        return likelihood(self.name, raw, self.data, mixtures=self.spec.mixtures, log_var=self.log_var)

    def forward(self, z: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.distribution(z, c).log_prob(x)


class Bound(nn.Module):
    """The ELBO with a standard normal prior, as one network, so that it is compiled as a whole.

    It maps x (B, *shape) and noise (B, D) to the distortion -log p(x | z), the rate in the loss (`elbo.free_bits`),
    and the true rate without gradients; each is (B,).
    """

    def __init__(self, inference: Inference, generation: Generation, free_bits: float) -> None:
        super().__init__()
        self.inference, self.generation, self.free_bits = inference, generation, free_bits

    def forward(self, x: Tensor, eps: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.inference(x, c)
        q = Gaussian(mean, log_var)
        distortion = -self.generation(q.rsample(eps), x, c)
        kl = q.kl_elements(standard_normal(mean.shape[-1:], mean))
        rate = kl.sum(-1)
        return distortion, elbo.free_bits(kl, self.free_bits) if self.free_bits else rate, rate.detach()
