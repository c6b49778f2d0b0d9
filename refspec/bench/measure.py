"""What is measured, in which order; the table of each part is shown as soon as it is there."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from refspec.bench import costs, machine, passes, peers, prompts, table, users
from refspec.bench.clock import alternate
from refspec.bench.parts import Against, Bench, Passes, Setup
from refspec.bench.race import Runner, ours, race
from refspec.bench.results import results
from refspec.bench.users import UsersBench
from refspec.decoding.draft import Drafter, cost_of
from refspec.decoding.draft.ngram import NgramDrafter
from refspec.decoding.draft.profile import Profile
from refspec.decoding.lm import LanguageModel, Tokens, require_same_vocabulary
from refspec.errors import BadArgument
from refspec.generate import Run, stream
from refspec.given import AnyDrafter
from refspec.models import home
from refspec.models.cached_lm import CachedLM
from refspec.models.drafts import load_draft
from refspec.models.model import Model, load
from refspec.models.profiles import profile_for

MOST = 15  # the greatest gamma of the profiles, and of hindsight

Show = Callable[[str], None]
Prompts = Sequence[tuple[str, Tokens]]


@dataclass(frozen=True)
class Pair:
    """A target and what drafts for it: a model, a head or the like (`made`), or neither for n-gram lookup.

    The names are those to load them by.
    """

    name: str
    model: Model
    load_seconds: float
    loading_bytes: int | None
    draft_name: str | None
    draft: Model | None
    made: Callable[[LanguageModel], Drafter] | None = None

    @classmethod
    def load(cls, options: argparse.Namespace) -> "Pair":
        name = options.model or ("smollm2-135m" if home.is_fetched("smollm2-135m") else "tiny-target")
        draft_name = options.draft or ("tiny-draft" if name == "tiny-target" and not options.ngram else None)
        before, started = machine.peak_bytes(), time.perf_counter()
        model = load(name, row_invariant=options.row_invariant)
        seconds, after = time.perf_counter() - started, machine.peak_bytes()
        raised = None if before is None or after is None else after - before
        given = None if draft_name is None else load_draft(draft_name, row_invariant=options.row_invariant)
        draft, made = (given, None) if isinstance(given, Model) else (None, given)
        if made is not None:
            made(model.language_model())  # says now whether it is for this target
        if draft is not None:
            require_same_vocabulary(model.language_model(), draft.language_model())
        for each in (model, draft):
            if each is not None and each.config.context < passes.LEAST_CONTEXT:
                raise BadArgument(f"{each.name} has a context of {each.config.context}; measuring takes {passes.LEAST_CONTEXT}")
        return cls(name, model, seconds, raised, draft_name, draft, made)


def measure(options: argparse.Namespace, profile: Profile | None, show: Show) -> Bench:
    """profile: the costs by which `--gamma auto` decides; None for this machine's."""
    setup, pair, texts, profile = prepare(options, profile, show)
    most = options.gamma if isinstance(options.gamma, int) else len(profile.verify) - 1
    found = single_passes(setup, pair, max(MOST, most), show)
    return on_prompts(setup, pair, found, texts, profile, against=options.against is not None, show=show)


def measure_batches(options: argparse.Namespace, profile: Profile | None, show: Show) -> UsersBench:
    """The same for each number of users in `options.batch`, of one prompt a category unless there is a limit."""
    options.limit = options.limit or 1
    setup, pair, texts, profile = prepare(options, profile, show)
    model, drafts = pair.model, pair.draft
    target = model.language_model(temperature=setup.temperature)
    rows = max(options.batch)
    (curve,) = costs.curves({setup.row_invariant: target}, rows - 1, setup.runs)
    draft = (
        costs.lookup_cost(target, setup.runs)
        if drafts is None
        else costs.model_cost(target, drafting(drafts, target), setup.runs)
    )
    show(table.curves([curve], draft))
    common: dict[str, Any] = {
        "temperature": setup.temperature,
        "max_new_tokens": setup.max_new_tokens,
        "stop": (),
        "gamma": setup.gamma,
    }

    def plain(prompt: Tokens, seed: int) -> Run:
        return stream(model, prompt, seed=seed, **(common | {"gamma": 0}))

    def drafted(prompt: Tokens, seed: int) -> Run:
        return stream(model, prompt, seed=seed, drafter=drafts or NgramDrafter(), profile=profile, **common)

    served = users.measure_users([ids for _, ids in texts], options.batch, plain, drafted)
    priced = costs.Costs(curve.verify(curve.points[-1].rows - 1), draft.c.median, draft.lookup)
    found = users.account(served, priced)
    here = machine.Machine.here()
    bench = UsersBench(setup, here, curve, draft, found, users.crossing(found), users.fourfold(curve))
    show(table.users(bench))
    return bench


