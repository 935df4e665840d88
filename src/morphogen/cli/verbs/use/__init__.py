"""Verbs that use a model: new records, and what becomes of a user's own."""
