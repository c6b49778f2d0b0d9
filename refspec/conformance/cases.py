"""The checks, each with its cases: tables of three tokens, small enough for every branch, the smallest first.

Rows are multiples of 1/8 and so exact in float64; "143" is [1/8, 4/8, 3/8]. Every prompt has a token, since transformers
need one. What a check says is written out in SPEC.md under its rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refspec.conformance.adapter import Case
from refspec.decoding.lm import TableLM, Tokens
from refspec.models.sampling import Sampling


@dataclass(frozen=True)
class Check:
    """id: never reused. rules: those of SPEC.md that it covers. judge: what is asked of the observed law; `judges.py` has them.

    >>> from refspec.conformance.cases import CHECKS
    >>> CHECKS["support"].rules
    ('R3',)
    """

    id: str
    what: str
    rules: tuple[str, ...]
    cases: tuple[Case, ...]
    judge: str = "law"


def table(rows: Mapping[Tokens, str]) -> TableLM:
    """
    >>> from refspec.conformance.cases import table
    >>> table({(): "143"}).probs(())[0].tolist()
    [0.125, 0.5, 0.375]
    """
    return TableLM({context: [int(eighths) / 8 for eighths in row] for context, row in rows.items()})


_TARGET = table({(): "143", (0,): "521", (1,): "224"})
_DRAFT = table({(): "422", (0,): "251", (2,): "116"})
# no two probabilities are equal at a cut, and no cut is near its boundary: what a filter does there is left open
_DISTINCT = table({(): "143", (0,): "521", (1,): "215"})
_DISTINCT_DRAFT = table({(): "431", (0,): "251", (2,): "125"})
# rows that a padding token before the prompt would change
_LOOKS_BACK = table({(): "143", (0,): "521", (0, 2): "305", (1, 2): "260", (2, 2): "512", (0, 1, 2): "107", (2, 1, 2): "701"})
_ONE_ULP = float(np.nextafter(0.5, 0))
_WIDE = table({(): "1421", (0,): "4211", (1,): "2231"})


def _case(name: str, target: TableLM = _TARGET, draft: TableLM = _DRAFT, gamma: int = 2, n: int = 3, **options: object) -> Case:
    return Case(name, target, draft, gamma, n, **({"prompt": (2,)} | options))  # type: ignore[arg-type]


_ALL = (
    Check("one-round-law", "one round has the target's law", ("R1", "R4"), (_case("one draft", gamma=1, n=2),)),
    Check(
        "multi-round-law",
        "texts of several rounds have the target's law",
        ("R1", "R4"),
        (
            _case("two drafts"),
            _case("after a prompt", prompt=(1, 0)),
            _case(
                "three drafts",
                gamma=3,
                n=4,
                target=table({(): "26", (0,): "35"}),
                draft=table({(): "62", (1,): "17"}),
                prompt=(1,),
            ),
            _case(
                "rows by two tokens",
                target=table({(): "143", (0, 0): "701", (1, 0): "071", (0, 1): "206", (2, 1): "620"}),
                draft=table({(): "422", (0, 0): "161", (1,): "116"}),
                prompt=(0, 1),
            ),
            # where block verification that goes on from p - q, and not from p_1 * p - q, is furthest off
            _case("a likely second refusal", table({(): "242", (0,): "503"}), table({(): "512", (0,): "260"}), prompt=(1,)),
            _case("many rounds", table({(): "26", (0,): "35"}), table({(): "62", (1,): "17"}), n=6, prompt=(1,)),
        ),
    ),
    Check("uniform-boundaries", "what a uniform decides where it stands on a boundary", ("R2", "R4"), ()),  # vectors alone
    Check("draw-accounting", "every test and every pick takes one uniform, in one order", ("R11",), ()),
    Check(
        "support",
        "no token of probability 0, and no id outside the vocabulary, whatever the draft says",
        ("R3",),
        (
            _case("one draft", table({(): "044", (1,): "602"}), gamma=1, n=2),
            _case("two drafts", table({(): "044", (1,): "602"})),
            _case("only what is drafted is forbidden", table({(): "008"}), table({(): "440"})),
        ),
        judge="support",
    ),
    Check(
        "bonus-law",
        "a draft kept whole is followed by a token of the target's next row",
        ("R5",),
        (
            _case("equal rows", table({(): "143", (0,): "521", (1,): "206"}), table({(): "143", (0,): "521", (1,): "206"}), n=3),
            _case("a likely bonus", table({(): "080", (1,): "503"}), table({(): "080", (1,): "035"}), gamma=1, n=2),
        ),
    ),
    Check(
        "first-rejection",
        "nothing behind the first rejected token is kept",
        ("R6",),
        (_case("a likely draft behind", table({(): "143", (1,): "503"}), table({(): "152"})),),
    ),
    Check(
        "proposal-law",
        "q is the law that the draft was drawn from, warps included",
        ("R7", "R8"),
        (
            _case("temperature", target=_DISTINCT, sampling=Sampling(temperature=0.5), gamma=1, n=2),
            _case("top-k", _DISTINCT, _DISTINCT_DRAFT, sampling=Sampling(top_k=2), gamma=1, n=2),
            _case("top-p", _DISTINCT, _DISTINCT_DRAFT, sampling=Sampling(top_p=0.56), gamma=1, n=2),
            _case("min-p", _DISTINCT, _DISTINCT_DRAFT, sampling=Sampling(min_p=0.3), gamma=1, n=2),
            _case("temperature and two drafts", _DISTINCT, sampling=Sampling(temperature=0.5)),
            _case(
                "top-k then top-p",
                table({(): "4031", (0,): "2501"}),
                table({(): "1043", (2,): "4130"}),
                sampling=Sampling(top_k=2, top_p=0.67),
                gamma=1,
                n=2,
            ),
            _case("top-k keeps equals", table({(): "044", (1,): "323"}), sampling=Sampling(top_k=1), gamma=1, n=2),
        ),
    ),
    Check(
        "greedy",
        "at temperature 0 the text is the target's own greedy text",
        ("R9",),
        (
            _case("rows of one token", table({(): "080", (1,): "008"})),
            _case("temperature 0", sampling=Sampling(temperature=0.0)),
            _case("equal logits", table({(): "422", (0,): "044", (1,): "404"}), sampling=Sampling(temperature=0.0)),
        ),
    ),
    Check(
        "one-hot-drafts",
        "a draft that was not drawn is a point mass",
        ("R7",),
        (
            _case("one draft", draft=table({(): "800", (0,): "080"}), gamma=1, n=2),
            _case("two drafts", draft=table({(): "800", (0,): "080"})),
        ),
    ),
    Check(
        "acceptance",
        "of tokens drafted one a round, sum min(p, q) are kept: less is slow, not wrong",
        ("R10",),
        (_case("one row", table({(): "143"}), table({(): "422"}), gamma=1, n=3),),
        judge="acceptance",
    ),
    Check(
        "independence",
        "every draw is new: of the draft, of the tests, of the tokens after them",
        ("R11",),
        (
            _case("two alike", table({(): "44"}), table({(): "62"}), n=3, prompt=(1,)),
            _case("three alike", table({(): "233"}), table({(): "332"})),
        ),
    ),
    Check(
        "stop-token",
        "the first generated stop token ends the text, wherever in a round; one in the prompt does nothing",
        ("R12",),
        (
            _case("inside a block", stop=(1,), n=2, gamma=2),
            _case("over rounds", stop=(1,)),
            _case("in the prompt", stop=(1,), prompt=(1, 0)),
            _case("two of them", stop=(0, 2), prompt=(1,)),
        ),
    ),
    Check(
        "length",
        "never more tokens than were asked for",
        ("R13",),
        (
            _case("one token", n=1),
            _case("gamma beyond the length", table({(): "26", (0,): "35"}), table({(): "62"}), gamma=3, n=2, prompt=(1,)),
            _case("a round that would fill up", gamma=2, n=4, target=table({(): "35"}), draft=table({(): "53"}), prompt=(1,)),
        ),
        judge="length",
    ),
    Check(
        "processors",
        "logits processors see the whole text, the prompt too",
        ("R14",),
        (
            _case("of the prompt", repetition_penalty=2.0, prompt=(1,), gamma=1, n=2),
            _case("of prompt and text", repetition_penalty=2.0, prompt=(1, 0)),
        ),
    ),
    Check(
        "ragged-batch",
        "other rows of a batch, longer and shorter, change nothing",
        ("R15",),
        (
            _case("a longer row beside", _LOOKS_BACK, batch=((0, 2, 1),), gamma=1, n=2),
            _case("a shorter and a longer row", _LOOKS_BACK, batch=((1,), (0, 2, 1)), prompt=(1, 2)),
        ),
    ),
    Check(
        "vocabulary-padding",
        "ids that only pad the rows are never drawn, whatever their logits, and rows of two lengths subtract",
        ("R16",),
        (
            _case("padded target", _WIDE, _DRAFT, vocab_size=3, gamma=1, n=2),
            _case("both padded", _WIDE, table({(): "4112", (0,): "1511"}), vocab_size=3),
        ),
        judge="support",
    ),
    Check(
        "zero-residual",
        "p and q equal up to rounding: no error, no token of probability 0",
        ("R17",),
        (
            _case("one ulp below", TableLM({(): [_ONE_ULP, 0.5, 0.0]}), TableLM({(): [0.5, 0.5, 0.0]}), gamma=1, n=2),
            _case("one ulp below, of two drafts", TableLM({(): [0.0, _ONE_ULP, 0.5, 0.0]}), TableLM({(): [0.0, 0.5, 0.5, 0.0]})),
        ),
        judge="support",
    ),
    Check(
        "dead-draft",
        "the draft is used, in every round",
        ("R18",),
        (_case("nine certain tokens", table({(): "080", (1,): "008", (2,): "080"}), table({(): "080", (1,): "008"}), n=9),),
        judge="alive",
    ),
    Check("same-seed", "the same seed gives the same text, whatever was decoded before it", ("R19",), ()),  # seeds.py asks
)
CHECKS: Mapping[str, Check] = {each.id: each for each in _ALL}
