"""Compression: archives of records, coded by what a model knows of them, or plainly."""
