"""Intervals, shares, neighbors, principal components: statistics of samples, without parameters."""
