"""What a run's rounds add up to."""

from collections.abc import Sequence
from dataclasses import dataclass

from refspec.brief import brief, counted
from refspec.decoding.round import Round


@dataclass(frozen=True)
class Stats:
    """Figures of one generation; None, never NaN, where there was nothing to divide by.

    acceptance_rate: accepted / tested. A round's tests end at its first rejection, or at a drafted stop token, which counts
    as what it was: tested, and accepted where it stayed (N9). Behind tokens drawn from q it estimates sum min(p, q) under the
    token rule; under sample-match and coupled the chance that the two draws or races agree (`theory`). Block does not test
    token by token: there it is the tokens kept, over those and the first of each draft that was not.
    accepted_per_drafted: accepted / drafted, the tokens drafted behind a rejection or a stop token included.
    rounds: how many, each one forward pass of the target.
    prefill_seconds: from the start to the end of the first round; decode_seconds: all the others.
    exact: what the verification rule claims of its text; None where it claims nothing.
    tokens_per_second: of decoding, so without the first round and its tokens.
    """

    tokens: int
    rounds: int
    exact: bool | None
    drafted: int
    tested: int
    accepted: int
    acceptance_rate: float | None
    accepted_per_drafted: float | None
    tokens_per_target_call: float | None
    prefill_seconds: float
    decode_seconds: float
    tokens_per_second: float | None

    def __repr__(self) -> str:
        parts = [f"{counted(self.tokens, 'token')} in {counted(self.rounds, 'round')}"]
        if self.acceptance_rate is not None:
            parts.append(f"acceptance rate {self.acceptance_rate:.2f}")
        if self.tokens_per_target_call is not None:
            parts.append(f"{self.tokens_per_target_call:.2f} tokens per target call")
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:,.1f} tokens/s")
        return brief(self, *parts)


def stats(rounds: Sequence[Round], seconds: Sequence[float], *, exact: bool | None = None) -> Stats:
    """rounds, how many seconds each took, and what the rule claims (`verify.is_exact`)."""
    tokens = sum(len(each.tokens) for each in rounds)
    drafted, tested, accepted = (sum(map(count, rounds)) for count in (drafted_in, tested_in, accepted_in))
    decode_seconds = sum(seconds[1:])
    decoded = sum(len(each.tokens) for each in rounds[1:])
    return Stats(
        tokens=tokens,
        rounds=len(rounds),
        exact=exact,
        drafted=drafted,
        tested=tested,
        accepted=accepted,
        acceptance_rate=ratio(accepted, tested),
        accepted_per_drafted=ratio(accepted, drafted),
        tokens_per_target_call=ratio(tokens, len(rounds)),
        prefill_seconds=sum(seconds[:1]),
        decode_seconds=decode_seconds,
        tokens_per_second=ratio(decoded, decode_seconds),
    )


def drafted_in(emitted: Round) -> int:
    """How many tokens were drafted, with what a stop token cut off."""
    return emitted.drafted + len(emitted.cut)


def tested_in(emitted: Round) -> int:
    """How many drafted tokens were tested: the accepted ones, and the first one rejected."""
    return min(drafted_in(emitted), emitted.accepted + 1)


def accepted_in(emitted: Round) -> int:
    """How many drafted tokens the round emitted, with the stop token where that was one."""
    return emitted.accepted + bool(emitted.cut)


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
