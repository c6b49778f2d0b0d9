"""`refspec prove`: the table it prints is the enumeration's, for what is right and for what is planted."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refspec
from refspec.cli import prove
from refspec.cli.colour import uncoloured
from refspec.cli.main import main
from refspec.decoding import verify
from refspec.decoding.draft import Draft
from refspec.decoding.verify import EXACT, Verdict
from refspec.errors import BadArgument
from refspec.proof import exact, survey

SMALL = ["--models", "2", "--horizon", "3"]


@pytest.mark.parametrize("rule", EXACT)
def test_every_exact_rule_has_no_difference(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--verify", rule, *SMALL, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["exact_on_all_models"] is True
    assert len(answer["models"]) == 2
    for model in answer["models"]:
        assert model["largest_difference"] == model["total_variation"] == "0"
        assert Fraction(model["acceptance_measured"]) == Fraction(model["acceptance_predicted"])
        assert model["paths"] > model["outcomes"] > 1


def test_each_rule_is_behind_the_drafter_it_is_for() -> None:
    for rule in verify.RULES:
        kind = refspec.CoupledDrafter if rule == "coupled" else refspec.ModelDrafter
        assert survey.claim_of(rule).drafter is kind


@pytest.mark.parametrize("rule", ["inexact-lenience", "inexact-typical"])
def test_an_inexact_rule_is_not(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--verify", rule, *SMALL]) == 1
    out = capsys.readouterr().out
    assert f"{rule} (an inexact rule): NOT the target's distribution on 2 of 2 models" in out
    code, answer = checked(capsys, "--verify", rule, *SMALL)
    assert (code, answer["exact"], answer["exact_on_all_models"]) == (1, False, False)


def test_the_table_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", *SMALL]) == 0
    heading, first, second, _, verdict = capsys.readouterr().out.splitlines()
    assert heading.split() == "model paths outcomes largest difference accepted predicted seconds".split()
    assert first.split()[3] == second.split()[3] == "0"
    assert verdict == "token: checked exactly on 2 models: every text has the target's probability."
    assert main(["prove", "--models", "1", "--horizon", "1"]) == 0
    assert "checked exactly on 1 model:" in capsys.readouterr().out


def checked(capsys: pytest.CaptureFixture[str], *options: object) -> tuple[int, dict[str, Any]]:
    """prove --json -> (exit code, the answer)"""
    code = main(["prove", "--json", *map(str, options)])
    return code, json.loads(capsys.readouterr().out)


# One for each part that a mutant may bring: the real part in its place would have no difference.
@pytest.mark.parametrize(
    "bug", ["residual-is-p", "block-threshold-is-p_i", "noise-of-the-seed", "unlikely-dropped-after-the-draw"]
)
def test_a_planted_bug_fails_the_same_table(bug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--mutant", bug, *SMALL]) == 1
    assert f"{bug}: NOT the target's distribution" in capsys.readouterr().out
    code, answer = checked(capsys, "--mutant", bug, *SMALL)
    assert (code, answer["claim"], answer["exact_on_all_models"]) == (1, bug, False)
    assert all(model["acceptance_predicted"] is not None for model in answer["models"])


def test_the_mutants_that_it_knows_are_those_it_can_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--mutant", "list"]) == 0
    known = capsys.readouterr().out.split()
    assert known == sorted(known)
    assert {"residual-is-p", "block-threshold-is-p_i", "noise-of-the-seed", "q-before-top-k"} <= set(known)
    assert not {"top-p-before-top-k", "u-at-most-p-over-q", "drop-the-last-0", "bonus-forgotten", "overshoots-the-length"} & set(
        known
    )


@pytest.mark.parametrize(("rule", "mutant"), [*((rule, None) for rule in EXACT), *(("token", name) for name in prove.offered())])
def test_the_verdict_is_that_of_whole_runs(rule: str, mutant: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds enumerated apart say nothing of what goes wrong from one to the next: no claim may be of that kind."""
    claim = survey.claim_of(rule) if mutant is None else prove.mutant(mutant)
    ((target, draft),) = drawn(seed=4, models=1, vocab_size=2, horizon=3)

    def whole(chance: refspec.Chance) -> tuple[int, ...]:
        options = {"gamma": 2, "max_new_tokens": 3, "stop": (), "chance": chance, "verify": claim.rule}
        return tuple(token for each in claim.rounds(target, claim.drafter(draft), (), **options) for token in each.tokens)

    options = ["--vocab", 2, "--gamma", 2, "--horizon", 3, "--models", 1, "--seed", 4]
    subject = ["--verify", rule] if mutant is None else ["--mutant", mutant]
    code, answer = checked(capsys, *subject, *options)
    apart = exact.total_variation(exact.law(whole), survey.plain_distribution(target, 3))
    assert (code, answer["exact_on_all_models"]) == (int(apart > 0), apart == 0)


