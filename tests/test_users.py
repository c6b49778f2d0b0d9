"""`refspec bench --batch`: what is counted while all users are there, and what the costs of rows promise of it."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from refspec.bench import costs, users
from refspec.bench.clock import Spread
from refspec.bench.users import Event, Served, account, crossing, fourfold, steady
from refspec.cli.main import main


def test_only_what_comes_while_all_are_there_counts() -> None:
    """From the last first token to the first last one."""
    slow = [Event(2.0, 0, 1, 3, 5), Event(3.0, 0, 1, 1, 2), Event(4.0, 0, 1, 1, 2), Event(5.0, 0, 1, 1, 1)]
    fast = [Event(1.0, 1, 1, 2, 5), Event(2.0, 1, 3, 4, 7), Event(3.0, 1, 2, 4, 5), Event(4.0, 1, 2, 4, 5)]
    found = steady([slow, fast])
    assert (found.seconds, found.tokens, found.first) == (2.0, (2, 4), (2.0, 1.0))
    assert found.rows == ((1, 2), (1, 2), (4, 5), (4, 5))


def test_a_text_that_ends_with_its_first_token_leaves_nothing_to_count() -> None:
    found = steady([[Event(1.0, 0, 1, 1, 2)], [Event(2.0, 1, 1, 1, 2), Event(3.0, 1, 1, 1, 1)]])
    assert (found.seconds, found.tokens) == (0.0, (0, 0))
    priced = costs.Costs((1.0, 1.0), 0.0, True)
    (line,) = account({2: ([found], [found])}, priced)
    assert (line.plain.tokens_per_second, line.plain.a_user, line.speed_up, line.predicted) == (None, None, None, None)


def served(seconds: float, tokens: tuple[int, ...], rows: list[tuple[int, int]]) -> Served:
    return Served(seconds, tokens, tuple(rows), (0.5,) * len(tokens))


def test_the_account_is_in_plain_steps_of_one_user() -> None:
    """A step takes a tenth of a second; two rows cost 1.25 of it and four 2."""
    priced = costs.Costs((1.0, 1.25, 1.5, 2.0), 0.0, True)
    alone = served(1.0, (10,), [(1, 1)] * 10), served(1.25, (20,), [(2, 2)] * 10)
    two = served(1.25, (10, 10), [(1, 2)] * 20), served(2.0, (20, 10), [(2, 4)] * 20)
    one, both = account({1: ([alone[0]], [alone[1]]), 2: ([two[0]], [two[1]])}, priced)
    assert (one.plain.tokens_per_second, one.plain.predicted, one.plain.a_user) == (10, pytest.approx(10), 10)
    assert (one.speed_up, one.predicted) == (pytest.approx(1.6), pytest.approx(1.6))
    assert (both.plain.tokens_per_second, both.plain.predicted, both.plain.a_user) == (16, pytest.approx(16), 8)
    assert both.speculative.predicted == pytest.approx(15)  # 30 tokens for ten passes of four rows
    assert both.speed_up == pytest.approx((1.25 * 0.625) ** 0.5)  # one text gains and the other loses
    assert both.tokens_per_call == 1.5
    assert crossing((one, both)) == 2
    assert crossing((one,)) is None


def test_drafts_of_a_model_are_charged_too() -> None:
    priced = costs.Costs((1.0, 1.25, 1.5, 2.0), 0.1, False)
    plain, drafting = served(1.0, (10,), [(1, 1)] * 10), served(1.0, (10,), [(3, 3)] * 10)
    (line,) = account({1: ([plain], [drafting])}, priced)
    assert line.speculative.predicted == pytest.approx(10 / 1.7)  # three rows and two drafts, ten times, for ten tokens


def test_four_users_as_fast_as_one() -> None:
    """Eight rows cost 1.5, twelve 4: one drafted token has to be accepted every other time, and two never are enough."""
    points = [(1, 1.0), (8, 1.5), (12, 4.0), (24, 9.0)]
    curve = SimpleNamespace(
        points=tuple(SimpleNamespace(rows=rows, v=Spread(v, v, v)) for rows, v in points),
    )
    real = costs.Curve(False, 96, tuple(costs.Point(each.rows, each.v, each.v) for each in curve.points))
    found = fourfold(real)
    assert [(each.gamma, each.rows) for each in found] == [(1, 8), (2, 12), (3, 16), (4, 20), (5, 24)]
    assert (found[0].cost, found[0].acceptance) == (1.5, pytest.approx(0.5))
    assert (found[1].cost, found[1].acceptance) == (4.0, None)


def test_the_command_serves_each_number_of_users(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "groups", lambda prompts, size: [list(range(size))])
    asked = ["bench", "--model", "tiny-draft", "--ngram", "--quick", "--batch", "1", "3", "--max-new-tokens", "4"]
    assert main([*asked, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["users"] for each in found["users"]] == [1, 3]
    assert all(each["plain"]["tokens_per_second"] > 0 for each in found["users"])
    assert len(found["fourfold"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "0"], "--batch is 0; it is a whole number, at least 1"),
        (["--batch", "2", "--against", "transformers"], "--against has no effect beside --batch"),
        (["--batch", "x"], "invalid int value"),
    ],
)
def test_what_cannot_be_measured_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
