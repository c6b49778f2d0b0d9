# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 5. Proof by counting
#
# **One idea:** a program that asks chance a finite number of questions has finitely many branches. Run them all, and you *know* its
# distribution.
#
# *25 minutes.* Afterwards you can check any decoding program exactly, and say why one exact round makes all texts exact.

# %%
from fractions import Fraction

import refspec
import refspec.plot
from refspec import exercises

target, draft, names = exercises.TARGET, exercises.DRAFT, exercises.NAMES

# %% [markdown]
# ## Every branch
#
# `refspec.law` calls a program again and again. At each question to chance it gives one possible answer, and puts the others aside for
# later calls. A branch weighs the product of its answers' chances. Here is a program with two questions.
#
# **Predict before you run.** What are the chances of 0, 1 and 2?

# %% tags=["exact"]
refspec.law(lambda chance: chance.pick([1, 2]) + chance.pick([1, 2]))

# %% [markdown]
# Now a program that matters: one round of `refspec.speculative`, the loop as it ships, with two guesses. Each line is an outcome; the weights
# sum to one.


# %% tags=["exact"]
def one_round(chance):
    drafter = refspec.ModelDrafter(draft)
    made = refspec.speculative(target, drafter, (), gamma=2, max_new_tokens=3, chance=chance)
    return made.rounds[0].tokens


found = refspec.law(one_round)
for tokens, weight in sorted(found.items())[:6]:
    print(" ".join(names[token] for token in tokens).ljust(9), weight)
print("...", len(found), "outcomes; they sum to", sum(found.values()))

# %% [markdown]
# A round yields one to three tokens. How can that have "the target's distribution"? Look at its first token alone:

# %% tags=["exact"]
first = [Fraction(0)] * 3
for tokens, weight in found.items():
    first[tokens[0]] += weight
print(*first, "  and p is ", *target.probs(())[0])

# %% [markdown]
# ## From one round to whole texts
#
# **If** a round emits some tokens, each of which, *given the text before it*, has the target's chances, and the next round starts
# from the text that is there, **then** every text has the target's chance: the product of its rows. That is an induction over the tokens;
# [docs/exactness.md](../docs/exactness.md) writes it out. How many tokens a round emits does not matter, as long as *where it ends*
# is decided by what is already emitted or thrown away.
#
# We need not believe it. `sequence_law` enumerates the loop for whole texts. It uses the induction: where two branches lead to one text, it goes on
# from there once, with their weights added.


# %%
def plain(chance):
    return refspec.autoregressive(target, (), max_new_tokens=4, chance=chance)


wanted = refspec.law(plain)
found = refspec.sequence_law(target, refspec.ModelDrafter(draft), gamma=3, max_new_tokens=4)
refspec.plot.texts(found, wanted, names=names)

# %% tags=["exact"]
largest = max(abs(found[text] - wanted[text]) for text in wanted)
print(len(found), "texts, largest difference", largest)

# %% [markdown]
# That zero is a fraction: the integer zero, not a small number.
#
# ## Exercise 1: the chance of a text
#
# Give the chance that a model writes `text`, a tuple of tokens. `model.probs(tokens)[0]` is the row behind these tokens.


# %% tags=["exercise"]
def text_chance(model, text): ...  # your code: a fraction


# %% tags=["check"]
exercises.text_chance(text_chance)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Multiply. Token i has its chance in the row behind `text[:i]`.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def text_chance(model, text):
#     chance = Fraction(1)
#     for i, token in enumerate(text):
#         chance *= model.probs(text[:i])[0][token]
#     return chance
# ```
# </details>

# %% [markdown]
# ## Exercise 2: how long is a round?
#
# The letters of the papers: *gamma* is how many guesses a round has, and *alpha* the chance that a guess is kept, if all before it were. How
# many tokens does a round emit on average?


# %% tags=["exercise"]
def expected_tokens(alpha, gamma): ...  # your code


# %% tags=["check"]
exercises.expected_tokens(expected_tokens)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The target's own token is always there. The i-th guess is there with chance alpha to the power i. Averages add.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def expected_tokens(alpha, gamma):
#     return 1 + sum(alpha**i for i in range(1, gamma + 1))
# ```
# </details>
#
# ## What would break if ...
#
# ... a text ended early, at a stop token, and the program looked for it only at the end of a round? Nothing in *one* round would look
# wrong. Only whole texts show it. So the tests enumerate whole texts.
#
# ## Three questions
#
# 1. What does counting prove, and what not?
# 2. Why fractions and not floats?
# 3. How many branches does a round with two guesses over three tokens have, at most?
#
# <details><summary>Answers</summary>
#
# 1. It proves that this code is exact on *this* pair of models. That it is for all pairs is algebra (lesson 3).
# 2. With floats a difference of 1e-17 could be rounding or a bug. With fractions a difference is a bug.
# 3. Nine drafts. Each ends in a rejection at the first guess, at the second, or in none, with three tokens to draw: 9 * 3 * 3 = 81.
#    Many have chance 0.
# </details>