@pytest.mark.parametrize(
    ("claim", "said"), [({}, "a rule that does not say whether it is exact"), ({"exact": False}, "an inexact rule")]
)
def test_a_rule_of_chance_without_a_difference_is_still_what_it_says(
    claim: dict[str, bool], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No difference on the models drawn is no claim about others."""

    def rule(draft: Draft, target_probs: np.ndarray, chance: refspec.Chance) -> Verdict:
        return verify.token(draft, target_probs, chance)

    monkeypatch.setitem(verify.RULES, "token", verify.claims(**claim)(rule) if claim else rule)
    assert main(["prove", *SMALL]) == 0
    assert f"token ({said}): checked exactly on 2 models" in capsys.readouterr().out
    assert checked(capsys, *SMALL)[1]["exact"] is claim.get("exact")


def test_mutants_come_from_the_checkout_of_refspec_and_from_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "tests" / "mutants"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("raise SystemExit('code of the folder one stands in')")
    monkeypatch.chdir(tmp_path)
    assert prove.mutant("residual-is-p").name == "residual-is-p"  # a checkout is found from anywhere
    monkeypatch.setattr(prove, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.delitem(sys.modules, "mutants")
    with pytest.raises(BadArgument, match=r"which is in a checkout only; there, run: pip install -e '\.\[test\]'"):
        prove.mutant("residual-is-p")


def test_what_the_test_suite_needs_and_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    path = list(sys.path)
    monkeypatch.setitem(sys.modules, "mutants", None)  # as where one of its imports is not installed
    with pytest.raises(BadArgument, match=r"mutants is missing; run: pip install -e '\.\[test\]'"):
        prove.mutant("residual-is-p")
    assert sys.path == path


# --- what is off by little, in one model, or in texts that one of the two laws never has ---

Row = list[Fraction]
Change = Callable[[Row], Row]
EPSILON = Fraction(1, 10**30)


def drawn(seed: int, models: int, vocab_size: int = 3, horizon: int = 1) -> list[tuple[refspec.TableLM, refspec.TableLM]]:
    """The targets and drafts that `prove` meets under these options."""
    chance = refspec.Seeded(seed)
    return [tuple(survey.random_table(chance, vocab_size, horizon) for _ in "td") for _ in range(models)]  # type: ignore[misc]


def first_row(table: refspec.TableLM) -> Row:
    return list(table.probs(())[0])


def a_little_of_the_first(row: Row) -> Row:
    return [(1 - EPSILON) * p + EPSILON * (i == 0) for i, p in enumerate(row)]


def also_the_forbidden(row: Row) -> Row:
    """Says now and then one text that the target never says; what it costs the others is spread over them."""
    if all(row):
        return row
    return [(1 - EPSILON) * p + EPSILON * (i == row.index(0)) for i, p in enumerate(row)]


def without_the_rarest(row: Row) -> Row:
    """Never says one text that the target says."""
    rarest = min((i for i, p in enumerate(row) if p), key=lambda i: row[i])
    return row if row[rarest] == 1 else [p / (1 - row[rarest]) if i != rarest else Fraction(0) for i, p in enumerate(row)]


def planted(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Puts a rule that refuses every draft, and picks from a changed row, in the place of `token`."""

    def rule(draft: Draft, target_probs: np.ndarray, chance: refspec.Chance) -> Verdict:
        return Verdict(0, chance.pick(np.array(change(list(target_probs[0])), dtype=object)))

    monkeypatch.setitem(verify.RULES, "token", rule)


@pytest.mark.parametrize("change", [a_little_of_the_first, also_the_forbidden, without_the_rarest])
def test_every_difference_counts_however_small_and_wherever(
    change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, change)
    rows = [first_row(target) for target, _ in drawn(seed=0, models=12)]
    apart = [[abs(p - q) for p, q in zip(row, change(row), strict=True)] for row in rows]
    assert any(map(any, apart))
    code, answer = checked(capsys, "--models", 12, "--horizon", 1)
    assert (code, answer["exact_on_all_models"]) == (1, False)
    assert [model["largest_difference"] for model in answer["models"]] == [str(max(each)) for each in apart]
    assert [model["total_variation"] for model in answer["models"]] == [str(sum(each) / 2) for each in apart]
    assert [model["outcomes"] for model in answer["models"]] == [sum(map(bool, change(row))) for row in rows]
    assert {model["acceptance_measured"] for model in answer["models"]} == {"0"}


def test_a_difference_of_any_size_is_shown_as_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    planted(monkeypatch, a_little_of_the_first)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["prove", "--models", "12", "--horizon", "1"]) == 1
    *rows, _, verdict = capsys.readouterr().out.splitlines()[1:]
    wrong = [first_row(target)[0] != 1 for target, _ in drawn(0, 12)]
    assert ["\033[35m" in row for row in rows] == wrong
    assert [re.search(r"\033\[32m +0\033", row) is None for row in rows] == wrong
    found = re.fullmatch(
        r"token \(.*\): NOT the target's distribution on (\d+) of 12 models; total variation up to (.+)\.", verdict
    )
    assert found
    assert int(found[1]) == sum(wrong) > 0
    assert 0 < float(found[2]) <= float(EPSILON)


