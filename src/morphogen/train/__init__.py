"""Training: one trainer for every family."""

from morphogen.train.interrupt import Interrupted
from morphogen.train.log import Event
from morphogen.train.recipe import Recipe, seconds
from morphogen.train.run import fit

__all__ = ["Event", "Interrupted", "Recipe", "fit", "seconds"]
