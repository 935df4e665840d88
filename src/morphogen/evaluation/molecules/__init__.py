"""Judge drawn molecules: MOSES's measures and the Frechet ChemNet distance, each beside a floor and baselines."""
