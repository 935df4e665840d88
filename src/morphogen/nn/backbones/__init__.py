"""Whole networks between records, latents and noise."""
