"""Many texts at once: each has its own law, all have the product, and in row-invariant mode each has its own bits."""

import itertools
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from folders import GPT2, LLAMA, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.batch import MUTANTS, BatchSubject

import refspec
from refspec.decoding import batch, verify
from refspec.decoding.draft.company import Company
from refspec.decoding.lm import Tokens
from refspec.decoding.loop import steps
from refspec.decoding.question import Question, answered
from refspec.errors import BrokenDrafter, RefspecError
from refspec.models.sampling import Sampling
from refspec.proof.exact import ExactChance, law
from refspec.transformer.packed import NewTokens

RIGHT = BatchSubject()


@dataclass(frozen=True)
class Text:
    """One text of a batch. drafter: makes its own."""

    target: refspec.LanguageModel
    drafter: Callable[[], refspec.Drafter]
    prompt: Tokens
    gamma: int
    most: int
    stop: Tokens = ()
    rule: verify.Rule = verify.token


def run(texts: Sequence[Text], chances: Sequence[Any], max_batch: int, subject: BatchSubject = RIGHT) -> tuple[Tokens, ...]:
    chances = subject.chances(chances)
    rules = subject.rule(texts[0].rule, len(texts))
    talks = [
        steps(
            text.target,
            text.drafter(),
            text.prompt,
            gamma=text.gamma,
            max_new_tokens=text.most,
            stop=text.stop,
            chance=chance,
            verify=rule,
        )
        for text, chance, rule in zip(texts, chances, rules, strict=True)
    ]
    found: list[Tokens] = [()] * len(texts)
    for number, came in subject.together(talks, max_batch):
        if isinstance(came, RefspecError):
            raise came
        if came is not None:
            found[number] += came.tokens
    return tuple(found)


# --- the law ---


def joint_law(texts: Sequence[Text], max_batch: int, subject: BatchSubject = RIGHT) -> dict[tuple[Tokens, ...], Fraction]:
    """Of all texts together, each with a chance of its own, along every branch of all."""
    return law(
        lambda chances: run(texts, chances, max_batch, subject),  # type: ignore[arg-type]
        chance=lambda branch: [ExactChance(branch) for _ in texts],  # type: ignore[arg-type, return-value]
    )


def product_of_plain_laws(texts: Sequence[Text]) -> dict[tuple[Tokens, ...], Fraction]:
    plain = [
        law(
            lambda chance, text=text: refspec.autoregressive(
                text.target, text.prompt, max_new_tokens=text.most, stop=text.stop, chance=chance
            )
        )
        for text in texts
    ]
    product: dict[tuple[Tokens, ...], Fraction] = {}
    for each in itertools.product(*(found.items() for found in plain)):
        weight = Fraction(1)
        for _, share in each:
            weight *= share
        product[tuple(tokens for tokens, _ in each)] = weight
    return product


def table(seed: int) -> models.Table:
    """Over two tokens, with a row for every context of up to two."""
    random = np.random.default_rng(seed)
    contexts = [context for n in range(3) for context in itertools.product(range(2), repeat=n)]
    return models.Table(
        {context: [Fraction(k, 6), Fraction(6 - k, 6)] for context in contexts if (k := int(random.integers(1, 6)))}
    )


TARGET, DRAFT = table(1), table(2)
DRAFTERS: dict[str, Callable[[], refspec.Drafter]] = {
    "model": lambda: refspec.ModelDrafter(DRAFT),
    "unlikely ends it": lambda: refspec.ModelDrafter(DRAFT, Fraction(1, 2)),
    "adversary": lambda: models.Adversary(DRAFT),
    "ngram": refspec.NgramDrafter,
    "coupled": lambda: refspec.CoupledDrafter(DRAFT),
}
PAIRS = [pair for pair in itertools.product(verify.EXACT, DRAFTERS) if pair != ("block", "coupled")]


def of_lengths(rule: str, drafter: str, *lengths: int, gamma: int = 2, stop: Tokens = ()) -> list[Text]:
    """Texts of different prompts and lengths, the first with room for a whole draft."""
    prompts = ((0, 1, 0), (1,), (0, 0))
    return [
        Text(TARGET, DRAFTERS[drafter], prompt, gamma, most, stop, verify.RULES[rule])
        for prompt, most in zip(prompts, lengths, strict=False)
    ]


