"""The checks that every family has to pass, ours or anybody's."""

from morphogen.testing.checks import CHECKS
from morphogen.testing.contract import Check, Checked, check_family
from morphogen.testing.parametrize import FamilyCheck, parametrize_with_checks

__all__ = ["CHECKS", "Check", "Checked", "FamilyCheck", "check_family", "parametrize_with_checks"]
