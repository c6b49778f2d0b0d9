# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 10. Find the bug
#
# **One idea:** every mistake leaves its mark on the distribution. If you can compute the distribution, you can tell them apart.
#
# *40 minutes.* Afterwards you can put any rule, and your own engine, under the microscope.

# %%
from fractions import Fraction

import refspec
import refspec.plot
from refspec import exercises

target, draft, names = exercises.TARGET, exercises.DRAFT, exercises.NAMES
suspects = exercises.suspects()


def plain(chance):
    return refspec.autoregressive(target, (), max_new_tokens=3, chance=chance)


wanted = refspec.law(plain)

# %% [markdown]
# ## Ten suspects
#
# `suspects` holds ten rules, A to J, each with one bug that people have shipped. You may run them, and not read them. These are the bugs:

# %% tags=["exact"]
for name, bug in exercises.ZOO.items():
    print(f"{name:24} {bug.what}")

# %% [markdown]
# Your instruments. `texts` gives the chance of every text of three tokens; `one` looks at a single round. Both take the gamma you like.
# `distance` is how far the texts are off: their total variation (lesson 4).
#
# **Predict before you run.** Which bugs show when nothing is drafted (gamma = 0)? Which when one token is?


# %%
def texts(rule, gamma):
    drafter = refspec.ModelDrafter(draft)
    return refspec.sequence_law(target, drafter, gamma=gamma, max_new_tokens=3, verify=rule)


def one(rule, gamma):
    """{(accepted, tokens): chance} of one round."""

    def program(chance):
        options = {"gamma": gamma, "max_new_tokens": gamma + 1, "verify": rule}
        drafter = refspec.ModelDrafter(draft)
        made = refspec.speculative(target, drafter, (), chance=chance, **options)
        return made.rounds[0].accepted, made.rounds[0].tokens

    return refspec.law(program)


def distance(rule, gamma):
    return refspec.exact.total_variation(texts(rule, gamma), wanted)


# %%
for letter, rule in suspects.items():
    apart = [str(distance(rule, gamma)) for gamma in (0, 1, 2)]
    kept = sum(weight for (accepted, _), weight in one(rule, 1).items() if accepted)
    print(letter, " distance at gamma 0, 1, 2:", *apart, "  first guess kept:", kept)

# %% [markdown]
# Only one rule is wrong with gamma = 0: it spoils the plain pick. The correct rule keeps the first guess with 2/3; a rule with the right test and a wrong
# replacement keeps as many. G is exact as long as one token is guessed. With two, one text comes more than twice as often as it should:

# %%
refspec.plot.texts(texts(suspects["G"], 2), wanted, names=names)

# %% [markdown]
# ## Exercise 1: name them
#
# Fill in what you find. The checker says how many are right, and shows where the first wrong name differs.

# %% tags=["exercise"]
accusations = {"A": "always-accepts"}

# %% tags=["check"]
exercises.accuse(accusations)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `one(suspects["A"], 1)`: is a guess kept always? Never? Is a kept `hm`, which has p < q, possible?
# </details>
#
# <details><summary>Hint 2</summary>
#
# You have the ten bugs as rules as well, `exercises.ZOO[name].rule`. Two rules with the same `texts` are the same bug.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# accusations = {
#     letter: name
#     for letter, rule in suspects.items()
#     for name, bug in exercises.ZOO.items()
#     if texts(rule, 2) == texts(bug.rule, 2)
# }
# print(accusations)
# ```
# </details>

# %% [markdown]
# ## Rules that are different, and right
#
# There is more than one exact rule. `sample_match` draws the target's token first and keeps the guess if it is the same. `block` decides on a
# whole draft at once, and keeps more. `coupled` gives target and draft the same noise.

# %% tags=["exact"]
for name in ("token", "block", "sample_match"):
    rule = getattr(refspec.verify, name)
    kept = sum(weight * accepted for (accepted, _), weight in one(rule, 2).items())
    print(f"{name:13} distance {distance(rule, 2)}   guesses kept a round: {kept}")

# %% [markdown]
# ## Rules that are wrong on purpose
#
# *Lenience* makes q smaller in the test, so that more is kept. It is inexact, and counting says by exactly how much. (In one call, for any
# rule: `refspec.distance.text_distance`.)

# %%
off, kept = {}, {}
for factor in (Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 4)):
    rule = refspec.verify.inexact_lenience(factor)
    off[float(factor)] = distance(rule, 2)
    one_round = one(rule, 1).items()
    kept[float(factor)] = sum(weight for (accepted, _), weight in one_round if accepted)
title = "What lenience gains in kept guesses, it pays in distance"
curves = {"first guess kept": kept, "distance of the texts": off}
refspec.plot.lines(curves, x="lenience (1 is exact)", y="chance", title=title)

# %% [markdown]
# ## Your own engine
#
# An engine that samples can be sampled only. If its questions to chance go through an argument, it can be enumerated. Here is one in somebody
# else's style. (An engine that takes its draws from a NumPy generator it is given need not even be changed: `refspec.conformance` puts
# its own generator in place of that one.)


# %% tags=["exact"]
def somebody_elses_engine(p, q, chance):
    """Returns the token that comes out of one guess."""
    guess = chance.pick(q)
    ratio = p[guess] / q[guess]
    if chance.accept(min(ratio, 1), 1):
        return guess
    leftover = [max(a - b, 0) for a, b in zip(p, q)]
    return chance.pick([each / sum(leftover) for each in leftover])


p, q = target.probs(())[0], draft.probs(())[0]
found = refspec.law(lambda chance: somebody_elses_engine(p, q, chance))
[str(found[token] - p[token]) for token in range(3)]

# %% [markdown]
# ## Exercise 2: how far off?
#
# Write the distance of two rows: how far apart are they, from 0 to 1?


# %% tags=["exercise"]
def total_variation(a, b): ...  # your code: a fraction


# %% tags=["check"]
exercises.total_variation(total_variation)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What one row has too much of, the other has too little of. So count one half.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def total_variation(a, b):
#     return sum(abs(x - y) for x, y in zip(a, b)) / 2
# ```
# </details>
#
# ## What would break if ...
#
# ... you tested by sampling? `residual-of-next-row` moves the texts above by 19/648, less than 3 in 100. To see that among 22 texts takes
# thousands of samples, and a difference of a tenth of it a hundred times as many. Counting sees it at once.
#
# ## Three questions
#
# 1. Two rules give all texts the same chances. Are they the same rule?
# 2. A bug shows at gamma = 2 and not at gamma = 1. What can it be about?
# 3. The distance of one token is 1/100. How far off can a text of 100 tokens be?
#
# <details><summary>Answers</summary>
#
# 1. No: token, block and sample_match do, and keep different numbers of guesses.
# 2. What lies behind the first guess: the second test, the order, going on after a rejection.
# 3. Nearly as far as can be: up to 1 - 0.99^100, which is 0.63.
# </details>
#
# **That is the course.** `refspec prove` does what you did here on random models, and the test suite holds many more bugs than ten.
