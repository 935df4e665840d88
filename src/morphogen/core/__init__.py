"""The contract: data, families, capabilities, configuration, noise, errors. Imports nothing else of ours."""
