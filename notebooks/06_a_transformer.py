# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 6. A transformer in 60 lines
#
# **One idea:** a transformer turns a text into a row of chances. Each token looks back at those before it, and takes from them what
# it needs.
#
# *30 minutes.* Afterwards you can read `refspec/transformer/plain.py` from top to bottom.
#
# So far the table was given. Now we look at what computes it. `plain.py` has no tricks: all of the text is computed again for each
# new token.

# %%
import inspect
import re
from html import escape

import numpy as np
from IPython.display import HTML

import refspec
import refspec.plot
from refspec import exercises
from refspec.models import home
from refspec.transformer import plain

weights, config = plain.read(home.find("tiny-target"))
tokenizer = refspec.load("tiny-target").tokenizer
tokens = np.array(tokenizer.encode("ROMEO:\nO, she doth teach"))
words = [tokenizer.decode([token]) for token in tokens]
print(words)
print(config)

# %% [markdown]
# `weights` holds the model's numbers by name: arrays, learned from text. The model is a GPT-2 with 10 *layers*, and 160 numbers stand for a
# token on its way through: its *width*.
#
# ## The whole network
#
# Read it once, quickly, then the three notes below it. Beside each line stands the shape of what it makes: n tokens, d numbers a token (the
# width), h heads of e numbers each, v tokens in the vocabulary. `see` hands on what it is given; through it a tool can look on.


# %%
def code(function):
    """Its source, without the docstring."""
    head, _, body = inspect.getsource(function).split('"""')
    return head.rstrip() + body


print(code(plain.gpt2))

# %% [markdown]
# 1. `wte[tokens]`: each token becomes d numbers. `wpe` is added, which says at which place it stands.
# 2. In each layer: **attention**, where tokens look at one another, then a small network for each token alone (`c_fc`, `gelu`,
#    `c_proj`). Both *add* to what is there. Before each, `norm` brings the numbers to one size; `linear` multiplies by a matrix.
# 3. At the end each token's d numbers are compared with those of all v tokens: `@ head.T`, where the head is the table of the
#    beginning once more (`tied`). That gives **logits**, a score for each token that could come next. `softmax` makes them chances: raise e
#    to each, divide by the sum.
#
# **Predict before you run.** There are n = 10 tokens and v = 1,024 in the vocabulary. What is the shape of the logits?

# %%
logits = plain.logits(tokens, weights, config)
row = plain.softmax(logits)[-1]
likely = np.argsort(-row)[:5]
print(logits.shape)
print({tokenizer.decode([token]): round(float(row[token]), 3) for token in likely})

# %% [markdown]
# One row for *each* token of the text, not only the last. That is why a target can check five guesses in one call.
#
# ## Attention
#
# Each token makes three vectors: a *query* (what am I looking for?), a *key* (what am I?) and a *value* (what do I give?). Where
# the query of one meets the key of another, it takes much of that one's value. A token may only look back: what comes later is hidden. A layer
# does that several times side by side, in *heads*, each with vectors of its own. Here is the first layer, line by line:

# %%
h = config.heads
x = weights["wte.weight"][tokens] + weights["wpe.weight"][: len(tokens)]
normed = plain.layer_norm(x, weights["h.0.ln_1.weight"], weights["h.0.ln_1.bias"], config.norm_eps)
qkv = normed @ weights["h.0.attn.c_attn.weight"] + weights["h.0.attn.c_attn.bias"]
queries, keys, values = (plain.split_heads(each, h) for each in np.split(qkv, 3, axis=-1))
scores = queries @ keys.transpose(0, 2, 1) * queries.shape[-1] ** -0.5
looks = plain.softmax(np.where(np.tri(len(tokens)) > 0, scores, -np.inf))
title = "Each head looks back in its own way, and none looks ahead"
refspec.plot.attention(looks[:3], words, title=title)

# %% [markdown]
# We built it by hand; it is what the library computes.

# %% tags=["exact"]
library = plain.attention(queries, keys, values, queries.shape[-1] ** -0.5)
bool(np.allclose(looks @ values, library, rtol=0, atol=1e-12))

