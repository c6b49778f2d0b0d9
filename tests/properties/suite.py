"""The suite: the properties of a rule in its loop, and those of the parts around it."""

from properties import Property
from properties.acceptance import (
    a_draft_by_the_target_itself_is_accepted,
    accepted_counts_have_their_closed_form,
    block_accepts_no_less_than_token,
    one_draft_is_accepted_at_its_rate,
)
from properties.caches import (
    a_cached_draft_does_not_decay,
    a_cached_run_is_the_uncached_run,
    rows_after_any_history_are_a_fresh_prefills,
)
from properties.draws import (
    a_question_costs_one_uniform,
    a_run_ends_where_it_should,
    accept_has_its_share_of_the_uniforms,
    an_empty_draft_is_plain_decoding,
    coupled_text_is_the_seeds,
    no_row_of_floats_is_too_sharp,
    pick_has_its_share_of_the_uniforms,
    tokens_of_other_names_are_refused,
)
from properties.laws import (
    gamma_leaves_the_law_alone,
    plain_decoding_multiplies_the_rows,
    sequences_have_the_targets_law,
    whole_runs_have_the_targets_law,
)
from properties.warps import filters_keep_what_they_say, warps_apply_in_order

# The law first, so that a mutant is reported by how far off it is; whole runs before all, since they bear any length.
LAW: tuple[Property, ...] = (
    whole_runs_have_the_targets_law,
    a_run_ends_where_it_should,
    sequences_have_the_targets_law,
    gamma_leaves_the_law_alone,
)
RULE: tuple[Property, ...] = (
    *LAW,
    accepted_counts_have_their_closed_form,
    one_draft_is_accepted_at_its_rate,
    block_accepts_no_less_than_token,
    a_draft_by_the_target_itself_is_accepted,
    a_question_costs_one_uniform,
    an_empty_draft_is_plain_decoding,
    coupled_text_is_the_seeds,
    no_row_of_floats_is_too_sharp,
    tokens_of_other_names_are_refused,
)
PARTS: tuple[Property, ...] = (
    plain_decoding_multiplies_the_rows,
    accept_has_its_share_of_the_uniforms,
    pick_has_its_share_of_the_uniforms,
    filters_keep_what_they_say,
    warps_apply_in_order,
    a_cached_draft_does_not_decay,
    rows_after_any_history_are_a_fresh_prefills,
    a_cached_run_is_the_uncached_run,
)


SUITE = RULE + PARTS
