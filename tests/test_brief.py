"""What a person sees of an object: one short line, for every class that refspec gives."""

import inspect
from collections.abc import Iterator

import numpy as np
import pytest

import refspec
from refspec.brief import LIMIT, PART, brief, by_fields, short
from refspec.decoding import round as rounds
from refspec.generate import stream

PROFILE = refspec.Profile.embedded(few_rows_are_cheap=True)
NO_INSTANCES = {"Chance", "Drafter", "LanguageModel"}  # protocols


def objects() -> Iterator[object]:
    target, draft = refspec.load("tiny-target"), refspec.load("tiny-draft")
    lm = draft.language_model(temperature=1 / 3, top_k=1000, top_p=1 / 3, min_p=1 / 7)
    drafter = refspec.ModelDrafter(lm, confidence=1 / 3)
    yield from (target, target.network, target.network.layers[0], target.config, target.tokenizer, lm, lm.cache, lm.sampling)
    yield from (drafter, refspec.CoupledDrafter(lm), refspec.NgramDrafter(), refspec.AdaptiveDrafter(drafter, PROFILE), PROFILE)
    yield from (refspec.Seeded(10**300), refspec.Tape([1 / 3] * 1000), refspec.RefspecError("what is wrong"))
    coin = refspec.TableLM({(i,): [0.5, 0.5] for i in range(100)} | {(): [0.25, 0.75]})
    yield coin
    run = stream(target, "ROMEO:", drafter=drafter, max_new_tokens=200, stop=(), record=True)
    yield run
    yield from list(run)[:1]
    out = run.output
    found = next(each for each in out.rounds if each.record and each.record.tested)
    assert found.record is not None
    yield from (run, out, out.stats, found, found.record, found.record.draft, found.record.verdict, found.record.tested[0])
    long = tuple(range(50_000, 51_000))
    yield from (refspec.Generation(long, out.rounds), refspec.Round(long, 1000, 7, found.record, cut=long))
    yield refspec.Draft(long, np.ones((1000, 3)), 5)


@pytest.fixture(scope="module", name="given")
def one_of_each() -> list[object]:
    return list(objects())


def test_each_is_one_short_line_that_names_its_class(given: list[object]) -> None:
    for each in given:
        shown = repr(each)
        assert len(shown) < LIMIT
        assert "\n" not in shown
        assert " object at 0x" not in shown
        assert shown.startswith(f"{type(each).__name__}(")


def test_every_class_of_the_package_is_looked_at(given: list[object]) -> None:
    classes = {name for name in refspec.__all__ if inspect.isclass(getattr(refspec, name))}
    assert classes - {type(each).__name__ for each in given} == NO_INSTANCES


def test_it_says_what_a_person_wants_to_see_first() -> None:
    target = refspec.load("tiny-target")
    assert repr(target) == "Model('tiny-target', gpt2, 10 layers x 160, 1,024 tokens, context 256)"
    assert repr(refspec.load("tiny-draft").config) == "GPT2Config(gpt2, 1 layer x 128, 1,024 tokens, context 256)"
    assert repr(target.network.new_cache()) == "KVCache(0 of 256 positions, 10 layers x 5 heads x 32, float32)"
    assert repr(refspec.TableLM({(): [1, 0]})) == "TableLM(2 tokens, 1 context, exact)"
    assert repr(refspec.Round((5, 6), 1, 7)) == "Round(draft_tokens=(5, 6), accepted=1, token=7)"
    assert repr(refspec.Generation((5, 7), (refspec.Round((5,), 1, 7),))) == "Generation((5, 7), 2 tokens in 1 round)"
    assert repr(refspec.Tape([0.5])) == "Tape((0.5,), position=0)"
    chance = refspec.Seeded(3)
    assert repr(chance) == "Seeded(3)"
    chance.pick(np.ones(2))
    assert repr(chance) == f"Seeded(3, u={chance.u:.4f})"
    record = rounds.Record(refspec.Draft((1,)), np.ones((2, 3)), (), refspec.verify.Verdict(0, 1))
    assert repr(record) == "Record(1 drafted, 0 tested, 3 tokens in the vocabulary)"


def test_a_run_without_drafts_has_no_rate() -> None:
    out = refspec.generate("tiny-target", "ROMEO:", max_new_tokens=2, temperature=0, stop=())
    assert repr(out.stats).startswith("Stats(2 tokens in 2 rounds, 1.00 tokens per target call, ")
    assert repr(out).endswith(", 'length')")
    empty = refspec.generate("tiny-target", "ROMEO:", max_new_tokens=0)
    assert repr(empty) == "Output('', Stats(0 tokens in 0 rounds), 'length')"


def test_a_subclass_shows_its_own_name() -> None:
    class Mine(refspec.NgramDrafter):
        pass

    assert repr(Mine()) == "Mine(longest=8, shortest=1)"


def test_values_are_short() -> None:
    assert short(np.float64(0.5)) == "0.5"
    assert short((np.zeros(2, np.float32),)) == "(float32 [2],)"
    assert short([1] * 1000, width=20) == "[1, 1, 1, 1, ... 996 more]"
    assert short("x" * 10**6) == "'" + "x" * 56 + "..."
    assert len(short({i: i for i in range(1000)})) == PART
    assert len(brief("", "x" * 1000)) == LIMIT - 1
    assert repr(rounds.Tested(np.float64(0.5), 0.25, None, True)) == "Tested(p=0.5, q=0.25, u=None, accepted=True)"
    assert by_fields(refspec.Draft((1, 2), start=4)) == "Draft(tokens=(1, 2), start=4)"
