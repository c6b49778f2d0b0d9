# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 2. A model is a table of chances
#
# **One idea:** a language model answers one question: given the text so far, how likely is each token to come next? Writing is dropping a
# number on a staircase.
#
# *20 minutes.* Afterwards you can read a row of probabilities, say what temperature, top-k and top-p do to it, and replay any draw
# by hand. Lessons 2 to 5 need NumPy and matplotlib alone.
#
# Our model laughs. It knows three tokens: `ha`, `ho` and `hm`. For each last token, a table holds a *row*: three chances that sum
# to 1. They are fractions, so that everything in these lessons is exact. `probs(text)` gives rows, for the places that are asked for; here it is
# one, so `[0]`. A token is its number: `ha` is 0, and `(0, 2)` is the text "ha hm".

# %% tags=["exact"]
from fractions import Fraction

import numpy as np

import refspec
import refspec.plot
from refspec import exercises
from refspec.models.sampling import top_k, top_p, with_temperature

half, third, sixth = Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)
target = refspec.TableLM({
    (): [half, third, sixth],  # at the beginning
    (0,): [sixth, half, third],  # after ha
    (1,): [half, half / 2, half / 2],  # after ho
    (2,): [2 * third, third, 0 * third],  # after hm: never hm again
})  # fmt: skip
names = "ha", "ho", "hm"
for text in ((), (0,), (1,), (2,)):
    row = target.probs(text)[0]
    print(f"after {names[text[0]] if text else 'nothing':>7}:", *row, "  sum", sum(row))

# %% [markdown]
# The course keeps the same table as `exercises.TARGET`, and the names as `exercises.NAMES`.

# %% tags=["exact"]
all((target.probs(text) == exercises.TARGET.probs(text)).all() for text in ((), (0,), (1,), (2,)))

# %% [markdown]
# ## Shaping a row
#
# *Temperature* T raises each chance to the power 1/T and divides by the sum: below 1 the likely gets likelier. *Top-k* keeps the k
# likeliest tokens. *Top-p* keeps the likeliest until together they reach p. What is kept is divided by its sum.
#
# **Predict before you run.** For 1/2, 1/3, 1/6: what does top-p with p = 0.6 leave? Does `ho` stay?


# %%
def tempered(row, temperature):
    powers = row.astype(float) ** (1 / temperature)
    return powers / powers.sum()


row = target.probs(())[0]
rows = {
    "the row": row,
    "temperature 0.5": tempered(row, 0.5),
    "top-k, k = 1": top_k(row, 1),
    "top-p, p = 0.6": top_p(row, Fraction(3, 5)),
}
refspec.plot.bars(rows, names=names, title="Each option moves chance to the likely tokens")

# %% [markdown]
# `ho` stays: `ha` alone has 1/2, which is still below 0.6. Our `tempered` is what the library does, up to one thing: the library begins
# with the logarithms of the chances, since that is what a network gives (lesson 6).

# %% tags=["exact"]
logarithms = np.log(row.astype(float))[None]
bool(np.allclose(tempered(row, 0.5), with_temperature(logarithms, 0.5)[0], rtol=0, atol=1e-12))

# %% [markdown]
# Move the slider to see temperature at work. (Without widgets, change the number 0.5 above.)

# %%
from ipywidgets import FloatSlider, interact


def at(temperature):
    rows = {"temperature 1": row, f"temperature {temperature:g}": tempered(row, temperature)}
    return refspec.plot.bars(rows, names=names, title="Colder is greedier")


slider = FloatSlider(0.5, min=0.1, max=3, step=0.1, continuous_update=False)
_ = interact(at, temperature=slider)

# %% [markdown]
# ## The staircase
#
# How does one draw from a row? Stack the chances. Drop a number u, anywhere between 0 and 1 with equal chance, and see on which
# step it lands. The step of `ha` is 1/2 high, so `ha` is hit half of the time.

# %%
title = "The height of a step is the chance to hit it"
refspec.plot.staircase(row, names=names, uniforms=[0.1, 0.6, 0.9], title=title)

# %% [markdown]
# A program that draws its own random numbers cannot be replayed by hand. Here chance is an argument. `Seeded` draws from a
# generator; a `Tape` holds numbers that *you* wrote on it.

# %% tags=["exact"]
tape = refspec.Tape([0.1, 0.6, 0.9])
[names[tape.pick(row)] for _ in range(3)]

# %% [markdown]
# *Plain decoding*, `refspec.autoregressive`, is that, again and again, with the row that belongs to the text so far; `()` is the empty text
# that it begins with. Do the next three tokens by hand first: from the start, then from the row after the first token, and so on.

# %% tags=["exact"]
tape = refspec.Tape([0.6, 0.6, 0.95])
[names[token] for token in refspec.autoregressive(target, (), max_new_tokens=3, chance=tape)]

# %% [markdown]
# ## Exercise 1: pick
#
# Write the staircase. `weights` need not sum to 1, so the number that lands is u times their sum. Return the index of the step. A step begins
# where the one before ends; its end belongs to the next one, and a weight of 0 must never be picked.


# %% tags=["exercise"]
def pick(u, weights): ...  # your code: an index


# %% tags=["check"]
exercises.pick(pick)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep a running sum. Return the first index at which it is *above* `u * sum(weights)`.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def pick(u, weights):
#     level = 0
#     for index, weight in enumerate(weights):
#         level += weight
#         if level > u * sum(weights):
#             return index
# ```
# </details>

# %% [markdown]
# ## Exercise 2: top-p
#
# Keep a token if what ranks *above* it has less than p together. Then divide what is kept by its sum. `row` is an array.


# %% tags=["exercise"]
def my_top_p(row, p): ...  # your code: a row in the same order


# %% tags=["check"]
exercises.top_p(my_top_p)

# %% [markdown]
# <details><summary>Hint</summary>
#
# For a token of chance x, what ranks above it is `row[row > x].sum()` (there are no ties here).
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_top_p(row, p):
#     kept = np.array([x if row[row > x].sum() < p else 0 * x for x in row])
#     return kept / kept.sum()
# ```
# </details>
#
# ## What would break if ...
#
# ... the draft and the target shaped their rows differently? Nothing, as long as each *says* which row it drew from. If a draft draws
# after top-k and shows the row from before, the text is wrong. Lesson 9 has a bug of that kind.
#
# ## Three questions
#
# 1. What is the row at temperature 0?
# 2. Which u gives `hm` at the beginning?
# 3. How many numbers does a text of ten tokens consume?
#
# <details><summary>Answers</summary>
#
# 1. All chance on the likeliest token: 1, 0, 0. (By definition: one cannot divide by 0.)
# 2. From 5/6 up to, and without, 1.
# 3. Ten, in plain decoding.
# </details>
