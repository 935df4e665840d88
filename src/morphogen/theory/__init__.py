"""Pure functions and closed forms, without trainable parameters: likelihoods, bounds, divergences, baselines."""
