"""Judge synthetic tables: fidelity, utility and privacy, each number with its interval, floor and baselines."""
