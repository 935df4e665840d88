"""Turn conditions, times and words into inputs of networks."""
