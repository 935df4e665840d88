"""morphogen."""
