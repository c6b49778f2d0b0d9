"""What was measured, for a person: lines and columns, every figure with its unit."""

from collections.abc import Sequence

from refspec.bench.clock import Spread
from refspec.bench.costs import Curve, DraftCost, LookupCost
from refspec.bench.machine import Loading, Machine, Roofline
from refspec.bench.parts import Against, Setup
from refspec.bench.passes import ContextCost, Decode, Prefill
from refspec.bench.results import Results, Speed
from refspec.bench.users import UsersBench, Way
from refspec.brief import counted
from refspec.cli.output import number


def spread(found: Spread, digits: int, unit: str = "") -> str:
    return f"{found.median:.{digits}f}{unit and ' '}{unit} ({found.least:.{digits}f} to {found.most:.{digits}f})"


def heading(setup: Setup, machine: Machine) -> str:
    drafts = "n-gram lookup" if setup.draft is None else setup.draft
    left_out = f"; {setup.left_out} too long for the context left out" if setup.left_out else ""
    threads = counted(machine.threads, "thread") if machine.threads else "unknown threads"
    return "\n".join(
        [
            f"{setup.model}{', row-invariant' if setup.row_invariant else ''}, drafts by {drafts}, gamma {setup.gamma}, "
            f"temperature {setup.temperature:g}, up to {setup.max_new_tokens} new tokens, seed {setup.seed}",
            f"{machine.processor}, numpy {machine.numpy}, BLAS kernel {machine.kernel}, {threads}",
            *([] if setup.profile is None else [f"gamma by {setup.profile}"]),
            f"prompts: {setup.prompts}, {'as a chat' if setup.chat else 'as plain text'}, {setup.passes} pass"
            f"{'es' if setup.passes > 1 else ''}{left_out}",
            f"Everything takes turns; figures are medians of at least {setup.runs} runs (smallest to largest).",
        ]
    )


def speeds(loading: Loading, prefill: Sequence[Prefill], roofline: Roofline, decode: Decode) -> str:
    peak = "unknown" if loading.peak_bytes is None else f"{loading.peak_bytes / 1e6:.0f} MB"
    raised = loading.loading_bytes
    memory = "" if raised is None else f", {raised / 1e6:.0f} MB more memory, {raised / loading.weight_bytes:.2f} of the weights"
    lines = [
        f"\nloading        {loading.load_seconds:.2f} s, once{memory}; peak after a prefill {peak}",
        *(f"prefill        {spread(each.tokens_per_second, 0, 'tokens/s')}, {each.tokens} tokens" for each in prefill),
        f"bandwidth      {spread(roofline.gb_per_second, 1, 'GB/s')}, read by a float32 matrix-vector product of "
        f"{roofline.matrix_bytes / 1e6:.0f} MB",
        f"roofline       {roofline.least_ms:.2f} ms a token at least, to read {loading.weight_bytes / 1e6:.1f} MB of weights"
        + (" (which may stay in the cache: no bound here)" if roofline.weights_may_stay_in_cache else ""),
        f"decoding       {spread(decode.tokens_per_second, 1, 'tokens/s')}, {spread(decode.ms, 2, 'ms')} a token behind "
        f"{decode.context} tokens",
        f"               {spread(decode.of_roofline, 2)} of the roofline's speed",
    ]
    return "\n".join(lines)


def curves(found: Sequence[Curve], draft: DraftCost, floor_ms: float | None = None) -> str:
    """floor_ms: what reading the weights once takes at least; without it, nothing is said of it."""
    names = [" row-invariant" if curve.row_invariant else "" for curve in found]
    units = "" if floor_ms is None else f"; floor: in units of {floor_ms:.2f} ms, in which the weights are read once"
    floor = "" if floor_ms is None else f"{'floor':>7}"
    lines = [
        f"\nrows in one call of the target, behind {found[0].context} tokens; v is the cost in units of one row{units}",
        "rows" + "".join(f"{'ms' + name:>28}{'v' + name:>23}{floor}" for name in names),
    ]
    for points in zip(*(curve.points for curve in found), strict=True):
        figures = (
            f"{spread(point.ms, 2):>28}{spread(point.v, 2):>23}" + (f"{point.ms.median / floor_ms:>7.2f}" if floor_ms else "")
            for point in points
        )
        lines.append(f"{points[0].rows:>4}" + "".join(figures))
    what = "one lookup" if draft.lookup else "one drafted token"
    return "\n".join([*lines, f"draft cost c = {spread(draft.c, 4)} plain steps: {what} takes {spread(draft.ms, 3, 'ms')}"])


def contexts(steps: Sequence[ContextCost], lookups: Sequence[LookupCost]) -> str:
    by_context = {each.context: spread(each.ms, 2) for each in steps}
    lines = [f"\n{'tokens of context':>17}{'decoding one, ms':>26}{'an n-gram lookup, µs':>26}"]
    for each in lookups:
        lines.append(f"{each.context:>17}{by_context.get(each.context, '-'):>26}{spread(each.microseconds, 1):>26}")
    return "\n".join(lines)


