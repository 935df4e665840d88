"""Verbs that make models, and look at what they are made of."""
