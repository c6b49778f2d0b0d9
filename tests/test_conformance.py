"""The kit: an engine's draws are answered exactly, refspec conforms, and the bugs of the zoo do not."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refspec.conformance import kit
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run
from refspec.conformance.answered import answered_law
from refspec.conformance.cases import CHECKS
from refspec.conformance.checks import check_case, conform, smaller
from refspec.conformance.diagnosis import diagnosed
from refspec.conformance.own import Own
from refspec.decoding import verify
from refspec.errors import BadArgument

EIGHTHS = st.integers(-16, 24).map(lambda n: Fraction(n, 8))


@given(EIGHTHS.filter(bool), EIGHTHS, EIGHTHS, EIGHTHS)
def test_a_uniform_lies_where_its_comparisons_put_it(scale: Fraction, shift: Fraction, one: Fraction, other: Fraction) -> None:
    """Against uniforms on a grid as fine as every threshold can be."""

    def both(u: Any) -> tuple[bool, bool]:
        return bool(scale * u + shift < one), bool(shift - u * scale >= other)

    found = answered_law(lambda generator: both(generator.random()))
    fine = 8 * abs(scale.numerator)
    grid = [both(Fraction(2 * n + 1, 2 * fine)) for n in range(fine)]
    assert found == {outcome: Fraction(grid.count(outcome), fine) for outcome in set(grid)}


@pytest.mark.parametrize(
    "use",
    [
        float,
        bool,
        np.exp,
        np.sqrt,
        hash,
        abs,
        lambda u: u == 0,
        lambda u: u**2,
        lambda u: u * u,
        lambda u: 1 / u,
        lambda u: range(2)[u],
    ],
)
def test_an_undrawn_uniform_is_good_for_nothing_else(use: Any) -> None:
    with pytest.raises((BadArgument, TypeError), match=r"undrawn uniform|UndrawnUniform"):
        answered_law(lambda generator: use(generator.random()))


def test_a_draw_without_an_answer_is_named() -> None:
    with pytest.raises(BadArgument, match=r"drew with standard_normal\(\)"):
        answered_law(lambda generator: generator.standard_normal())


@pytest.mark.parametrize("name", ["token", "block", "sample-match"])
def test_exact_rules_conform(name: str) -> None:
    # sample-match has many branches, and its own suite
    report = conform(Own(rule=verify.EXACT[name]), [CHECKS["one-round-law"]] if name == "sample-match" else CHECKS.values())
    assert {each.id: each.detail for each in report.findings if each.status not in ("conforms", "skipped")} == {}
    if name != "sample-match":
        assert {each.check for each in report.findings if each.status == "conforms"} == CHECKS.keys() - {
            *("ragged-batch", "uniform-boundaries", "draw-accounting", "same-seed")
        }
    assert report.code == 0


@pytest.mark.parametrize("name", verify.INEXACT)
def test_inexact_rules_deviate(name: str) -> None:
    assert conform(Own(rule=verify.INEXACT[name]), [CHECKS["multi-round-law"]]).code == 1


def plain(case: Case, generator: Any) -> Run:
    """A law that is right because the draft is never asked."""
    tokens = case.prompt
    while len(tokens) < len(case.prompt) + case.max_new_tokens:
        tokens += (int(generator.choice(case.size, p=case.target.probs(tokens)[0, : case.size])),)
        if tokens[-1] in case.stop:
            break
    return Run(tokens[len(case.prompt) :], drafted=0, accepted=0)


def test_a_right_law_without_the_draft_is_vacuous_and_fails() -> None:
    report = conform(ByGenerator(plain, Dialect("plain", draws_intercepted=True)))
    alone = {"length/one token"}  # where nothing is to be drafted
    assert {each.id for each in report.findings if each.status == "conforms"} == alone
    assert {each.status for each in report.findings} == {"conforms", "vacuous", "skipped"}
    assert report.code == 1


def test_a_deviation_names_the_shortest_wrong_beginning_and_the_smallest_case() -> None:
    always_0 = Own(rule=lambda draft, target_probs, chance: verify.Verdict(0, 0))
    check = CHECKS["multi-round-law"]
    found = check_case(always_0, check, check.cases[0])
    assert found.detail == "P(text begins with (0,)) is 1 and should be 1/8"
    smallest = smaller(always_0, check, check.cases[0])
    assert (smallest.max_new_tokens, smallest.gamma) == (1, 1)


def test_an_engine_that_raises_is_no_engine_that_deviates() -> None:
    def breaks(case: Case, generator: Any) -> Run:
        raise RuntimeError("no such device")

    report = conform(ByGenerator(breaks, Dialect("broken", draws_intercepted=True)), [CHECKS["one-round-law"]])
    assert report.code == 2
    assert report.findings[0].detail.startswith("RuntimeError: no such device (test_conformance.py, line ")


@pytest.mark.parametrize("pads", [False, True])
def test_rows_of_a_batch_are_asked_about_where_there_are_some(pads: bool) -> None:
    """An engine that takes the padding of the shorter rows for text."""

    def decodes(case: Case, generator: Any) -> Run:
        longest = max(map(len, (case.prompt, *case.batch)))
        padding = (0,) * (longest - len(case.prompt)) if pads else ()
        return Own()._run(replace(case, prompt=padding + case.prompt), generator)

    engine = ByGenerator(decodes, Dialect("batches", draws_intercepted=True, batched=True))
    assert [each.status for each in conform(engine, [CHECKS["ragged-batch"]]).findings] == [
        "deviates" if pads else "conforms"
    ] * 2


def test_the_page_leads_to_a_verdict(tmp_path: Path) -> None:
    """docs/conformance.md: its engine conforms, broken as it says it does not, and the list of known deviations is one."""
    page = (Path(__file__).parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
    code, known = (re.search(f"^```{kind}\n(.*?)\n```$", page, re.M | re.S) for kind in ("python", "json"))
    assert code
    assert known
    source, right = code[1], "left = np.maximum(p[i] - q[i], 0)"
    assert right in source
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    (tmp_path / "broken.py").write_text(source.replace(right, "left = p[i]"), encoding="utf-8")
    (tmp_path / "known.json").write_text(known[1], encoding="utf-8")
    assert len(kit.known_deviations(tmp_path / "known.json")) == 1
    mine, broken = (kit.engine_of(f"{tmp_path / name}.py:engine") for name in ("mine", "broken"))
    for level in ("replay", "exact"):
        assert kit.conform(mine, level).code == 0
    report = kit.conform(broken, "exact", checks=[CHECKS["one-round-law"], CHECKS["one-hot-drafts"]])
    assert diagnosed(report).equal == ("residual-is-p",)
    assert set(re.findall(r"^\| `\{\"n\": \d+, \"op\": \"(\w+)\"", page, re.M)) == {"start", "dialect", "run", "stop"}


def test_the_rules_and_the_checks_name_each_other() -> None:
    """SPEC.md has each rule once, with the checks that say they cover it."""
    text = (Path(kit.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^\| (R\d+) \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    assert list(rules) == [f"R{n}" for n in range(1, len(rules) + 1)]
    named = {(rule, check) for rule, last in rules.items() for check in re.findall(r"`([a-z-]+)`", last)}
    assert named == {(rule, check.id) for check in CHECKS.values() for rule in check.rules}
