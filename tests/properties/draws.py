"""What a uniform decides, how many are consumed, and where a run ends: N2, N3, N5, N9, N12."""

import random
from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from models import Case

import refspec
from properties import Subject, Violation, only_for
from refspec.decoding.draft import Draft
from refspec.decoding.lm import Tokens
from refspec.errors import VocabularyMismatch
from refspec.proof.exact import total_variation
from refspec.proof.interval import GRID


def first(holds: Callable[[float], bool]) -> int:
    """The least k for which holds(k / GRID), of something that goes on holding; GRID where it never does.

    GRID is how many uniforms `random()` can return. With dyadic weights, what they decide can be counted and is exact.
    """
    return bisect_left(range(GRID), True, key=lambda k: holds(k / GRID))


def accept_has_its_share_of_the_uniforms(subject: Subject, case: Case) -> Violation | None:
    """Of all uniforms Seeded can draw, min(1, p / q) accept, to the last one (N2)."""
    integer = random.Random(case.seed).randint
    dyadic = [(integer(0, 8) / 8, 2.0 ** -integer(0, 3)) for _ in range(4)]  # these products are exact
    for p, q in [(0.0, 0.3), (0.3, 0.3), (0.7, 0.1), *dyadic]:
        found = Fraction(first(lambda u, p=p, q=q: not subject.accept_at(u, p, q)), GRID)
        share = min(Fraction(1), Fraction(p) / Fraction(q))
        if found != share:
            return Violation(
                abs(found - share), f"accept({p}, {q}) for {float(found)!r} of the uniforms, should be {float(share)}"
            )
    return None


def pick_has_its_share_of_the_uniforms(subject: Subject, case: Case) -> Violation | None:
    """Of all uniforms Seeded can draw, each index gets its weight's share, whatever the weights sum to (N3)."""
    integer = random.Random(case.seed).randint
    for _ in range(4):
        weights = [integer(0, 3) for _ in range(integer(1, 4))]
        total = 2 ** integer(4, 5)
        weights.insert(integer(0, len(weights)), total - sum(weights))
        scaled = np.array(weights) / 2 ** integer(0, 6)
        ends = [first(lambda u, i=i, scaled=scaled: subject.pick_at(u, scaled) > i) for i in range(len(weights))]
        found = {i: Fraction(end - begin, GRID) for i, (begin, end) in enumerate(zip([0, *ends], ends, strict=False))}
        law = {i: Fraction(weight, total) for i, weight in enumerate(weights)}
        if found != law:
            return Violation(
                total_variation(found, law), f"pick({scaled.tolist()}) has shares {[float(each) for each in found.values()]}"
            )
    return None


class Metered:
    """A drafter that notes how many uniforms it draws."""

    def __init__(self, drafter: refspec.Drafter) -> None:
        self._drafter = drafter
        self.drawn = 0

    def propose(self, tokens: Tokens, gamma: int, chance: refspec.Tape) -> Draft:
        before = chance.position
        draft = self._drafter.propose(tokens, gamma, chance)
        self.drawn = chance.position - before
        return draft


@only_for("token", "block", "sample-match")
def a_question_costs_one_uniform(subject: Subject, case: Case) -> Violation | None:
    """A round draws what its rule's docstring says, and a tape of Seeded's uniforms replays it (N5)."""
    if case.drafter == "coupled":
        return None  # a race draws no uniform, and a tape's races are not Seeded's
    drafter = Metered(subject.drafter(case))
    tape = refspec.Tape(np.random.Generator(np.random.PCG64(case.seed)).random(500))

    def run(drafter: refspec.Drafter, chance: refspec.Chance):
        return subject.rounds(
            case.target, drafter, case.prompt, gamma=case.gamma, max_new_tokens=12, stop=(), chance=chance, verify=subject.rule
        )

    replayed, before = [], 0
    for each in run(drafter, tape):
        n, kept = each.drafted, each.accepted
        tests = {"token": min(kept + 1, n), "sample-match": kept, "block": n - max(kept - 1, 0)}[subject.promises]
        draws, before = tape.position - before, tape.position
        if draws != drafter.drawn + tests + 1:
            return Violation(Fraction(0), f"{draws} uniforms in a round that has use for {drafter.drawn + tests + 1}")
        replayed.append(each)
    if replayed != list(run(subject.drafter(case), refspec.Seeded(case.seed))):
        return Violation(Fraction(0), "a tape of the same uniforms gives another run")
    return None


