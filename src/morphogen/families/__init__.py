"""Families of generative models, one file each. Their code uses no files, devices or averaging of weights."""
