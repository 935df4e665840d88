"""Networks with a distribution as their output."""
