"""Sources of data to `DataSpec`, records in memory, and addressable streams of batches."""

from morphogen.data.inspection import Inspection, inspect
from morphogen.data.load import load, sources
from morphogen.data.poisson_stream import PoissonStream
from morphogen.data.records import Dataset, Problem, Records
from morphogen.data.stream import Stream

__all__ = ["Dataset", "Inspection", "PoissonStream", "Problem", "Records", "Stream", "inspect", "load", "sources"]
