r"""Better samples from a discriminator: sampling importance resampling.

A generator samples q, the data have the density p, and an optimal discriminator gives w = p / q up to a factor. Of K
candidates y_1, ..., y_K ~ q, take candidate k with probability w_k / (w_1 + ... + w_K) (Rubin, "Using the SIR algorithm
to simulate posterior distributions", 1988). The result has the density

    q_K(y) = q(y) E[ K w(y) / (w(y) + w(Y_2) + ... + w(Y_K)) ],   Y ~ q:

q_1 = q. As K grows, the mean of the weights tends to E_q[w], and so q_K tends to p wherever q has mass; a mode that q
lacks does not appear. For GANs: Azadi et al., "Discriminator rejection sampling", 2019, and Turner et al.,
"Metropolis-Hastings generative adversarial networks", 2019, which take an unknown number of candidates for each sample;
here it is K, so that a sample's candidates, like all noise, have addresses.

The choice itself is a race: with u uniform on (0, 1), argmax_k (log w_k - log(-log u_k)) is k with that probability
(Gumbel, 1954), so that candidates can come one after the other.
"""

from __future__ import annotations

from torch import Tensor


def gumbel_scores(log_weight: Tensor, u: Tensor) -> Tensor:
    """log w - log(-log u), element by element: the largest of several is that of candidate k with probability ~ w_k.

    u is uniform on (0, 1), independent for each candidate; weights may lack a common factor.
    """
    return log_weight - (-u.log()).log()
