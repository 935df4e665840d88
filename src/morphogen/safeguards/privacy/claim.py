"""The claim of a private training beside the lower bound that an attack gives: the claim can be refuted."""

from __future__ import annotations

from morphogen.core.privacy import PrivacyGuarantee
from morphogen.safeguards.privacy.canaries import Bound

DELTA = 1e-5  # of a bound where nothing is claimed


def violation(claim: PrivacyGuarantee | None, bound: Bound) -> str | None:
    """A sentence if the claim is refuted, else None. The bound holds at 95 %, for any mechanism."""
    if claim is None or bound.epsilon <= claim.epsilon:
        return None
    best = max(bound.guesses, key=lambda g: g.v / max(1, g.r))
    return (
        f"the claim of epsilon {claim.epsilon:.4g} at delta {claim.delta:g} is refuted: {best.v:,} of {best.r:,}"
        f" guesses about {best.m:,} planted canaries are right, which takes an epsilon above {bound.epsilon:.4g}"
        " (95 %). Look for noise or clipping that is left out, records that are read twice, and data that are used"
        " outside of the accounting."
    )
