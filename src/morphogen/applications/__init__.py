"""The uses of models: sampling, editing, restoring, latent paths, chains."""
