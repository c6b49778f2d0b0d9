"""What an engine may do as it likes at a tie, or at a cut's boundary, no case asks, unless the engine has said what it does."""

from fractions import Fraction
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refspec.conformance.adapter import Case, Dialect, Skip
from refspec.conformance.cases import CHECKS, table
from refspec.conformance.checks import require
from refspec.conformance.expected import ORDER, gaps, row, tied
from refspec.conformance.own import Own
from refspec.conformance.replay import answer, conform, vectors
from refspec.models.sampling import Sampling

CASES = [case for check in CHECKS.values() for case in check.cases]
LEAST = Fraction(1, 50)  # several roundings of bfloat16, 2 ** -9 each


@pytest.mark.parametrize("case", [case for case in CASES if gaps(case)], ids=lambda case: case.name)
def test_no_case_has_a_tie_or_a_boundary_at_a_cut(case: Case) -> None:
    """In whatever order an engine warps, and of target and draft alike, since a replayed draft decides on tokens."""
    least = min(gap for order in permutations(ORDER) for gap in gaps(case, order).values())
    assert least >= LEAST or (case.name, *tied(case)) in {("top-k keeps equals", "top_k"), ("equal logits", "temperature")}


def test_ties_are_asked_about_only_where_the_engine_says_what_it_does() -> None:
    for case in CASES:
        asked = Dialect("", warps=(*ORDER, "repetition_penalty"), batched=True, padded=True, ties="open")
        if tied(case):
            with pytest.raises(Skip, match=r"leaves open|may drop"):
                require(case, asked)
        else:
            require(case, asked)


def test_vectors_of_ties_are_for_engines_that_take_the_lowest() -> None:
    highest = Own()
    object.__setattr__(highest.dialect, "ties", "highest")
    found = conform(highest, [CHECKS["greedy"]]).findings
    assert {each.status for each in found} == {"conforms", "skipped"}
    ours = {each for each, (check, vector) in vectors().items() if check == "greedy" and "equal logits" in vector["why"]}
    assert {each.case for each in found if each.status == "skipped"} >= ours
    assert answer(Own(), vectors()[min(ours)][1])


ROWS = [row for n in (3, 4) for row in product(range(9), repeat=n) if sum(row) == 8]


@given(st.sampled_from(ROWS), st.sampled_from((None, 1, 2)), st.sampled_from((None, 0.4375, 0.6)), st.sampled_from((0.3, 0.5)))
def test_a_gap_is_how_far_a_bound_may_move_before_it_cuts_otherwise(
    eighths: tuple[int, ...], top_k: int | None, top_p: float | None, min_p: float
) -> None:
    model = table({(): "".join(map(str, eighths))})
    options = {"top_k": top_k, "top_p": top_p, "min_p": min_p}

    def case(**moved: float) -> Case:
        return Case("", model, model, 1, 1, (0,), sampling=Sampling(**(options | moved)))  # type: ignore[arg-type]

    kept = [p > 0 for p in row(case(), model, (0,))]
    for name in {"top_p", "min_p"} & gaps(case()).keys():
        for way in (-0.99, 0.99):
            bound = options[name] + way * float(gaps(case())[name])  # type: ignore[operator]
            assert [p > 0 for p in row(case(**{name: min(max(bound, 1e-9), 1.0)}), model, (0,))] == kept
