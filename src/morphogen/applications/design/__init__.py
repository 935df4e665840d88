"""Molecules with wanted properties: wants, a counted oracle, search in latents, and tuning towards a score."""
