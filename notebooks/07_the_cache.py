# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 7. The cache, and how to un-remember
#
# **One idea:** a token's keys and values never change, so compute them once. And when a guess is rejected, forget them.
#
# *25 minutes.* Afterwards you can say what a KV cache holds, why speculation must *rewind* it, and how that goes wrong.

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for steadier times: lesson 8 says why

import time

import numpy as np

import refspec
import refspec.plot
from refspec import exercises
from refspec.models import home
from refspec.transformer import plain

target = refspec.load("tiny-target")
tokens = tuple(target.tokenizer.encode("ROMEO:\nO, she doth teach the torches to burn bright!"))

# %% [markdown]
# ## As a diff against lesson 6
#
# In attention, a new token needs its own query, and the keys and values of *all* tokens. Only its own are new:
#
# ```diff
#   qkv = linear(norm(x), "c_attn")               # x: now the new tokens only
#   queries, keys, values = np.split(qkv, 3)
# + keys, values = cache.write(layer, keys, values)   # behind those of the tokens before; gives all of them back
#   attention(queries, keys, values)
# ```
#
# `refspec/transformer/gpt2.py` is that network. It gives the same logits, up to rounding (it computes in float32).

# %% tags=["exact"]
weights, config = plain.read(home.find("tiny-target"))
slow = plain.logits(np.array(tokens), weights, config)[-1]
cache = target.network.new_cache()
for token in tokens:
    fast = target.network.forward(np.array([token]), cache)[-1]
print(cache.length == len(tokens), bool(np.allclose(slow, fast, rtol=0, atol=1e-2)))

# %% [markdown]
# **Predict before you run.** Without a cache, how does the time for the next token grow with the length of the text? And with one?


# %%
def seconds(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


again, cached = {}, {}
text = (tokens * 20)[:240]
for n in (30, 60, 120, 180, 240):
    known = np.array(text[:n])
    again[n] = 1000 * min(seconds(lambda: plain.logits(known, weights, config)) for _ in range(3))
    model = target.language_model()
    model.probs(text[: n - 1])
    cached[n] = 1000 * min(seconds(lambda: model.probs(text[:n])) for _ in range(5))
title = "With a cache, the next token costs the same however long the text"
curves = {"all again": again, "with a cache": cached}
refspec.plot.lines(curves, x="tokens in the text", y="ms for the next token", title=title)

# %% [markdown]
# ## Un-remembering
#
# In a round the target reads the newest token and all guesses in one call, and writes a row for each into its cache. Then some guesses are
# rejected. Their rows belong to a text that does not exist. `cache.rollback(length)` forgets all but the first `length` rows: it sets one
# number. What lies behind will be overwritten.

# %%
options = {"gamma": 4, "max_new_tokens": 30, "seed": 1}
out = refspec.generate(target, "ROMEO:", drafter="tiny-draft", **options)
prompt = len(target.tokenizer.encode("ROMEO:"))
refspec.plot.cache(out.rounds, prompt, title="Rejected guesses leave the cache again")

# %% [markdown]
# ## Exercise: how much stays?
#
# The cache holds rows for the tokens `held`. Now somebody asks for the rows of chances behind `tokens`, the `last` ones of them. How many rows
# of the cache stay? (The tokens behind them are fed to the network. It must be fed at least `last` tokens to give `last` rows.)


# %% tags=["exercise"]
def keep(held, tokens, last): ...  # your code: how many rows stay


# %% tags=["check"]
exercises.keep(keep)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Count how many tokens `held` and `tokens` share from the beginning. It is at most that, and at most `len(tokens) - last`.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def keep(held, tokens, last):
#     shared = 0
#     while shared < min(len(held), len(tokens)) and held[shared] == tokens[shared]:
#         shared += 1
#     return min(shared, len(tokens) - last)
# ```
# </details>
#
# ## The bug of the zeroed rows
#
# A rejected row must go. Why not fill it with zeros? Because a row of zeros is still *there*: its key meets every query with the score 0, and
# e to the power 0 is 1. It takes a share of the attention.
#
# **Predict before you run.** Two guesses are "forgotten" by zeros, then the text goes on. Do the chances change?


# %% tags=["exact"]
def next_row(forget):
    cache = target.network.new_cache()
    target.network.forward(np.array((*tokens, 7, 8)), cache)  # 7 and 8 are two rejected guesses
    forget(cache)
    return plain.softmax(target.network.forward(np.array([9]), cache)[-1].astype(float))


def zeroed(cache):
    cache.keys[:, :, len(tokens) : cache.length] = 0
    cache.values[:, :, len(tokens) : cache.length] = 0


right = plain.softmax(plain.logits(np.array((*tokens, 9)), weights, config)[-1])
off = {
    "rollback": abs(next_row(lambda cache: cache.rollback(len(tokens))) - right).max(),
    "zeroed": abs(next_row(zeroed) - right).max(),
}
{name: "right" if value < 1e-4 else "wrong" for name, value in off.items()}

# %% [markdown]
# The text of such a program looks fine. It is the text of another model.
#
# ## Exercise: a smaller mistake
#
# A program rolls back by `cache.length - rejected`, where `rejected` counts the guesses behind the last kept one. In which rounds is
# `rows[:-rejected]`, as Python has it, wrong? Write the number of rejected guesses for which it goes wrong.


# %% tags=["exercise"]
def goes_wrong(): ...  # your code: a number


# %% tags=["check"]
exercises.goes_wrong(goes_wrong)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What is `[1, 2, 3][:-0]`?
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def goes_wrong():
#     return 0
# ```
# </details>
#
# So in refspec every count is absolute: `rollback(length)`.
#
# ## What would break if ...
#
# ... target and draft shared one cache? Each has its own keys and values, so nothing would be right.
#
# ## Three questions
#
# 1. Which token is *not* in the target's cache after a round?
# 2. Does the draft's cache need rewinding as well?
# 3. What grows with the length of the text even with a cache?
#
# <details><summary>Answers</summary>
#
# 1. The last one, which the round itself drew: nobody has fed it yet.
# 2. Yes. If it is forgotten, the text stays exact and the guesses get worse: a bug that no test of the text finds.
# 3. Attention reads one key and value a token. In a short text that is little beside the weights.
# </details>
