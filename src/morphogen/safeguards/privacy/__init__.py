"""Attacks on the privacy of training records, their controls, and lower bounds of epsilon."""