@pytest.mark.parametrize(("rule", "drafter"), PAIRS)
@pytest.mark.parametrize(
    ("lengths", "max_batch", "stop"),
    [((4, 1), 2, ()), ((2, 3), 2, (0,)), ((1, 3, 1), 2, ())],
    ids=["one ends early", "stops end them", "a third joins"],
)
def test_the_joint_law_is_the_product_of_the_plain_ones(
    rule: str, drafter: str, lengths: tuple[int, ...], max_batch: int, stop: Tokens
) -> None:
    texts = of_lengths(rule, drafter, *lengths, stop=stop)
    assert joint_law(texts, max_batch) == product_of_plain_laws(texts)


class Noted:
    """A drafter that writes down how many tokens it was asked for."""

    def __init__(self, drafter: refspec.Drafter, asked: list[int]) -> None:
        self._drafter, self._asked, self.races = drafter, asked, getattr(drafter, "races", False)

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> refspec.Draft:
        self._asked.append(gamma)
        return self._drafter.propose(tokens, gamma, chance)


def bets_of(company: Company, drafter: str, asked: list[int], profile: refspec.Profile) -> refspec.Drafter:
    """One that soon changes its mind."""
    bet = refspec.AdaptiveDrafter(Noted(DRAFTERS[drafter](), asked), profile)
    bet.WEIGHT = 0.5
    bet.join(company)
    return bet


@pytest.mark.parametrize("drafter", ["model", "coupled", "unlikely ends it", "ngram"])
def test_bets_that_know_of_each_other_leave_the_joint_law_alone(drafter: str) -> None:
    """What one text drafts turns on how many rows the other asks for, and both laws stay what they are."""
    profile, asked = refspec.Profile(verify=(1, 1.5, 1.6, 2.2, 2.3), draft=0), set()

    def together(chances: Any) -> tuple[Tokens, ...]:
        company, gammas = Company(1.0), [[], []]
        texts = [
            Text(TARGET, lambda i=i: bets_of(company, drafter, gammas[i], profile), prompt, 2, most)
            for i, (prompt, most) in enumerate((((0, 1, 0), 3), ((1,), 3)))
        ]
        found = run(texts, chances, 2)
        asked.add(tuple(map(tuple, gammas)))
        return found

    found = law(together, chance=lambda branch: [ExactChance(branch) for _ in range(2)])  # type: ignore[arg-type, return-value]
    assert found == product_of_plain_laws(of_lengths("token", drafter, 3, 3))
    assert len({gammas[0] for gammas in asked}) > 2  # they did bet, and not always alike


def test_a_row_costs_what_it_adds_to_the_rows_of_all() -> None:
    """Two rows cost hardly more than one, and a third twice as much: alone it pays to draft, beside another it does not."""
    profile, sure = refspec.Profile(verify=(1, 1.1, 3, 3.1), draft=0), (0, 1) * 6
    alone, beside = Company(), Company()
    other = beside.join()
    asked: dict[str, list[int]] = {"alone": [], "beside": []}
    drafters = {name: bets_of(company, "ngram", asked[name], profile) for name, company in (("alone", alone), ("beside", beside))}
    for drafter in drafters.values():
        drafter.propose(sure, 1, refspec.Tape([]))
    assert asked == {"alone": [1], "beside": [0]}
    beside.leave(other)
    drafters["beside"].propose((*sure, 0), 1, refspec.Tape([]))
    assert asked["beside"] == [0, 1]


# --- the bits ---


@lru_cache
def network(family: str, seed: int) -> refspec.Model:
    """Small, random, row-invariant."""
    config = {"gpt2": GPT2, "llama": LLAMA}[family] | {"vocab_size": 40, "eos_token_id": None, "bos_token_id": None}
    with tempfile.TemporaryDirectory() as folder:
        return refspec.load(write_folder(Path(folder), config, seed=seed, tokenizer=False), row_invariant=True)


