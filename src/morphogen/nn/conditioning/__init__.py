"""Conditions, times and words as networks read them."""
