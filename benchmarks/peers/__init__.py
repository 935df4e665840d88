"""What runs in the environments of the peers, and how these are made; most of it cannot import morphogen."""