prompts = st.lists(st.integers(0, 3), min_size=1, max_size=20).map(tuple)
asked = st.tuples(prompts, st.integers(0, 9), st.integers(0, 4), st.integers(0, 9))  # prompt, new tokens, gamma, seed


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@given(
    asked=st.lists(asked, min_size=2, max_size=5),
    max_batch=st.integers(1, 6),
    drafter=st.sampled_from(["model", "ngram", "coupled"]),
    sampling=st.sampled_from([Sampling(0), Sampling(1.5), Sampling(0.8, top_p=0.9)]),
)
@settings(max_examples=8)
def test_each_text_has_the_bits_that_it_has_alone(
    family: str, asked: list[Any], max_batch: int, drafter: str, sampling: Sampling
) -> None:
    """Whatever joins, in whatever order, and however many tokens each accepts: the tokens, and every row that was looked at."""
    target, draft = network(family, 0), network(family, 1)

    def talk(prompt: Tokens, most: int, gamma: int, seed: int) -> Any:
        makes = {"model": refspec.ModelDrafter, "coupled": refspec.CoupledDrafter}
        drafting = makes[drafter](draft.language_model(sampling)) if drafter in makes else refspec.NgramDrafter()
        chance = refspec.Seeded(seed)
        return steps(
            target.language_model(sampling), drafting, prompt, gamma=gamma, max_new_tokens=most, chance=chance, record=True
        )

    def seen(rounds: list[refspec.Round]) -> list[Any]:
        return [(each.tokens, each.record.target_probs.tobytes()) for each in rounds if each.record]

    together: list[list[refspec.Round]] = [[] for _ in asked]
    for number, came in batch.together((talk(*each) for each in asked), max_batch):
        if came is not None:
            assert isinstance(came, refspec.Round)
            together[number].append(came)
    for each, rounds in zip(asked, together, strict=True):
        alone = [found for _, found in batch.together([talk(*each)], 1) if isinstance(found, refspec.Round)]
        at_once = list(answered(talk(*each)))
        assert seen(rounds) == seen(alone) == seen(at_once)


def test_no_memory_is_taken_for_texts_times_the_longest() -> None:
    """A long text beside many short ones costs what it costs alone, and a little for each of the others."""
    model = network("llama", 0)

    def peak(*lengths: int) -> int:
        texts = [NewTokens(np.zeros(n, int), model.network.new_cache()) for n in lengths]
        tracemalloc.start()
        model.network.forward_packed(texts)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(200, *[2] * 15) < 1.4 * peak(200)  # padded, it would be sixteen times
    lms = [model.language_model() for _ in range(2)]
    lms[0].together([(lms[0], (1,) * 250, 1), (lms[1], (1,), 1)])
    lms[0].together([(lms[0], (1,) * 256, 1), (lms[1], (1, 2), 1)])
    assert [lm.cache.length for lm in lms] == [256, 2]


# --- what the driver does ---


class Told:
    """A model that can share its passes, and writes down which questions came in one."""

    vocab_size = 2

    def __init__(self, name: str, passes: list[list[str]], rows: int = 1) -> None:
        self.name, self.network, self.passes, self.rows = name, passes, passes, rows

    def probs(self, tokens: Tokens, last: int = 1) -> Any:
        return np.full((last, 2), 0.5)

    def new_rows(self, tokens: Tokens, last: int) -> int:
        return max(last, self.rows)

    def together(self, asked: Any) -> list[Any]:
        self.passes.append([model.name for model, _, _ in asked])
        return [model.probs(tokens, last) for model, tokens, last in asked]


def talks(passes: list[list[str]], *lengths: int, rows: int = 1) -> list[Any]:
    return [
        steps(
            Told(f"{i}", passes, rows),
            refspec.ModelDrafter(Told(f"draft {i}", passes)),
            (),
            gamma=i,
            max_new_tokens=most,
            chance=refspec.Seeded(i),
        )
        for i, most in enumerate(lengths)
    ]


def test_drafts_come_first_and_the_target_waits_for_all() -> None:
    passes: list[list[str]] = []
    first = list(itertools.islice(batch.together(talks(passes, 9, 9, 9), 3), 3))
    assert passes == [["draft 1", "draft 2"], ["draft 2"], ["0", "1", "2"]]
    assert [came.pass_rows for _, came in first if isinstance(came, refspec.Round)] == [6, 6, 6]


def test_a_text_joins_as_soon_as_one_has_left() -> None:
    passes: list[list[str]] = []
    ended = [number for number, came in batch.together(talks(passes, 1, 2, 0, 1, 1), 2) if came is None]
    assert passes == [["draft 1"], ["0", "1"], ["3", "4"]]  # the third ends where it begins, and takes no place
    assert ended == [0, 1, 2, 3, 4]


