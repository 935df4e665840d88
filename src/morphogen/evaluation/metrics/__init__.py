"""Measures of a model: of its likelihood and of the records that it makes."""
