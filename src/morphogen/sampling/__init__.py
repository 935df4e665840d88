"""Turn a denoiser into samples, edits and likelihoods: time grids, steppers, the loop, guidance, measurements."""