def test_the_line_is_not_read_ahead() -> None:
    taken: list[int] = []

    def line() -> Any:
        for i, talk in enumerate(talks([], 3, 3, 3)):
            taken.append(i)
            yield talk

    next(iter(batch.together(line(), 2)))
    assert taken == [0, 1]


def test_a_pass_has_room_for_so_many_rows_and_the_others_come_next() -> None:
    passes: list[list[str]] = []
    list(batch.together(talks(passes, 1, 1, 1, rows=100), 3))
    assert passes == [["0", "1"], ["2"]]
    passes.clear()
    list(batch.together(talks(passes, 1, 1, rows=1000), 2))
    assert passes == [["0"], ["1"]]


def test_a_model_is_never_in_one_pass_twice() -> None:
    """Its cache is at one text at a time."""
    passes: list[list[str]] = []
    shared = Told("shared", passes)
    coming = [steps(shared, refspec.NgramDrafter(), (), gamma=0, max_new_tokens=1, chance=refspec.Seeded(i)) for i in range(2)]
    list(batch.together(coming, 2))
    assert passes == [["shared"], ["shared"]]


class Overriding(Told):
    """Says otherwise what it inherits: then the inherited pass is not for it."""

    def probs(self, tokens: Tokens, last: int = 1) -> Any:
        return np.array([[1.0, 0.0]] * last)


def test_a_model_that_answers_otherwise_is_asked_itself() -> None:
    passes: list[list[str]] = []
    model = Overriding("own", passes)
    (rows,) = batch.answers([Question(model, (0,))])
    assert (rows.tolist(), passes) == ([[1.0, 0.0]], [])  # type: ignore[union-attr]


class Breaks(refspec.NgramDrafter):
    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Chance) -> Any:
        return None if len(tokens) > 4 else super().propose(tokens, gamma, chance)


def test_what_is_wrong_with_one_text_ends_that_one() -> None:
    coin = refspec.TableLM({(): [0.5, 0.5]})
    asked = [
        steps(coin, drafter, (0,), gamma=0, max_new_tokens=8, chance=refspec.Seeded(0))
        for drafter in (refspec.NgramDrafter(), Breaks(), refspec.NgramDrafter())
    ]
    found = list(batch.together(asked, 3))
    (error,) = [came for number, came in found if number == 1][-1:]
    assert isinstance(error, BrokenDrafter)
    assert [sum(number == i and came is not None for number, came in found) for i in range(3)] == [8, 5, 8]


# --- the mutants ---


def tokens_of(subject: BatchSubject, family: str, drafter: str, max_batch: int) -> tuple[Tokens, ...]:
    """Texts of small networks, of different lengths, through this subject."""
    target, draft = network(family, 0), network(family, 1)
    makes: dict[str, Callable[[], Any]] = {
        "model": lambda: refspec.ModelDrafter(draft.language_model()),
        "ngram": refspec.NgramDrafter,
    }
    texts = [
        Text(subject.lm(target), makes[drafter], prompt, 3, most)
        for prompt, most in (((1, 2, 3, 1, 2), 9), ((7,), 4), ((5, 6) * 4, 14), ((9, 9), 11))
    ]
    return run(texts, [refspec.Seeded(i) for i in range(len(texts))], max_batch, subject)


def laws_differ(subject: BatchSubject) -> bool:
    texts = of_lengths("token", "model", 3, 2)
    return joint_law(texts, 2, subject) != product_of_plain_laws(texts)


def tokens_differ(subject: BatchSubject) -> bool:
    """From those of each text alone."""
    cases = list(itertools.product(("gpt2", "llama"), ("model", "ngram")))
    return any(tokens_of(subject, *case, max_batch=3) != tokens_of(RIGHT, *case, max_batch=1) for case in cases)


def test_the_right_parts_pass_what_finds_the_mutants() -> None:
    assert not laws_differ(RIGHT)
    assert not tokens_differ(RIGHT)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str) -> None:
    subject = MUTANTS[name].subject
    assert laws_differ(subject) or tokens_differ(subject), MUTANTS[name].what


@pytest.mark.parametrize("name", ["one-uniform-for-all", "cut-to-the-least", "bonus-of-another-row"])
def test_a_mutant_of_the_law_is_found_by_the_law(name: str) -> None:
    assert laws_differ(MUTANTS[name].subject)
