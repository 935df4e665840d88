"""What metrics compare: features of records by frozen networks."""
