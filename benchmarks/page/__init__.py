"""The results page and how its figures are described."""
