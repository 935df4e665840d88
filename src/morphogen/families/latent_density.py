"""The rate of latents, by a factorized prior alone or with hyper-latents (`nn/backbones/hyperprior.py`).

In use latents are rounded. In the bound of `theory/rate_distortion.py` they have noise instead. Training may take from
each what it is good for: rounded latents say how probable they are, and teach the prior how wide they are, because with
noise, latents far narrower than a step would seem to cost a share of a bit each; all else learns from latents with
noise, as rounding has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.nn.backbones.hyperprior import FactorizedPrior, Hyperprior
from morphogen.theory.discretized import widened
from morphogen.theory.rate_distortion import log_mass_of_cell, log_mass_of_mixture


class LatentDensity(nn.Module):
    """log P of latents, with hyper-latents where there are networks for them; the prior is that of what comes first."""

    def __init__(self, prior: FactorizedPrior, nets: Hyperprior | None) -> None:
        super().__init__()
        self.prior, self.nets = prior, nets

    def forward(
        self, y: Tensor, log_step: Tensor, noise: Tensor, noise_of_z: Tensor | None, c: Tensor, relaxed: bool
    ) -> tuple[Tensor, Tensor]:
        """log of the mass of all cells, (B,), and the latents (B, M, h, w) that a decoder has.

        y, noise    (B, M, h, w), and steps (B, M); the noise is uniform on (-1/2, 1/2)
        noise_of_z  of the hyper-latents, if there are any
        relaxed     the decoder's latents are those with noise, as in the bound; else they are rounded
        """
        if self.nets is None or noise_of_z is None:
            return self._factorized(y, log_step, noise, relaxed)
        z = widened(self.nets.hyper_latents(y, log_step.exp(), c))
        log_mass, given = self._factorized(z, torch.zeros_like(z[:, :, 0, 0]), noise_of_z, relaxed)
        of_y, seen = self._given(self.nets, y, given, log_step, noise, c, relaxed)
        return log_mass + of_y, seen

    def _factorized(self, y: Tensor, log_step: Tensor, noise: Tensor, relaxed: bool) -> tuple[Tensor, Tensor]:
        """log of the mass under the factorized prior, and what a decoder has."""
        w = log_step.exp()[:, :, None, None]
        noisy = y + w * noise
        if relaxed:
            return self._log_mass(noisy, log_step), noisy
        at = (y / w).detach()
        rounded = self._log_mass(w.detach() * at.round(), log_step.detach())
        return with_gradient_of(rounded, self._log_mass(noisy, log_step, fixed=True)), y + w * (at.round() - at)

    def _log_mass(self, y: Tensor, log_step: Tensor, fixed: bool = False) -> Tensor:
        """log of the mass of the cells around y (B, n, h, w), (B,); `fixed`: no gradient reaches the prior."""
        p = self.prior
        y, log_step = widened(y).permute(0, 2, 3, 1), widened(log_step)[:, None, None]
        logits, location, log_scale = (v.detach() if fixed else v for v in (p.logits, p.location, p.log_scale))
        return log_mass_of_mixture(y, logits, location, log_scale, log_step).flatten(1).sum(1)

    def _given(
        self, nets: Hyperprior, y: Tensor, z: Tensor, log_step: Tensor, noise: Tensor, c: Tensor, relaxed: bool
    ) -> tuple[Tensor, Tensor]:
        """The same of y given z, group by group."""
        step, h = log_step.exp(), nets.features(z, y.shape[-2:])
        log_mass, seen, typical = y.new_zeros(len(y)), list[Tensor](), nets.typical.log()[:, None, None]
        parts = (v.split(nets.sizes, 1) for v in (y, noise, step))
        for k, (part, u, w_of, common) in enumerate(zip(*parts, typical.split(nets.sizes), strict=True)):
            location, log_scale = nets.group(k, h, torch.cat(seen, 1) if seen else None, step, c)
            log_scale, w = (log_scale + common).clamp(-12.0, 8.0), w_of[:, :, None, None]
            noisy = part + w * u
            if relaxed:
                log_p = log_mass_of_cell(noisy, location, log_scale, w.log())
                seen.append(noisy)
            else:
                at = ((part - location) / w).detach()
                from_location, log_w = w.detach() * at.round(), w.detach().log()
                log_p = with_gradient_of(
                    log_mass_of_cell(from_location, torch.zeros_like(location), log_scale, log_w),
                    log_mass_of_cell(noisy, location, log_scale.detach(), w.log()),
                )
                seen.append(part + w * (at.round() - at))
            log_mass = log_mass + log_p.flatten(1).sum(1)
        return log_mass, torch.cat(seen, 1)


def with_gradient_of(value: Tensor, other: Tensor) -> Tensor:
    """`value`, with the gradient of `other` besides its own."""
    return value + (other - other.detach())
