"""Vectors to integers and back."""
