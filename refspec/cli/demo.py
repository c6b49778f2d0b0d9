"""`refspec demo`: speculation to look at, on the trained pair inside the package, in a few seconds and without a network."""

import argparse
import statistics
import sys
from collections.abc import Sequence

import numpy as np

import refspec
from refspec.cli.colour import Paint, Screen, painter, uncoloured
from refspec.cli.exits import SUCCESS
from refspec.cli.output import table
from refspec.decoding.round import Round
from refspec.decoding.stats import Stats
from refspec.generate import stream
from refspec.models.home import EMBEDDED
from refspec.models.model import Model
from refspec.models.tokenizer import Tokenizer
from refspec.proof import theory

TARGET, DRAFT, GAMMA, SEED = "tiny-target", "tiny-draft", 4, 1
PROMPT = "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\n\nROMEO:\n"
NEW_TOKENS = 160
SHOWN = 12  # rounds in the table
RUNS = 7  # of each kind, in turn, for the times

PROVED = """\
Proved, not measured: speculation draws from the target's own law, whatever the draft. `refspec prove` enumerates this very
loop along every branch, in exact fractions, and checks it on your machine."""


def run(options: argparse.Namespace) -> int:
    """Print the demonstration."""
    paint = painter(sys.stdout)
    target, draft = refspec.load(TARGET), refspec.load(DRAFT)
    tokenizer = target.tokenizer
    assert tokenizer is not None  # the package has it
    print(f"Two models that have read Shakespeare:\n\n  {TARGET}: {EMBEDDED[TARGET]}\n  {DRAFT}: {EMBEDDED[DRAFT]}\n")
    print(f"At temperature 1, with seed {SEED}, they go on from\n\n{PROMPT}")

    print(paint("Plain decoding, a call of the target for each token:", "heading"))
    show(target, None, tokenizer)
    print("\n" + paint(f"Speculative decoding, {GAMMA} tokens drafted a round" + legend(paint) + ":", "heading"))
    drafted = show(target, draft, tokenizer)
    print("\nTwo draws from one law, not one text: each kind of decoding spends the seed's random numbers in its own way.")

    print(f"\nThe first {SHOWN} of {len(drafted.rounds)} rounds (what a bar precedes was drafted and refused):\n")
    print(table(drafted.rounds[:SHOWN], lambda ids: spell(tokenizer, ids), paint))
    print("\n" + summary(drafted.rounds, drafted.stats, paint))
    print("\n" + times(target, draft))
    print("\n" + PROVED)
    return SUCCESS


def show(target: Model, draft: Model | None, tokenizer: Tokenizer) -> refspec.Output:
    run = stream(target, PROMPT, drafter=draft, gamma=GAMMA, max_new_tokens=NEW_TOKENS, seed=SEED, stop=(), record=True)
    screen = Screen(tokenizer, sys.stdout)
    for piece in run:
        screen.show(piece.round)
    screen.end()
    return run.output


def summary(rounds: Sequence[Round], stats: Stats, paint: Paint) -> str:
    """What came of the drafts, beside what the two models' laws promise."""
    overlaps = [
        theory.token_acceptance(target_row, each.record.draft.row(i, like=target_row))
        for each in rounds
        if each.record is not None
        for i, target_row in enumerate(each.record.target_probs[: len(each.record.tested)])
    ]
    overlap = float(np.mean(overlaps))
    expected = theory.expected_tokens([overlap] * GAMMA)
    how = "a: mean of sum min(p, q), p the target's law, q the draft's", f"(1 - a^{GAMMA + 1}) / (1 - a)"
    return "\n".join(
        [
            paint(f"{'':24}measured  predicted", "heading"),
            f"{'acceptance rate':24}{stats.acceptance_rate:8.2f}  {overlap:9.2f}  {how[0]}",
            f"{'tokens per target call':24}{stats.tokens_per_target_call:8.2f}  {expected:9.2f}  {how[1]}",
        ]
    )


def times(target: Model, draft: Model) -> str:
    """The wall clock of both, each in turn."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(RUNS):
        for speculate in taken:
            drafter = draft if speculate else None
            out = refspec.generate(target, PROMPT, drafter=drafter, gamma=GAMMA, max_new_tokens=NEW_TOKENS, seed=SEED, stop=())
            taken[speculate].append(out.stats.prefill_seconds + out.stats.decode_seconds)
    plain, drafted = (1000 * statistics.median(each) for each in taken.values())
    ratios = [without / with_draft for without, with_draft in zip(*taken.values(), strict=True)]
    return (
        f"{NEW_TOKENS} tokens took {plain:.0f} ms plainly and {drafted:.0f} ms speculatively: {statistics.median(ratios):.2f} "
        f"times as fast\n(medians of {RUNS} runs in turn; {min(ratios):.2f} to {max(ratios):.2f})."
    )


def legend(paint: Paint) -> str:
    """What the colours say, where there are any."""
    names = [paint(name, name) for name in ("accepted", "corrected", "bonus")]
    return "" if paint is uncoloured else f" ({', '.join(names)})"


def spell(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids).replace("\n", "\\n")
