# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 1. See it
#
# **One idea:** a small model guesses, a large one checks, and one check can yield several tokens.
#
# *15 minutes.* You need Python and a little probability. Afterwards you can say, of any speculated text, which token was drafted,
# which was kept, and who paid for it.
#
# Two models from inside the package write Shakespeare together. A *token* is a piece of text, and a model writes one at a time. The
# *target* is the model whose text we want. The *draft* model is ten times cheaper and not as good. In each *round* the draft
# guesses four tokens, and the target looks at all four in **one call**. It keeps the first few, as many as pass its test, and adds one token
# of its own. Calls of the target are what takes the time.
#
# In the call below `gamma` is how many tokens are guessed a round, `seed` makes the run repeatable, and `record` keeps what was compared.
# `temperature` comes in lesson 2; 1 leaves the models as they are.

# %%
import refspec
import refspec.plot
from refspec import exercises

out = refspec.generate(
    "tiny-target",
    "ROMEO:",
    drafter="tiny-draft",
    gamma=4,
    max_new_tokens=60,
    temperature=1.0,
    seed=1,
    record=True,
)

# %% [markdown]
# **Predict before you run.** The text has 60 tokens. Without guesses that is 60 calls of the target. How many will it be with them? The best
# case is 60 / 5 = 12. Write your number down, then run the next cell.

# %%
len(out.rounds)

# %% [markdown]
# Here is the text, coloured by the fate of its tokens. Tick the box to see what was thrown away. Hover over a token to see what was
# compared for it: lesson 3 says what p, q and u are.

# %%
out

# %% [markdown]
# Three fates: **accepted**, a guess that stayed; **corrected**, the target's own token in place of a rejected guess; **bonus**, the target's
# own token after a draft that was kept whole. Each round ends with exactly one token of the target's. The picture shows all rounds. What
# lies below the line was drafted in vain: behind the first rejected guess everything is thrown away, right or not.

# %%
refspec.plot.rounds(out.rounds, title="Every call yields at least one token, and often more")

# %% [markdown]
# A round is a small record. `draft_tokens` are the guesses (numbers; the tokenizer turns them into text), `drafted` says how many they
# are and `accepted` how many were kept, `token` is the target's own, and `tokens` is all that the round emitted.

# %%
first = out.rounds[0]
print(first)
print("guessed:", repr(out.tokenizer.decode(first.draft_tokens)))
print("emitted:", repr(out.tokenizer.decode(first.tokens)))

# %% [markdown]
# ## Exercise 1: tokens per call
#
# How many tokens did a call of the target yield, on average? `rounds` is a list like `out.rounds`. Run the check before you begin, and
# after each try: it says what is wrong.


# %% tags=["exercise"]
def tokens_per_call(rounds): ...  # your code: a number


# %% tags=["check"]
exercises.tokens_per_call(tokens_per_call)

# %% [markdown]
# <details><summary>Hint</summary>
#
# There is one call a round, and a round emits `each.accepted` guesses and one more token. Add up over all rounds.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def tokens_per_call(rounds):
#     return sum(each.accepted + 1 for each in rounds) / len(rounds)
# ```
# </details>

# %% [markdown]
# ## Exercise 2: the acceptance rate
#
# Of the guesses that were *tested*, how many were kept? Testing ends at the first rejection: of four guesses with two kept, three were
# tested. If all four are kept, four were tested.


# %% tags=["exercise"]
def acceptance_rate(rounds): ...  # your code


# %% tags=["check"]
exercises.acceptance_rate(acceptance_rate)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A round tests `min(each.drafted, each.accepted + 1)` guesses.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def acceptance_rate(rounds):
#     tested = sum(min(each.drafted, each.accepted + 1) for each in rounds)
#     return sum(each.accepted for each in rounds) / tested
# ```
# </details>
#
# The library keeps both numbers: look at `out.stats`.

# %%
print(out.stats.tokens_per_target_call, out.stats.acceptance_rate)

# %% [markdown]
# ## What would break if ...
#
# ... the target kept a later guess although an earlier one was rejected? The later guess was made for a text that no longer exists.
# Lesson 10 shows what such a program writes.
#
# ## Three questions
#
# 1. Can speculation need *more* calls of the target than plain decoding?
# 2. What is the most that a round with four guesses can yield? And the least?
# 3. A guess is right nine times in ten. Is the second guess of a round kept nine times in ten?
#
# <details><summary>Answers</summary>
#
# 1. No: each call yields at least one token. It can still be slower, since guessing costs time as well, and a call over five tokens may
#    cost more than one over one token (lesson 8).
# 2. Five and one.
# 3. Only if the first was kept: 0.9 times 0.9, so 81 times in a hundred.
# </details>