def prepare(options: argparse.Namespace, profile: Profile | None, show: Show) -> tuple[Setup, Pair, Prompts, Profile]:
    """What is asked for, with its heading shown: the setup, the models, (category, ids) of the prompts, and the costs."""
    given = prompts.read(options.prompts, options.limit or (1 if options.quick else None))
    pair = Pair.load(options)
    profile = profile or profile_for(pair.model)
    new_tokens = options.max_new_tokens or (32 if options.quick else 64)
    chat = prompts.has_chat(pair.model) if options.chat is None else options.chat
    texts = prompts.encode(pair.model, given, chat=chat, new_tokens=new_tokens, leave_out=options.prompts is None)
    setup = Setup(
        model=pair.model.name,
        draft=pair.draft_name if pair.draft is None else pair.draft.name,
        row_invariant=options.row_invariant,
        gamma=options.gamma,
        temperature=options.temperature,
        max_new_tokens=new_tokens,
        prompts=options.prompts or "the package's own",
        chat=chat,
        left_out=len(given) - len(texts),
        passes=options.times,
        runs=3 if options.quick else 9,
        seed=options.seed,
        profile=profile.label if options.gamma == "auto" else None,
    )
    show(table.heading(setup, machine.Machine.here()))
    return setup, pair, texts, profile


def single_passes(setup: Setup, pair: Pair, most: int, show: Show) -> Passes:
    """most: the greatest gamma whose cost is asked for."""
    model, runs = pair.model, setup.runs
    prefill = passes.prefills(model, runs)
    loading = machine.Loading(pair.load_seconds, machine.weight_bytes(model.network), machine.peak_bytes(), pair.loading_bytes)
    taken = alternate({"read": machine.reading(), "decode": passes.decoding(model)}, runs, "decoding")
    roofline = machine.roofline(taken["read"], loading.weight_bytes)
    floor = [loading.weight_bytes / roofline.matrix_bytes * seconds for seconds in taken["read"]]
    decode = passes.decode(taken["decode"], floor)
    show(table.speeds(loading, prefill, roofline, decode))

    target = model.language_model(temperature=setup.temperature)
    targets = {setup.row_invariant: target}
    if not setup.row_invariant:
        targets[True] = load(pair.name, row_invariant=True).language_model(temperature=setup.temperature)
    curves = costs.curves(targets, most, runs)
    del targets  # and with it the second copy of the weights
    if pair.draft is not None:
        draft_cost = costs.model_cost(target, drafting(pair.draft, target), runs)
    elif pair.made is not None:
        draft_cost = costs.drafter_cost(target, pair.made(target), runs)
    else:
        draft_cost = costs.lookup_cost(target, runs)
    show(table.curves(curves, draft_cost, roofline.least_ms))
    contexts, lookups = passes.context_costs(model, runs), costs.lookup_costs(runs)
    show(table.contexts(contexts, lookups))
    here = machine.Machine.here()
    return Passes(here, loading, prefill, roofline, decode, curves, draft_cost, contexts, lookups)


def drafting(draft: Model, target: CachedLM) -> CachedLM:
    """A draft model under the target's sampling."""
    return CachedLM(draft.network, target.sampling, draft.token_map, draft.name)


def draft_bytes(pair: Pair, weight_bytes: int) -> float:
    """What a drafted token reads; of several drafters, what the dearest does."""
    if pair.draft is not None:
        return machine.weight_bytes(pair.draft.network)
    if pair.made is None:
        return 0
    drafter = pair.made(pair.model.language_model())
    return weight_bytes * max(cost_of(each, ()) or 0.0 for each in getattr(drafter, "drafters", (drafter,)))


def on_prompts(setup: Setup, pair: Pair, found: Passes, texts: Prompts, profile: Profile, *, against: bool, show: Show) -> Bench:
    """texts: (category, ids)."""

    def drafter() -> AnyDrafter:
        return pair.draft or pair.made or NgramDrafter()

    common = {"temperature": setup.temperature, "max_new_tokens": setup.max_new_tokens}
    runners = {
        "plain": ours(pair.model, lambda: None, {**common, "gamma": 0}),
        "speculative": ours(pair.model, drafter, {**common, "gamma": setup.gamma, "profile": profile}),
    }
    theirs: dict[str, Runner] = {}
    if against:
        draft_folder = None if pair.draft is None or pair.draft_name is None else home.find(pair.draft_name)
        peer, theirs = peers.peers(
            home.find(pair.name),
            draft_folder,
            pair.model.end_tokens,
            temperature=setup.temperature,
            max_new_tokens=setup.max_new_tokens,
            times=setup.runs,
        )
    others = {f"transformers {way}": run for way, run in theirs.items()}
    ran = race([ids for _, ids in texts], runners | others, times=setup.passes, seed=setup.seed, label="prompts")
    greedy = setup.temperature == 0
    most = max(MOST, setup.gamma if isinstance(setup.gamma, int) else len(profile.verify) - 1)
    priced = costs.Costs(found.curves[0].verify(most), found.draft_cost.c.median, found.draft_cost.lookup)
    weights = machine.weight_bytes(pair.model.network)
    outcome = results(
        texts, ran["plain"], ran["speculative"], priced, greedy=greedy, max_new_tokens=setup.max_new_tokens, most=most,
        weight_bytes=weights, draft_bytes=draft_bytes(pair, weights), bounded=pair.made is None,
    )  # fmt: skip
    show(table.categories(outcome))
    show(table.positions(outcome))
    show(table.operations(outcome))
    if not against:
        return Bench(setup, found, outcome, None)

    def compared(mine: str, way: str) -> peers.Comparison:
        return peers.comparison((mine, way), texts, ran[mine], ran[f"transformers {way}"], greedy)

    compared_all = Against(peer, tuple(compared("plain" if way == "plain" else "speculative", way) for way in theirs))
    show(table.against(compared_all))
    return Bench(setup, found, outcome, compared_all)
