"""Verbs that show what a model does inside."""
