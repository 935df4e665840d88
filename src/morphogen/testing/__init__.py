"""Checks that every family has to pass."""
