# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 3. Guess and check
#
# **One idea:** where two distributions overlap, a guess from one is as good as a draw from the other. What is left over repairs the rest.
#
# *20 minutes.* Afterwards you can say how often a guess is kept, and why the result has *exactly* the target's chances, however bad
# the draft is.
#
# From here on **p** is the target's row and **q** the draft's.

# %% tags=["exact"]
import numpy as np

import refspec
import refspec.plot
from refspec import exercises

p, q, names = exercises.TARGET.probs(())[0], exercises.DRAFT.probs(())[0], exercises.NAMES
for name, target_chance, draft_chance in zip(names, p, q):
    print(f"{name}:  p = {target_chance}   q = {draft_chance}")

# %% [markdown]
# The draft says `hm` half of the time; the target wants it once in six. If every guess were kept, `hm` would come three times too
# often. So some must be sent back. The rule:
#
# > Draw a guess x from q. Draw u between 0 and 1. **Keep x if u q(x) < p(x).** Else throw it away, and draw from what p has left over.
#
# Think of throwing a dart at the bars of q: the guess chooses the bar, and u the height. If the dart lies under p as well, it is kept.
#
# **Predict before you run.** The guess is `hm`, token 2, and u = 0.5. Is it kept?

# %%
refspec.plot.overlap(p, q, names=names, coin=(2, 0.5))

# %% [markdown]
# u q = 1/4 is above p = 1/6: rejected. Move the coin. (Without widgets, change `(2, 0.5)` above.)

# %%
from ipywidgets import FloatSlider, interact


def coin(guess, u):
    return refspec.plot.overlap(p, q, names=names, coin=(names.index(guess), u))


slider = FloatSlider(0.3, min=0, max=0.99, step=0.01, continuous_update=False)
_ = interact(coin, guess=list(names), u=slider)

# %% [markdown]
# **Left:** the green area is min(p, q), what the two share. A dart lands there with chance 2/3: that is the **acceptance rate**.
#
# **Right:** what comes out. Green is there already. What p has beyond it is the **residual**, max(p - q, 0). Its area is what p
# and q do *not* share, so 1/3; and that is just how often a guess is rejected. So drawing from the residual after a rejection fills p
# up exactly. Nothing else in speculative decoding is deep.
#
# In the library, `chance.accept(p, q)` is the coin and `chance.pick(weights)` the staircase of lesson 2. `refspec.law` runs a program along
# every way its questions can be answered, and adds up what each way weighs: the chance of each result. It gives fractions, not samples.


# %% tags=["exact"]
def guess_and_check(chance):
    guess = chance.pick(q)
    if chance.accept(p[guess], q[guess]):
        return guess
    return chance.pick(refspec.verify.residual(p, q))


found = refspec.law(guess_and_check)
{names[token]: f"{found[token]} = {p[token]}" for token in sorted(found)}

# %% [markdown]
# Not close to p: p.
#
# ## Exercise 1: the acceptance rate
#
# How often is a guess kept? Give the number for any rows p and q, exactly.


# %% tags=["exercise"]
def acceptance(p, q): ...  # your code: one number


# %% tags=["check"]
exercises.acceptance(acceptance)

# %% [markdown]
# <details><summary>Hint</summary>
#
# It is the green area: at each token, the lower of the two bars.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def acceptance(p, q):
#     return sum(min(a, b) for a, b in zip(p, q))
# ```
# </details>

# %% [markdown]
# ## Exercise 2: the residual
#
# What is left of p, token by token? (Any sum will do: `pick` divides by it.)


# %% tags=["exercise"]
def residual(p, q): ...  # your code: a row


# %% tags=["check"]
exercises.residual(residual)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Take away what was given out already, min(p, q). Where q is larger, nothing is left.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def residual(p, q):
#     return np.maximum(p - q, 0)
# ```
# </details>
#
# ## What would break if ...
#
# ... a rejected guess were replaced by a fresh draw from p? It looks innocent, and it has been shipped. Run it.


# %% tags=["exact"]
def from_p(chance):
    guess = chance.pick(q)
    return guess if chance.accept(p[guess], q[guess]) else chance.pick(p)


found = refspec.law(from_p)
{names[token]: f"{found[token]}, and should be {p[token]}" for token in sorted(found)}

# %% [markdown]
# `ha` comes too seldom: it was owed the whole residual's share, and got only a part.
#
# ## Three questions
#
# 1. p and q are equal. How often is a guess kept?
# 2. p and q share no token. Is the result still exact?
# 3. The draft always guesses `hm`, with q = 0, 0, 1. How often is it kept?
#
# <details><summary>Answers</summary>
#
# 1. Always.
# 2. Yes: every guess is rejected, and the residual is p itself. Exact, and useless.
# 3. Once in six: p(hm). A guess that was not drawn is kept as often as the target would have said it.
# </details>