@pytest.mark.parametrize("wrong", [0, 2, 3])
def test_one_wrong_model_of_several_is_enough(
    wrong: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [first_row(target) for target, _ in drawn(seed=1, models=4)]
    planted(monkeypatch, lambda row: without_the_rarest(row) if row == rows[wrong] else row)
    assert rows.count(rows[wrong]) == 1
    assert without_the_rarest(rows[wrong]) != rows[wrong]
    code, answer = checked(capsys, "--models", 4, "--horizon", 1, "--seed", 1)
    assert (code, answer["exact_on_all_models"]) == (1, False)
    assert [model["total_variation"] != "0" for model in answer["models"]] == [i == wrong for i in range(4)]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["prove", "--models", "4", "--horizon", "1", "--seed", "1"]) == 1
    out = capsys.readouterr().out
    assert ": NOT the target's distribution on 1 of 4 models; total variation up to" in out
    green, magenta = "\033[32m", "\033[35m"
    assert [magenta in row for row in out.splitlines()[1:5]] == [i == wrong for i in range(4)]
    assert [green in row for row in out.splitlines()[1:5]] == [i != wrong for i in range(4)]


def test_a_difference_behind_the_first_token_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bonus alone is wrong, which a horizon of one never sees."""

    def rule(draft: Draft, target_probs: np.ndarray, chance: refspec.Chance) -> Verdict:
        real = EXACT["token"](draft, target_probs, chance)
        return real if real.accepted == 0 else Verdict(real.accepted, int(np.argmax(target_probs[real.accepted] > 0)))

    monkeypatch.setitem(verify.RULES, "token", rule)
    assert checked(capsys, "--models", 3, "--horizon", 1)[0] == 0
    assert checked(capsys, "--models", 3, "--horizon", 2)[0] == 1


# --- what is enumerated ---


def test_the_sizes_asked_for_are_the_sizes_enumerated(capsys: pytest.CaptureFixture[str]) -> None:
    before = time.perf_counter()
    code, answer = checked(capsys, "--models", 3, "--vocab", 2, "--horizon", 3, "--gamma", 0, "--seed", 5)
    assert code == 0
    assert sum(model["seconds"] for model in answer["models"]) <= time.perf_counter() - before
    assert {name: answer[name] for name in ("claim", "vocab", "gamma", "horizon", "seed", "exact_on_all_models")} == {
        "claim": "token",
        "vocab": 2,
        "gamma": 0,
        "horizon": 3,
        "seed": 5,
        "exact_on_all_models": True,
    }
    assert [model["model"] for model in answer["models"]] == [1, 2, 3]
    for model, (target, draft) in zip(answer["models"], drawn(5, 3, vocab_size=2, horizon=3), strict=True):
        texts = [len(survey.plain_distribution(target, length)) for length in range(4)]
        assert model["outcomes"] == texts[3]
        assert model["paths"] == sum(texts[1:])  # without drafts, a path for each text of each length
        overlap = sum(map(min, target.probs(())[0], draft.probs(())[0]))  # what one drafted token's acceptance is
        assert model["acceptance_measured"] == model["acceptance_predicted"] == str(overlap)
        assert model["seconds"] >= 0
    _, drafting = checked(capsys, "--models", 3, "--vocab", 2, "--horizon", 3, "--gamma", 2, "--seed", 5)
    for ours, theirs in zip(drafting["models"], answer["models"], strict=True):
        assert ours["paths"] >= theirs["paths"]
        assert ours["outcomes"] == theirs["outcomes"]
    assert sum(each["paths"] for each in drafting["models"]) > sum(each["paths"] for each in answer["models"])


def test_the_models_are_the_seeds_and_no_two_alike() -> None:
    def rows(seed: int) -> list[list[Row]]:
        return [[first_row(each) for each in pair] for pair in drawn(seed, 8)]

    assert rows(0) == rows(0) != rows(1)
    targets, drafts = zip(*rows(0), strict=True)
    assert all(len(set(map(tuple, side))) > 4 for side in (targets, drafts))
    assert sum(target == draft for target, draft in zip(targets, drafts, strict=True)) <= 1
    everything = [p for side in (targets, drafts) for row in side for p in row]
    assert {p == 0 for p in everything} == {True, False}  # tokens that are never said are what a rule gets wrong
    table = drawn(0, 1, horizon=3)[0][0]
    assert (
        len({tuple(table.probs((token, *rest))[-1]) for token in range(3) for rest in ((0, 0), (1, 2))}) > 3
    )  # no suffix decides


def test_the_plain_law_is_that_of_plain_decoding() -> None:
    for target, _ in drawn(3, 4, horizon=3):
        for horizon in range(4):
            plain = exact.law(
                lambda chance, horizon=horizon, target=target: refspec.autoregressive(
                    target, (), max_new_tokens=horizon, chance=chance
                )
            )
            assert survey.plain_distribution(target, horizon) == plain


def test_the_acceptance_of_an_inexact_rule_is_predicted_where_there_is_a_closed_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, lenient = checked(capsys, "--verify", "inexact-lenience", *SMALL)
    assert all(model["acceptance_measured"] == model["acceptance_predicted"] for model in lenient["models"])
    _, typical = checked(capsys, "--verify", "inexact-typical", *SMALL)
    assert all(model["acceptance_predicted"] is None for model in typical["models"])
    assert main(["prove", "--verify", "inexact-typical", *SMALL]) == 1
    assert capsys.readouterr().out.splitlines()[1].split()[5] == "-"


@pytest.mark.parametrize(
    ("vocab", "horizon", "allowed"),
    [(10, 4, True), (10, 5, False), (2, 15, True), (2, 16, False), (1, 100, True), (1, 101, False)],
)
def test_how_large_is_too_large(vocab: int, horizon: int, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both sides of the bound; nothing of that size is enumerated here."""

    def reached(*_: object) -> None:
        raise KeyboardInterrupt("the first model is drawn")

    monkeypatch.setattr(survey, "random_table", reached)
    claim = survey.claim_of("token")
    wanted, said = (KeyboardInterrupt, "is drawn") if allowed else (BadArgument, "too many to enumerate")
    with pytest.raises(wanted, match=said):
        next(survey.survey(claim, vocab=vocab, gamma=2, horizon=horizon, models=1, seed=0))


