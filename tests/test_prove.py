"""`refspec prove`: the table it prints is the enumeration's, for what is right and for what is planted."""

import json
from fractions import Fraction

import pytest

from refspec.cli import main
from refspec.verify import EXACT

SMALL = ["--models", "2", "--horizon", "3"]


@pytest.mark.parametrize("rule", EXACT)
def test_every_exact_rule_is_proved(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--verify", rule, *SMALL, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["proved"] is True
    assert len(answer["models"]) == 2
    for model in answer["models"]:
        assert model["largest_difference"] == model["total_variation"] == "0"
        assert Fraction(model["acceptance_measured"]) == Fraction(model["acceptance_predicted"])
        assert model["paths"] > model["outcomes"] > 1


@pytest.mark.parametrize("rule", ["inexact-lenience", "inexact-typical"])
def test_an_inexact_rule_is_not(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--verify", rule, *SMALL]) == 1
    out = capsys.readouterr().out
    assert "NOT the target's law on 2 of 2 models" in out


def test_the_table_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", *SMALL]) == 0
    heading, first, second, _, verdict = capsys.readouterr().out.splitlines()
    assert heading.split() == "model paths outcomes largest difference accepted predicted seconds".split()
    assert first.split()[3] == second.split()[3] == "0"
    assert verdict == "token: every text has exactly the target's probability, on all 2 models."


def test_a_planted_bug_fails_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--mutant", "residual-is-p", *SMALL]) == 1
    assert "residual-is-p: NOT the target's law" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mutant", "no-such-bug"], "no mutant 'no-such-bug'"),
        (["--vocab", "0"], "vocab is 0; it is at least 1"),
        (["--gamma", "-1"], "gamma is -1; it is at least 0"),
        (["--horizon", "0"], "horizon is 0; it is at least 1"),
        (["--models", "0"], "models is 0; it is at least 1"),
        (["--vocab", "10", "--horizon", "9"], "too many to enumerate"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_bad_input_is_one_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