# %% [markdown]
# ## Exercise: one head
#
# `queries`, `keys` and `values` have the shape [n, e]. Scores are products of queries and keys, divided by the square root of e. Hide what
# comes later, take the softmax along each row, and mix the values.


# %% tags=["exercise"]
def attention(queries, keys, values): ...  # your code: an array [n, e]


# %% tags=["check"]
exercises.attention(attention)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `np.tri(n)` is 1 on and below the diagonal. Hidden scores become `-np.inf` *before* the softmax.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def attention(queries, keys, values):
#     n, e = queries.shape
#     scores = queries @ keys.T / np.sqrt(e)
#     scores = np.where(np.tri(n) > 0, scores, -np.inf)
#     return plain.softmax(scores) @ values
# ```
# </details>

# %% [markdown]
# ## Exercise: does it look ahead?
#
# Change the last token of a text. Which rows of logits may change? Write a function that says how many rows at the beginning stay as they are
# when the token at place `i` is replaced, and try it.


# %% tags=["exercise"]
def rows_that_stay(i): ...  # your code: a number


# %% tags=["check"]
exercises.rows_that_stay(rows_that_stay)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Row j depends on tokens 0 to j.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def rows_that_stay(i):
#     return i
# ```
# </details>

# %% tags=["exact"]
changed = tokens.copy()
changed[7] = 5
pairs = zip(logits, plain.logits(changed, weights, config))
[np.allclose(old, new, rtol=0, atol=1e-9) for old, new in pairs].index(False)

# %% [markdown]
# ## GPT-2 and Llama side by side
#
# The other network in `plain.py` is of 2023: SmolLM2 is one, and so are most open models since. Find the five differences.

# %%
column = "<pre style='flex: 1 1 30em; white-space: pre-wrap; font-size: 11px'>{}</pre>"
sources = [re.sub("  #.*", "", code(each)) for each in (plain.gpt2, plain.llama)]
columns = "".join(column.format(escape(source)) for source in sources)
HTML(f"<div style='display: flex; flex-wrap: wrap; gap: 1.5em'>{columns}</div>")

# %% [markdown]
# | | GPT-2 (2019) | Llama (2023) |
# |---|---|---|
# | where a token stands | a learned vector is added (`wpe`) | queries and keys are rotated by their place (`rotate`) |
# | norm | subtract the mean, divide by the deviation (`layer_norm`) | divide by the size (`rms_norm`) |
# | the network of one token | `gelu`, two matrices | `silu` of a gate, three matrices |
# | heads | as many keys as queries | several queries share a key (`np.repeat`) |
# | biases | everywhere | none, but in relatives (Qwen2) |
#
# Why rotate? Turn a query by the angle of its place and a key by the angle of its own. Their product then knows how far apart the two stand, and
# nothing else: places 9 and 7 give what 5 and 3 give.


# %% tags=["exact"]
def score(query_place, key_place, angle=0.3):
    def turned(vector, place):
        cos, sin = np.cos([[place * angle]]), np.sin([[place * angle]])
        return plain.rotate(np.array([[vector]]), cos, sin)[0, 0]

    return turned([1.0, 2.0], query_place) @ turned([3.0, 0.5], key_place)


bool(np.isclose(score(5, 3), score(9, 7))), bool(np.isclose(score(5, 3), score(9, 3)))

# %% [markdown]
# ## What would break if ...
#
# ... a token could look ahead? Then checking five guesses in one call would be cheating: row 0 would have seen the guess that it has to
# judge.
#
# ## Three questions
#
# 1. Which numbers of a token do later tokens ever need?
# 2. Writing token number n by `plain.logits` computes how many tokens?
# 3. Why does the softmax take off the maximum first?
#
# <details><summary>Answers</summary>
#
# 1. Its keys and values, in each layer. Nothing else: that is lesson 7.
# 2. All n, of which n - 1 were computed before.
# 3. e to the power 1,000 overflows. The result is the same without.
# </details>
