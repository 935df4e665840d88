"""What models are used for: restoring pictures and editing them."""
