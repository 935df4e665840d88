"""Measuring models: every number with its interval, n, seed, protocol and trivial baselines."""

from morphogen.evaluate.likelihood import METRICS, evaluate
from morphogen.evaluate.result import Result

__all__ = ["METRICS", "Result", "evaluate"]
