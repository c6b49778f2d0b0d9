"""Tables, laws and vocabularies: what stands for a language model where exactness is proved."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refspec
from refspec.decoding.chance import race_of
from refspec.decoding.lm import Tokens, distribution, first_fault, require_same_vocabulary
from refspec.errors import BadArgument, BadProbabilities, VocabularyMismatch

contexts = st.lists(st.integers(0, 1), max_size=4).map(tuple)


@given(st.sets(contexts, max_size=8), st.lists(st.integers(0, 1), max_size=6).map(tuple))
def test_a_table_answers_with_the_longest_suffix_it_holds(held: set[Tokens], text: Tokens) -> None:
    """Each row has a number of its own, by which it is known again."""
    keys = sorted({(), *held})
    table = refspec.TableLM({key: [Fraction(i, 99), Fraction(99 - i, 99)] for i, key in enumerate(keys)})
    found = table.probs(text, last=len(text) + 1)
    for end in range(len(text) + 1):
        longest = next(text[start:end] for start in range(end + 1) if text[start:end] in keys)
        assert found[end][0] == Fraction(keys.index(longest), 99)
    assert table.probs(text, last=1).tolist() == found[-1:].tolist()


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(BadArgument, match=r"^the table has no row for the empty context \(\); add the row"):
        refspec.TableLM({(0,): [1, 0]})
    with pytest.raises(BadProbabilities, match=r"^the row of context \(1,\) has 3 entries where that of \(\) has 2"):
        refspec.TableLM({(): [1, 0], (1,): [1, 0, 0]})
    for last in (0, 4):
        with pytest.raises(BadArgument, match=f"^last is {last} for 2 tokens; it is between 1 and 3$"):
            refspec.TableLM({(): [1, 0]}).probs((0, 1), last=last)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ([1, 0], Fraction),
        ([Fraction(1, 3), Fraction(2, 3)], Fraction),
        ([np.int8(1), Fraction(0)], Fraction),
        (np.array([0, 1]), Fraction),
        ([0.25, 0.75], float),
        ([1, 0.0], float),
        ([Fraction(1, 2), 0.5], float),
        (np.array([0.5, 0.5], np.float32), float),
    ],
)
def test_a_row_is_exact_unless_a_float_is_in_it(row: Any, kind: type) -> None:
    found = distribution(row)
    assert found.dtype == (object if kind is Fraction else np.float64)
    assert all(type(each) is kind for each in found.tolist())
    assert found.tolist() == [kind(each) if kind is float else Fraction(each) for each in np.array(row, object).tolist()]


@given(st.lists(st.sampled_from(["law", "short", "negative", "nan"]), min_size=1, max_size=4))
def test_the_first_row_that_is_no_law_is_told(kinds: list[str]) -> None:
    rows = {"law": [1.0, 0.0, 0.0], "short": [0.5, 0.25, 0.0], "negative": [0.0, 1.5, -0.5], "nan": [0.0, np.nan, 1.0]}
    says = {"short": "sums to 0.75", "negative": "gives token 2 the probability -0.5", "nan": "gives token 1 the probability nan"}
    fault = first_fault(np.array([rows[kind] for kind in kinds]))
    wrong = [i for i, kind in enumerate(kinds) if kind != "law"]
    if not wrong:
        assert fault is None
    else:
        assert fault is not None
        assert fault[0] == wrong[0]
        assert fault[1].startswith(says[kinds[wrong[0]]])


class Named:
    def __init__(self, size: int, token_map: dict[str, int] | None = None) -> None:
        self.vocab_size = size
        if token_map is not None:
            self.token_map = token_map

    def probs(self, tokens: Tokens, last: int = 1) -> np.ndarray:
        raise NotImplementedError


def test_maps_are_compared_where_both_have_one_and_sizes_always() -> None:
    """N12."""
    ours, theirs, fewer = {"a": 0, "b": 1}, {"a": 0, "c": 1}, {"a": 0}
    for one, other in product((None, ours), repeat=2):
        require_same_vocabulary(Named(2, one), Named(2, other))
    for one, other in ((None, theirs), (ours, None), (None, None), (ours, ours)):
        with pytest.raises(
            VocabularyMismatch, match=r"^the target has 2 tokens and the draft 3; .*: choose a draft with the target's"
        ):
            require_same_vocabulary(Named(2, one), Named(3, other))
    with pytest.raises(VocabularyMismatch, match="map 2 tokens differently, for instance 'b' to 1 and None; "):
        require_same_vocabulary(Named(2, ours), Named(2, theirs))
    with pytest.raises(VocabularyMismatch, match="map 1 tokens differently, for instance 'b' to 1 and None; "):
        require_same_vocabulary(Named(2, ours), Named(2, fewer))


def test_fractions_race_as_their_floats_do() -> None:
    clocks = np.array([0.3, 0.1, 0.2])
    for weights in ([1, 1, 1], [3, 1, 0], [0, 1, 3], [6, 1, 2]):
        exact = np.array([Fraction(weight, 7) for weight in weights])
        assert (
            race_of(clocks, exact)
            == race_of(clocks, exact.astype(np.float64))
            == int(min(range(3), key=lambda z: clocks[z] / weights[z] if weights[z] else np.inf))
        )
