"""Networks that give distributions."""