def test_the_smallest_sizes_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = checked(capsys, "--vocab", 1, "--gamma", 0, "--horizon", 1, "--models", 1)
    assert (code, answer["exact_on_all_models"]) == (0, True)
    assert (answer["models"][0]["outcomes"], answer["models"][0]["paths"]) == (1, 1)


def test_each_row_is_printed_before_the_next_model_is_enumerated(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []

    def found() -> Iterator[survey.Finding]:
        for model in (1, 2, 3):
            yield survey.Finding(model, 1234, 8, Fraction(0), Fraction(0), Fraction(1, 3), Fraction(123456, 7654321), 0.5)
            lines.extend(capsys.readouterr().out.splitlines())
            assert len(lines) == model + 1

    assert prove.table(survey.claim_of("token"), found(), uncoloured) is True
    assert len({len(line) for line in lines}) == 1  # aligned with its heading
    assert lines[2].split() == ["2", "1,234", "8", "0", "1/3", "0.0161", "0.50"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mutant", "no-such-bug"], "no mutant 'no-such-bug' of the rules or the drafters; --mutant list names"),
        (["--mutant", "residual-is"], "drafters (did you mean residual-is-p?); --mutant list"),
        (["--mutant", "residual-is-p", "--verify", "token"], "--verify has no effect beside --mutant"),
        (["--vocab", "0"], "--vocab is 0; it is a whole number, at least 1"),
        (["--gamma", "-1"], "--gamma is -1; it is a whole number, at least 0"),
        (["--horizon", "0"], "--horizon is 0; it is a whole number, at least 1"),
        (["--models", "0"], "--models is 0; it is a whole number, at least 1"),
        (["--vocab", "10", "--horizon", "9"], "too many to enumerate"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_bad_input_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
