"""Training: one trainer for every family."""

from morphogen.trainer.fit import fit
from morphogen.trainer.interrupt import Interrupted
from morphogen.trainer.log import Event
from morphogen.trainer.recipe import Recipe

__all__ = ["Event", "Interrupted", "Recipe", "fit"]
