"""Molecules as texts (SMILES, SELFIES): standard forms, properties, files, structures."""
