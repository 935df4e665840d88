"""Features of records by frozen networks. Metrics compare them."""
