"""Training: one trainer for every family."""

from morphogen.training.fit import fit
from morphogen.training.interrupt import Interrupted
from morphogen.training.log import Event
from morphogen.training.recipe import Recipe, seconds

__all__ = ["Event", "Interrupted", "Recipe", "fit", "seconds"]
