"""Complete networks between records, latents and noise."""
