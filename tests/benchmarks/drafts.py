"""How good each kind of draft is for a target, and how good the choice among them, from recorded guesses.

    python tests/benchmarks/drafts.py --prompts spec_bench.jsonl --out guesses.jsonl [--model smollm2-135m] [--limit 4]

--prompts: JSONL with "category" and "prompt". The target answers each greedily, eight at a time, and each draft is asked at every
token of the answer, as if a round began there. What it guesses is kept in --out, a line a prompt, so that a run that was
interrupted goes on, and the tables of a whole run are printed again in seconds.

The first table: acceptance at position i, of those whose guesses before it were right; a missing guess is a wrong one; Wilson's
interval at 95 %. tokens/call: what a round would yield with the first four. The second: speed-up over plain decoding at the
costs of a profile, rounds being replayed on the recorded text; bound: the same with the best choice of draft and gamma in each
round, which only hindsight knows. `refspec bench --draft NAME` measures the speed itself.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from guesses import Answer, Recorded, append, record, recorded
from safetensors.numpy import load_file
from tqdm import tqdm

import refspec
from refspec.bench import prompts
from refspec.bench.clock import geometric_mean
from refspec.bench.hindsight import Way, after_first, best_rate, places
from refspec.bench.results import wilson
from refspec.decoding.draft import Drafter, cost_of
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.several import Several
from refspec.models import home
from refspec.models.profiles import profile_for
from refspec.models.table_file import read_table

DEPTHS, A_CALL = 5, 4
GAMMAS = 1, 2, 3, 4, 6


Make = Callable[[Answer], Drafter]


def replayed(answer: Answer, drafter: Drafter, gamma: int, new_tokens: int, v: Callable[[int, int], float]) -> tuple[int, float]:
    """(tokens, cost) of all rounds but the first, which belongs to the prefill. v: of gamma drafted tokens behind so many."""
    priced = getattr(drafter, "drafter", drafter)  # the one that a bet asks
    text, end = answer.prompt, len(answer.prompt) + len(answer.tokens)
    whole, spent, since = answer.prompt + answer.tokens, 0.0, end
    while len(text) < end:
        cost = cost_of(priced, text) or 0.0
        draft = drafter.propose(text, min(gamma, len(answer.prompt) + new_tokens - len(text) - 1), refspec.Seeded(0)).tokens
        if text != answer.prompt:
            spent += v(len(draft), len(text)) + len(draft) * cost
        text = whole[: len(text) + right(draft, whole[len(text) :]) + 1]
        since = min(since, len(text))
    return end - since, spent


def right(guesses: Sequence[int], came: Sequence[int]) -> int:
    """How many guesses, from the first, came true."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(guesses, came, strict=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--prompts", default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="prompts a category")
    parser.add_argument("--under", type=int, help="print the tables of prompts of fewer tokens alone")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--heads", nargs="+", default=["smollm2-head"], help="what is recorded; the first drafts in auto")
    parser.add_argument("--table", default="smollm2-table")
    parser.add_argument("--profile", type=Path, help="the costs; by default this machine's")
    options = parser.parse_args()
    model = refspec.load(options.model)
    given = prompts.read(options.prompts, options.limit)
    texts = prompts.encode(model, given, chat=True, new_tokens=options.new_tokens, leave_out=True)
    head = {"model": options.model, "prompts": len(texts), "new_tokens": options.new_tokens, "heads": options.heads}
    answers = recorded(options.out, head)
    with tqdm(total=len(texts), initial=len(answers), desc="prompts") as bar:
        while left := texts[len(answers) : len(answers) + 8]:
            asked, stop = [prompt for _, prompt in left], model.chat_end_tokens
            outs = refspec.generate_batch(model, asked, max_new_tokens=options.new_tokens, temperature=0, stop=stop)
            for (category, prompt), out in zip(left, outs, strict=True):
                answers.append(record(model, category, tuple(prompt), out.tokens, options.heads))
                append(options.out, answers[-1])
                bar.update()
    answers = [answer for answer in answers if options.under is None or len(answer.prompt) < options.under]
    table = read_table(home.find(options.table), model.vocab_size, model.name)
    profile = refspec.Profile.load(options.profile) if options.profile else profile_for(model)

    def lookup(_: Answer) -> Drafter:
        return NgramDrafter(table=table)

    makes: dict[str, Make] = {"lookup": lambda _: NgramDrafter(), "lookup with table": lookup}
    makes |= {name: lambda answer, name=name: Recorded(answer, name) for name in options.heads}
    makes["auto"] = lambda answer: Several(lookup(answer), Recorded(answer, options.heads[0]))
    print(f"{options.model}: {len(answers)} prompts, {sum(len(each.tokens) for each in answers)} answer tokens, greedy\n")
    acceptance(answers, makes)
    print()
    for name in options.heads:
        coverage(answers, name)
    sureness(answers, options.heads[0])
    print(f"\n{profile.label}; a guess of {options.heads[0]}: {answers[0].guesses[options.heads[0]].cost:.3f}")
    speeds(answers, makes, profile, options.new_tokens)