def an_empty_draft_is_plain_decoding(subject: Subject, case: Case) -> Violation | None:
    """With gamma 0 the text is `autoregressive`'s, token for token and draw for draw (coupled: its own at any gamma)."""
    found = text(subject, case, subject.drafter(case), 0)
    if subject.promises == "coupled":
        expected = text(subject, case, subject.drafter(case), 3)
    else:
        expected = refspec.autoregressive(
            case.target, case.prompt, max_new_tokens=12, stop=case.stop, chance=refspec.Seeded(case.seed)
        )
    return None if found == expected else Violation(Fraction(0), f"{found}, should be {expected}")


@only_for("coupled")
def coupled_text_is_the_seeds(subject: Subject, case: Case) -> Violation | None:
    """Under the coupled rule, the text depends neither on the drafter nor on gamma."""
    texts = {text(subject, case, make(case.draft), gamma) for make in subject.drafters.values() for gamma in range(4)}
    return None if len(texts) == 1 else Violation(Fraction(0), f"{len(texts)} texts from one seed")


def text(subject: Subject, case: Case, drafter: refspec.Drafter, gamma: int) -> Tokens:
    found = subject.rounds(
        case.target,
        drafter,
        case.prompt,
        gamma=gamma,
        max_new_tokens=12,
        stop=case.stop,
        chance=refspec.Seeded(case.seed),
        verify=subject.rule,
    )
    return tuple(token for each in found for token in each.tokens)


def a_run_ends_where_it_should(subject: Subject, case: Case) -> Violation | None:
    """Never beyond max_new_tokens; the first stop token is the last token; a round drafts at most what is left less one."""
    for seed in range(case.seed, case.seed + 8):
        tokens: Tokens = ()
        for each in subject.rounds(
            case.target, subject.drafter(case), case.prompt, gamma=case.gamma, max_new_tokens=case.horizon, stop=case.stop,
            chance=refspec.Seeded(seed), verify=subject.rule,
        ):  # fmt: skip
            if each.drafted > max(0, min(case.gamma, case.horizon - len(tokens) - 1)):
                return Violation(Fraction(0), f"{each.drafted} tokens drafted with {case.horizon - len(tokens)} places left")
            tokens += each.tokens
        stopped = [i for i, token in enumerate(tokens) if token in case.stop]
        if (
            len(tokens) > case.horizon
            or (stopped and stopped != [len(tokens) - 1])
            or (not stopped and len(tokens) < case.horizon)
        ):
            return Violation(Fraction(0), f"{tokens} of at most {case.horizon} tokens, stop {set(case.stop)}")
    return None


class Renamed:
    """A language model with names for its tokens."""

    def __init__(self, language_model: refspec.LanguageModel, names: str) -> None:
        self.probs, self.vocab_size = language_model.probs, language_model.vocab_size
        self.token_map = {name: i for i, name in enumerate(names[: self.vocab_size])}


def tokens_of_other_names_are_refused(subject: Subject, case: Case) -> Violation | None:
    """A draft model with as many tokens but another token map is refused (N12)."""
    if case.vocab_size == 1:
        return None
    drafter = refspec.ModelDrafter(Renamed(case.draft, "bac"))
    try:
        next(
            subject.rounds(
                Renamed(case.target, "abc"),
                drafter,
                case.prompt,
                gamma=1,
                max_new_tokens=2,
                stop=(),
                chance=refspec.Seeded(0),
                verify=subject.rule,
            )
        )
    except VocabularyMismatch:
        return None
    return Violation(Fraction(0), "a draft model that means other tokens by its ids was taken")


def no_row_of_floats_is_too_sharp(subject: Subject, case: Case) -> Violation | None:
    """In float64, with q an ulp off p, a run emits only what the target allows: no zero residual, no NaN (N4)."""
    target = refspec.TableLM({context: [float(each) for each in row] for context, row in case.target.table.items()})
    nudged = {
        context: np.nextafter(np.array(row, float), np.where(np.array(row) > 0, 1, 0))
        for context, row in case.target.table.items()
    }
    for seed in range(4):
        found = subject.rounds(
            target,
            subject.drafters["model"](refspec.TableLM(nudged)),
            case.prompt,
            gamma=3,
            max_new_tokens=12,
            stop=(),
            chance=refspec.Tape(np.random.default_rng(case.seed + seed).choice([0.0, 0.5, np.nextafter(1, 0)], 400)),
            verify=subject.rule,
        )
        tokens = case.prompt
        for each in found:
            for token in each.tokens:
                if not target.probs(tokens)[-1][token] > 0:
                    return Violation(Fraction(1), f"emitted {token} where the target has {target.probs(tokens)[-1]}")
                tokens += (token,)
    return None
