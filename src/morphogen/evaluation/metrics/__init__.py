"""Metrics of a model: of its likelihood and of its samples."""
