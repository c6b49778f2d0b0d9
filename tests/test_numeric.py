"""Numbers of the wrong kind: each option says so in one line, wherever it is given. NumPy's numbers are numbers."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import refspec
from refspec.errors import BadArgument

TABLE = refspec.TableLM({(): [0.5, 0.5]})
EXACT = refspec.TableLM({(): [Fraction(1, 2), Fraction(1, 2)]})

NO_NUMBER = st.one_of(
    st.text(), st.binary(), st.booleans(), st.lists(st.integers()), st.just(1j), st.just({}), st.just(np.array([1])), st.just(len)
)
NONE = st.none()
NO_WHOLE = st.floats() | st.fractions() | st.just(np.float64(1)) | st.integers(max_value=-1)


@cache
def tiny() -> refspec.Model:
    return refspec.load("tiny-target")


def generated(**options: Any) -> object:
    return refspec.generate(tiny(), (5,), **{"max_new_tokens": 1, **options})


def decoded(**options: Any) -> object:
    asked = {"gamma": 1, "max_new_tokens": 2, "chance": refspec.Seeded(0), **options}
    return refspec.speculative(TABLE, TABLE, (0,), **asked)


def plain(**options: Any) -> object:
    return refspec.autoregressive(TABLE, (0,), **{"chance": refspec.Seeded(0), "max_new_tokens": 1, **options})


def enumerated(**options: Any) -> object:
    return refspec.sequence_law(EXACT, EXACT, **{"gamma": 1, "max_new_tokens": 2, **options})


DOORS: dict[str, tuple[list[Callable[..., object]], st.SearchStrategy[Any], Any]] = {
    "seed": ([generated, refspec.Seeded], NO_NUMBER | NO_WHOLE | NONE, 3),
    "gamma": ([generated, decoded, enumerated], NO_NUMBER.filter(lambda given: given != "auto") | NO_WHOLE | NONE, 2),
    "max_new_tokens": ([generated, decoded, plain, enumerated], NO_NUMBER | NO_WHOLE | NONE, 2),
    "top_k": ([generated, refspec.Sampling], NO_NUMBER | NO_WHOLE | st.just(0), 2),
    "temperature": ([generated, refspec.Sampling], NO_NUMBER | NONE | st.sampled_from([-1, float("nan"), float("inf")]), 1),
    "top_p": ([generated, refspec.Sampling], NO_NUMBER | st.sampled_from([0, -0.5, 1.5, float("nan")]), 1),
    "min_p": ([generated, refspec.Sampling], NO_NUMBER | st.sampled_from([-0.5, 1.5, float("nan")]), 1),
    "stop": (
        [generated, decoded, plain, enumerated],
        st.integers()
        | st.booleans()
        | st.floats()
        | st.binary(min_size=1)
        | st.lists(NO_NUMBER | st.floats() | NONE, min_size=1),
        [1],
    ),
    "confidence": ([lambda **given: refspec.ModelDrafter(TABLE, **given)], NO_NUMBER | NONE | st.just(1.5), 1),
    "longest": ([refspec.NgramDrafter], NO_NUMBER | NO_WHOLE | NONE, 3),
    "factor": ([refspec.verify.inexact_lenience], NO_NUMBER | NONE | st.sampled_from([0, 2]), 1),
    "epsilon": ([refspec.verify.inexact_typical], NO_NUMBER | NONE | st.sampled_from([-1, 2]), 1),
}


@pytest.mark.parametrize("name", DOORS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=40)
def test_a_wrong_kind_is_one_line_that_names_the_option(name: str, data: st.DataObject) -> None:
    doors, wrong, _ = DOORS[name]
    given, door = data.draw(wrong), data.draw(st.sampled_from(doors))
    if name == "stop" and door is generated and isinstance(given, list):
        given = [each for each in given if not isinstance(each, str)] or [None]  # a text is no mistake there
    with pytest.raises(BadArgument) as error:
        door(**{name: given})
    said = str(error.value)
    assert said.startswith(f"{name} is ")
    assert len(said) < 300
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", DOORS)
def test_numpys_numbers_are_numbers(name: str) -> None:
    doors, _, right = DOORS[name]
    for door in doors:
        for given in (right, np.array(right)[()], np.asarray(right, np.int32)[()]):
            assert repr(door(**{name: given}).__class__) == repr(door(**{name: right}).__class__)


def test_stops_may_be_any_collection_of_ids_or_come_but_once() -> None:
    whole = refspec.generate(tiny(), (5,), max_new_tokens=9, stop=())
    stop = whole.tokens[4]
    until = whole.tokens[: whole.tokens.index(stop) + 1]
    for given in ([stop], (stop,), {stop}, np.array([stop]), iter([stop]), (each for each in [999, stop])):
        assert refspec.generate(tiny(), (5,), max_new_tokens=9, stop=given).tokens == until
    for given in ([0], np.array([0]), iter([0])):
        assert refspec.autoregressive(TABLE, (0,), max_new_tokens=9, stop=given, chance=refspec.Tape([0.6, 0.6, 0.1])) == (
            1,
            1,
            0,
        )


@pytest.mark.parametrize("prompt", [b"ab", bytearray(b"ab"), {0: 1}, [True], 3, [0.0], None, [[0]], np.array([0.0])])
def test_a_prompt_of_the_wrong_kind_is_refused(prompt: Any) -> None:
    for door in (refspec.generate, refspec.stream):
        with pytest.raises(BadArgument, match=r"the prompt is .* neither a text nor a sequence of whole-number ids"):
            door(TABLE, prompt)
