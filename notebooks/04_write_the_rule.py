# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 4. Write the rule yourself
#
# **One idea:** the whole of speculative decoding's correctness sits in one short function. You write it, and it is graded exactly.
#
# *30 minutes.* Afterwards you have written the rule of the paper ([Leviathan et al.](https://arxiv.org/abs/2211.17192), Algorithm 1)
# and broken it in a few ways that people have shipped.
#
# The grader does not sample. It runs *your function* along every branch, over fractions, and adds up what comes out. Where that is wrong, it
# names the worst text and says how far off the whole is: the *total variation*, half the sum of all differences. It is 0 for equal
# distributions, and 1 for those that share nothing.

# %%
from refspec.verify import Verdict, residual

import refspec
import refspec.plot
from refspec import exercises

p, q, names = exercises.TARGET.probs(())[0], exercises.DRAFT.probs(())[0], exercises.NAMES

# %% [markdown]
# ## Exercise 1: one token
#
# `drafted` was drawn from q. Say which token comes out. You have two questions to chance: `chance.accept(a, b)`, true with probability
# min(1, a / b), and `chance.pick(weights)`. And you have `residual(p, q)` from lesson 3.
#
# **Predict before you run.** Return `drafted`, always, and run the check. Which token will come too often?


# %% tags=["exercise"]
def one_token(drafted, p, q, chance): ...  # your code: a token


# %% tags=["check"]
exercises.one_token(one_token)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Ask `chance.accept` with p and q *of the drafted token*.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def one_token(drafted, p, q, chance):
#     if chance.accept(p[drafted], q[drafted]):
#         return drafted
#     return chance.pick(residual(p, q))
# ```
# </details>

# %% [markdown]
# ## A whole draft
#
# The loop drafts several tokens and calls a *rule* once. The rule sees
#
# - `draft.tokens`, the guesses, and `draft.probs`, the row that each was drawn from: row i of q;
# - `target_probs`, one row **more**: row i is p for the place of guess i, and the last row is p behind the whole draft.
#
# It returns `Verdict(accepted, token)`: how many guesses stay, and the target's own token behind them. If guess i is
# rejected, that is a draw from the residual of row i. If all stay, it is the **bonus**: a draw from the last row.
#
# | place | 0 | 1 | behind |
# |---|---|---|---|
# | guess | `draft.tokens[0]` | `draft.tokens[1]` | |
# | q | `draft.probs[0]` | `draft.probs[1]` | |
# | p | `target_probs[0]` | `target_probs[1]` | `target_probs[2]` |
#
# ## Exercise 2: the rule


# %% tags=["exercise"]
def rule(draft, target_probs, chance): ...  # your code: a Verdict


# %% tags=["check"]
exercises.rule(rule)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Go through the guesses in order. The first rejection ends the round.
# </details>
#
# <details><summary>Hint 2</summary>
#
# `for i, drafted in enumerate(draft.tokens):` and inside it exercise 1, with row i of both. The bonus comes behind the loop.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def rule(draft, target_probs, chance):
#     for i, drafted in enumerate(draft.tokens):
#         p, q = target_probs[i], draft.probs[i]
#         if not chance.accept(p[drafted], q[drafted]):
#             return Verdict(i, chance.pick(residual(p, q)))
#     return Verdict(len(draft.tokens), chance.pick(target_probs[-1]))
# ```
# </details>
#
# Yours may differ: any function is right that gives every text its chance and keeps as many guesses as can be kept.
#
# ## A bug, looked at
#
# Here is a rule that replaces a rejected token by a fresh draw from p. The grader knows it.


# %% tags=["exact"]
def fresh(draft, target_probs, chance):
    for i, drafted in enumerate(draft.tokens):
        if not chance.accept(target_probs[i][drafted], draft.probs[i][drafted]):
            return Verdict(i, chance.pick(target_probs[i]))
    return Verdict(len(draft.tokens), chance.pick(target_probs[-1]))


exercises.rule(fresh)

# %% [markdown]
# The picture has a point for every text of three tokens. Rightwards is the chance it should have: `law` of lesson 3 over plain decoding.
# Upwards is the chance it has: `sequence_law` does the same for the loop around a rule (lesson 5 says how). `ModelDrafter` makes a
# guesser of a model.


# %%
def plain(chance):
    return refspec.autoregressive(exercises.TARGET, (), max_new_tokens=3, chance=chance)


wanted = refspec.law(plain)
drafter = refspec.ModelDrafter(exercises.DRAFT)
found = refspec.sequence_law(exercises.TARGET, drafter, gamma=2, max_new_tokens=3, verify=fresh)
refspec.plot.texts(found, wanted, names=names)

# %% [markdown]
# ## Exercise 3: break it
#
# Write a rule that looks right and is not, and grade it by `exercises.rule(...)`, as above. Does the grader know it? It knows these ten:

# %% tags=["exact"]
for name, bug in exercises.ZOO.items():
    print(f"{name:24} {bug.what}")

# %% [markdown]
# <details><summary>Solution</summary>
#
# There are ten. The shortest: `return Verdict(len(draft.tokens), chance.pick(target_probs[-1]))`, which is `always-accepts`.
# </details>
#
# ## What would break if ...
#
# ... the rule went on testing behind a rejection, and counted what passes there? Each test alone is right. But a guess behind a
# rejected one was drawn for another text. The grader calls it `goes-on-after-rejection`.
#
# ## Three questions
#
# 1. Why is there one more row of p than of q?
# 2. A rule ignores the draft and draws from `target_probs[0]`. Is it exact?
# 3. The test uses u q < p and not u < p / q. Where does that matter?
#
# <details><summary>Answers</summary>
#
# 1. The target has looked at the text behind the whole draft as well, at no extra call. That row gives the bonus.
# 2. Yes, and it gains nothing: the grader says how many guesses it keeps.
# 3. Where q is tiny, a quotient may overflow or round. On paper they are the same.
# </details>
