"""Families of generative models, one file each. They do no I/O and know of no files, devices or averaging."""
