"""Quantizers: vectors to integers and back."""
