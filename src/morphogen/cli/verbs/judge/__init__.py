"""Verbs that judge models, samples and families."""
