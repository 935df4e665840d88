"""From a denoiser to samples, edits and likelihoods: grids, steppers, the one loop, guidance, measurements."""