def acceptance(answers: Sequence[Answer], makes: dict[str, Make]) -> None:
    print("| draft | " + " | ".join(f"at {i + 1}" for i in range(DEPTHS)) + " | tokens/call |")
    print("|---|" + "---|" * (DEPTHS + 1))
    for name, make in makes.items():
        reached, good, yields = [0] * DEPTHS, [0] * DEPTHS, []
        for answer in answers:
            drafter, whole = make(answer), answer.prompt + answer.tokens
            for start in range(len(answer.prompt), len(whole)):
                guesses = drafter.propose(whole[:start], DEPTHS, refspec.Seeded(0)).tokens
                came = whole[start : start + DEPTHS]
                agreed = right(guesses, came)
                for i in range(min(agreed + 1, len(came))):
                    reached[i] += 1
                    good[i] += i < agreed
                yields.append(min(agreed, A_CALL) + 1)
        cells = []
        for hits, tried in zip(good, reached, strict=True):
            least, most = wilson(hits, tried) if tried else (0.0, 0.0)
            cells.append(f"{hits / tried:.3f} ({least:.3f} to {most:.3f})" if tried else "-")
        print(f"| {name} | " + " | ".join(cells) + f" | {sum(yields) / len(yields):.2f} |", flush=True)


def coverage(answers: Sequence[Answer], name: str) -> None:
    """How many of the answers' tokens a head can say: by its own words, and with those of the text."""
    tensors = load_file(home.find(name) / "model.safetensors")
    ids = next((frozenset(each.tolist()) for key, each in tensors.items() if key.endswith("ids")), None)
    if ids is None:
        return  # it knows all
    said = [
        (token in ids, token in answer.prompt + answer.tokens[:i]) for answer in answers for i, token in enumerate(answer.tokens)
    ]
    own, either = (sum(map(test, said)) / len(said) for test in (lambda pair: pair[0], any))
    print(f"{name} knows {len(ids):,} tokens, {own:.3f} of what is said, and {either:.3f} with those of the text\n")


def sureness(answers: Sequence[Answer], name: str) -> None:
    """How often the first guess and the second are right, by how sure of it the head was."""
    found: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for answer in answers:
        for i, (tokens, sure) in enumerate(zip(answer.guesses[name].tokens, answer.guesses[name].sure, strict=True)):
            reached = min(right(tokens, answer.tokens[i:]) + 1, 2, len(tokens), len(answer.tokens) - i)
            for j in range(reached):
                found[j, min(int(5 * sure[j]), 4)].append(tokens[j] == answer.tokens[i + j])
    print(f"| {name} is sure of its guess by | " + " | ".join(f"{k / 5:.1f} to {(k + 1) / 5:.1f}" for k in range(5)) + " |")
    print("|---|" + "---|" * 5)
    for j in range(2):
        cells = [f"{sum(each) / len(each):.2f} of {len(each):,}" if (each := found[j, k]) else "-" for k in range(5)]
        print(f"| right at {j + 1} | " + " | ".join(cells) + " |")


def speeds(answers: Sequence[Answer], makes: dict[str, Make], profile: refspec.Profile, new_tokens: int) -> None:
    most = len(profile.verify) - 1

    def v(drafted: int, tokens: int) -> float:
        return profile.behind(tokens)[drafted]

    def run(name: str, gamma: int | None) -> Callable[[Answer], list[tuple[int, float]]]:
        def of(answer: Answer) -> list[tuple[int, float]]:
            drafter = makes[name](answer)
            betting = refspec.AdaptiveDrafter(drafter, profile) if gamma is None else drafter
            return [replayed(answer, betting, gamma or most, new_tokens, v)]

        return of

    def bound(*names: str) -> Callable[[Answer], list[tuple[int, float]]]:
        def of(answer: Answer) -> list[tuple[int, float]]:
            costs = profile.behind(len(answer.prompt) + len(answer.tokens) // 2)
            ways = []
            for name in names:
                drafter = makes[name](answer)
                c = cost_of(drafter, answer.prompt) or 0.0
                found = places(answer.prompt, answer.tokens, new_tokens, most, drafter)
                ways.append(Way(found, lambda gamma, c=c: costs[gamma] + gamma * c))
            return after_first(*ways)

        return of

    head = list(makes)[2]
    columns = {f"auto, gamma {gamma}": run("auto", gamma) for gamma in GAMMAS}
    columns |= {f"{name}, gamma auto": run(name, None) for name in makes}
    columns |= {"bound of lookup": bound("lookup"), "bound of auto": bound("lookup", "lookup with table", head)}
    categories: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        categories[answer.category].append(answer)
    found = {}
    for name, choices in columns.items():
        found[name] = [best_rate([choices(answer) for answer in each]) for each in categories.values()]
    print("| speed-up | " + " | ".join([*categories, "geometric mean"]) + " |")
    print("|---|" + "---|" * (len(categories) + 1))
    for name, rates in found.items():
        print(f"| {name} | " + " | ".join(f"{each or 1:.2f}" for each in [*rates, geometric_mean(rates)]) + " |")


if __name__ == "__main__":
    main()