def categories(found: Results) -> str:
    """Speed-ups are over plain decoding; the spread in brackets is that of the single prompts."""
    lines = [
        "\ndecoding, without the prefill; speed-up: of the category (slowest prompt to fastest)",
        f"{'category':<15}{'prompts':>8}{'plain':>9}{'drafted':>9}  {'speed-up':<21}{'predicted':>9}{'bound':>7}"
        f"{'tokens':>8}{'accepted':>10}{'same':>6}{'prefill s':>14}",
        f"{'':<15}{'':>8}{'tok/s':>9}{'tok/s':>9}  {'':<21}{'':>9}{'':>7}{'/call':>8}{'':>10}{'text':>6}{'plain, drafted':>16}",
    ]
    for each in found.categories:
        lines.append(
            f"{each.category[:14]:<15}{each.prompts:>8}{number(each.plain_tokens_per_second, 1):>9}"
            f"{number(each.tokens_per_second, 1):>9}  {speed(each.speed_up):<21}{number(each.predicted, 2):>9}"
            f"{number(each.bound, 2):>7}{number(each.tokens_per_call, 2):>8}{number(each.acceptance_rate, 3):>10}"
            f"{'-' if each.identical is None else each.identical:>6}"
            f"{each.plain_prefill_seconds:>8.2f}{each.prefill_seconds:>6.2f}"
        )
    lines.append(
        f"{'geometric mean':<41}  {number(found.speed_up, 2):<21}{number(found.predicted, 2):>9}{number(found.bound, 2):>7}"
    )
    if found.worst and found.best:
        lines.append(f"worst {found.worst[0]} {found.worst[1]:.2f}, best {found.best[0]} {found.best[1]:.2f}")
    if found.bound is not None:
        lines.append(
            f"bound: every round's gamma chosen by hindsight; measured {number(found.of_bound, 2)} of it, "
            f"predicted {number(found.predicted_of_bound, 2)}"
        )
    identical = [each.identical for each in found.categories if each.identical is not None]
    if identical:
        lines.append(
            f"{sum(identical)} of {sum(each.prompts for each in found.categories)} prompts got plain decoding's very tokens"
        )
    return "\n".join(lines)


def operations(found: Results) -> str:
    lines = [f"\n{'a decoded token':<17}{'target calls':>13}{'rows':>7}{'MB read':>9}{'GFLOP':>7}"]
    for name, each in (("plain", found.plain_operations), ("drafted", found.operations)):
        if each is not None:
            lines.append(f"{name:<17}{each.calls:>13.3f}{each.rows:>7.2f}{each.megabytes:>9.0f}{each.gigaflops:>7.3f}")
    return "\n".join(lines)


def speed(found: Speed) -> str:
    return f"{number(found.times, 2)} ({number(found.slowest, 2)} to {number(found.fastest, 2)})"


def positions(found: Results) -> str:
    if not found.positions:
        return "\nnothing was drafted"
    lines = [
        "\nacceptance by position in the draft, of those tested",
        "position  tested  accepted   rate  95 % interval (Wilson)",
    ]
    for each in found.positions:
        interval = f"{each.least:.3f} to {each.most:.3f}"
        lines.append(f"{each.position:>8}{each.tested:>8}{each.accepted:>10}{each.acceptance_rate:>7.3f}  {interval}")
    return "\n".join(lines)


def against(found: Against) -> str:
    peer = found.peer
    lines = [
        f"\nagainst transformers {peer.transformers}, torch {peer.torch}, {peer.threads} threads, float32, attention "
        f"{peer.attention}",
        f"(eager {spread(peer.eager_ms, 1, 'ms')} a token, sdpa {spread(peer.sdpa_ms, 1, 'ms')})",
        f"{'ours':<12} {'theirs':<14}{'theirs tok/s':>13}  ours / theirs, geometric mean (smallest to largest category)",
    ]
    for each in found.comparisons:
        same = "" if each.identical is None else f"; {each.identical} prompts with the same tokens"
        ratio = f"{number(each.times, 2)} ({number(each.least, 2)} to {number(each.most, 2)})"
        lines.append(f"{each.ours:<12} {each.theirs:<14}{number(each.tokens_per_second, 1):>13}  {ratio}{same}")
    return "\n".join(lines)


def users(found: UsersBench) -> str:
    """A line for each number of users, and what fourfold users at one's speed would take."""
    v = {point.rows: point.v.median for point in found.curve.points}
    lines = [
        "\nusers at once, while all are there: tokens/s of all, in brackets what v promises, and of each;",
        "first: seconds to the first token, median (smallest to largest)",
        f"users{'v':>7}  {'plain, of all':<17}{'each':>6}  {'first':<22}{'drafted, of all':<17}{'each':>6}  {'first':<22}"
        f"{'speed-up':<13}tokens/call",
    ]
    for each in found.users:
        gain = f"{number(each.speed_up, 2)} ({number(each.predicted, 2)})"
        lines.append(
            f"{each.users:>5}{number(v.get(each.users), 2):>7}  {way(each.plain)}{way(each.speculative)}"
            f"{gain:<13}{number(each.tokens_per_call, 2)}"
        )
    gain = f"drafts lose from {found.crossing} users on" if found.crossing else "drafts lose at none of these numbers"
    lines.append(f"speed-up: of a user by drafts, geometric mean over the texts, in brackets what v promises; {gain}")
    lines.append("\nfour users, each as fast as one is plainly: a round has to yield what its pass costs, v(4 (gamma + 1))")
    for four in found.fourfold:
        needed = "no acceptance is enough" if four.acceptance is None else f"an acceptance of {four.acceptance:.2f}"
        lines.append(f"  gamma {four.gamma}: {four.rows} rows cost {four.cost:.2f} of {four.gamma + 1} tokens at most: {needed}")
    return "\n".join(lines)


def way(found: Way) -> str:
    total = f"{number(found.tokens_per_second, 1)} ({number(found.predicted, 1)})"
    return f"{total:<17}{number(found.a_user, 1):>6}  {spread(found.first, 2):<22}"
