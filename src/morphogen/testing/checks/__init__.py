"""The checks, by the sentence that each of them asserts; a file holds the checks of one kind."""

from collections.abc import Callable, Mapping

from morphogen.testing.checks.building import check_players_cover_parameters, check_spec_round_trips
from morphogen.testing.checks.conditions import check_conditions_are_obeyed, check_no_condition_is_all_null
from morphogen.testing.checks.declarations import check_capabilities_are_truthful, check_scores_are_true
from morphogen.testing.checks.isolation import check_global_state_stays, check_no_files_no_network
from morphogen.testing.checks.sampling import (
    check_artifact_keeps_samples,
    check_given_cells_stay,
    check_samples_are_in_range,
    check_samples_beat_a_gaussian,
    check_samples_have_addresses,
    check_seen_places_stay,
)
from morphogen.testing.checks.training import check_gradients_reach_parameters, check_resume_is_exact
from morphogen.testing.subject import Subject

CHECKS: Mapping[str, Callable[[Subject], str | None]] = {
    "the Spec round-trips and names the nearest option": check_spec_round_trips,
    "players cover every trainable parameter once": check_players_cover_parameters,
    "gradients are finite and reach every parameter": check_gradients_reach_parameters,
    "samples beat the best single Gaussian": check_samples_beat_a_gaussian,
    "completed rows follow what is given": check_given_cells_stay,
    "seen places stay where hidden ones are drawn": check_seen_places_stay,
    "resumed training equals uninterrupted training": check_resume_is_exact,
    "save and load keep the samples": check_artifact_keeps_samples,
    "sample i does not depend on the batch size": check_samples_have_addresses,
    "samples lie in the data's range": check_samples_are_in_range,
    "conditions are obeyed": check_conditions_are_obeyed,
    "no condition equals an all-null one": check_no_condition_is_all_null,
    "scores are per record and tell data from noise": check_scores_are_true,
    "declared capabilities are truthful": check_capabilities_are_truthful,
    "no global random state is used or moved": check_global_state_stays,
    "no file and no network is touched": check_no_files_no_network,
}
