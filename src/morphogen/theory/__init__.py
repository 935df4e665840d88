"""Pure functions and closed forms, without parameters: likelihoods, bounds, divergences, oracles, baselines."""
