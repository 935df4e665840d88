"""What tests of several rooms share: names of checks, tiny data, tiny models."""

from __future__ import annotations

LONG_CHECKS = ("samples beat the best single Gaussian", "conditions are obeyed")  # they need a model trained for long
