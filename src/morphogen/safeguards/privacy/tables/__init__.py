"""Attacks on the rows of a table by synthetic rows alone."""
