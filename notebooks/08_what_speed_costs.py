# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
# ---

# %% [markdown]
# # 8. What speed costs
#
# **One idea:** speculation is a bet. A round costs more than a plain step, and yields more tokens. Three numbers decide it.
#
# *25 minutes.* The numbers are those of *your* machine, so close what else is running. Afterwards you can say for any pair of models
# whether speculation pays, and how many tokens to draft.
#
# - **alpha**, how often a guess is kept (lesson 3);
# - **c**, what one guess costs, in units of a plain step of the target;
# - **v(gamma)**, what a call over gamma + 1 tokens costs, in the same unit. v(0) = 1.

# Two habits of measuring. One thread only: these matrices are so small that two threads mostly wait for each other. And of many runs, taken
# in turn, the *least* time counts: what else the machine does can only add.

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # it counts if NumPy was not loaded before

import time
from statistics import median

import refspec
import refspec.plot
from refspec import exercises, theory

names = "tiny-target", "tiny-draft"
target, draft = (refspec.load(name).language_model() for name in names)
speech = "ROMEO:\nO, she doth teach the torches to burn bright!"
text = tuple(refspec.load("tiny-target").tokenizer.encode(speech)) * 5


def seconds(model, rows):
    """Of a call that computes so many rows, behind a text that is cached."""
    started = time.perf_counter()
    model.probs(text, last=rows)
    return time.perf_counter() - started


# %% [markdown]
# **Predict before you run.** A call over five tokens does five times the arithmetic of a call over one. How much longer does it take?

# %%
turns = [[seconds(target, gamma + 1) for gamma in range(9)] for _ in range(40)]
calls = [min(times) for times in zip(*turns)]
step = calls[0]
v = [each / step for each in calls]
c = min(seconds(draft, 1) for _ in range(40)) / step
print(f"a plain step: {1000 * step:.2f} ms   c = {c:.2f}")
print("v(0), v(1), ... =", *(f"{each:.2f}" for each in v))

# %% [markdown]
# Much less than five times: to make a token, all weights must be read from memory, and they are read once, however many tokens are checked.
# On some machines v climbs faster (the project's performance page says why).
#
# ## The formula
#
# A round with gamma guesses yields 1 + alpha + ... + alpha^gamma tokens (lesson 5), and costs gamma c + v(gamma) plain steps. The quotient
# is the **speed-up**; `theory.speed_up` computes it.


# %%
def foretold(alpha, gammas=range(9)):
    return {gamma: theory.speed_up(alpha, gamma, c, v.__getitem__) for gamma in gammas}


curves = {f"alpha = {alpha}": foretold(alpha) for alpha in (0.5, 0.75, 0.9)}
title = "The better the draft, the more guesses a round pay"
refspec.plot.lines(curves, x="gamma, guesses a round", y="speed-up", level=1, title=title)

# %% [markdown]
# ## Exercise 1: the best gamma
#
# Given alpha, c and the list v, which gamma (0 to `len(v) - 1`) is fastest? Of equals, the smallest.


# %% tags=["exercise"]
def best_gamma(alpha, c, v): ...  # your code: a gamma


# %% tags=["check"]
exercises.best_gamma(best_gamma)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `max(range(len(v)), key=...)`, and as the key the speed-up. You have `expected_tokens` from lesson 5.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def best_gamma(alpha, c, v):
#     def speed_up(gamma):
#         return sum(alpha**i for i in range(gamma + 1)) / (gamma * c + v[gamma])
#
#     return max(range(len(v)), key=speed_up)
# ```
# </details>

# %% [markdown]
# ## Measured beside theory
#
# Now really: the pair writes 60 tokens at several gammas.


# %%
def tokens_per_second(gamma, seed):
    options = {"gamma": gamma, "max_new_tokens": 60, "seed": seed}
    drafter = "tiny-draft" if gamma else None
    made = refspec.generate("tiny-target", "ROMEO:", drafter=drafter, **options)
    return made.stats.tokens_per_second, made.stats.acceptance_rate


gammas, seeds = (0, 1, 2, 4, 6, 8), range(4)
turns = [{(g, s): tokens_per_second(g, s) for g in gammas for s in seeds} for _ in range(3)]
best = {run: max(turn[run][0] for turn in turns) for run in turns[0]}
alpha = median(turns[0][4, seed][1] for seed in seeds)
measured = {g: median(best[g, s] / best[0, s] for s in seeds) for g in gammas}
curves = {"foretold": foretold(alpha, gammas), "measured": measured}
best_foretold, best_measured = (max(each.values()) for each in curves.values())
title = f"Foretold: up to {best_foretold:.1f} times as fast. Measured: {best_measured:.1f} times"
refspec.plot.lines(curves, x="gamma, guesses a round", y="speed-up", level=1, title=title)

# %% [markdown]
# What the formula leaves out is the loop around the calls: shaping rows, drawing, the residual. On a model that takes a millisecond a step this
# is felt; on a large one it is not. On a busy machine both curves jump: run it again.
#
# ## A text that wins and one that loses
#
# Guesses need not come from a model. `NgramDrafter` looks up what followed the last few words before (lesson 9). It costs almost nothing, so
# c is near 0, and alpha depends on the text alone. At temperature 0 this model soon repeats itself. At temperature 1 it does not.

# %%
for temperature in (0, 1):
    options = {"temperature": temperature, "max_new_tokens": 120, "seed": 0}
    fast = refspec.generate("tiny-target", "ROMEO:", drafter=refspec.NgramDrafter(), **options)
    slow = refspec.generate("tiny-target", "ROMEO:", **options)
    times = fast.stats.tokens_per_second / slow.stats.tokens_per_second
    yields = fast.stats.tokens_per_target_call
    print(f"temperature {temperature}: {yields:.2f} tokens a call, {times:.2f} times as fast")

# %% [markdown]
# ## Exercise 2: does one guess pay?
#
# With a single guess a round yields 1 + alpha tokens and costs c + v(1). Say whether that is faster than not guessing.


# %% tags=["exercise"]
def one_guess_pays(alpha, c, v1): ...  # your code: True or False


# %% tags=["check"]
exercises.one_guess_pays(one_guess_pays)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Not guessing yields one token for one step.
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def one_guess_pays(alpha, c, v1):
#     return (1 + alpha) / (c + v1) > 1
# ```
# </details>
#
# ## What would break if ...
#
# ... v(gamma) were gamma + 1, so that a call over five tokens cost five steps? Then no draft would ever pay, however good.
#
# ## Three questions
#
# 1. alpha = 1 and c = 0. What is the speed-up at gamma = 4 if v = 1?
# 2. Where does a longer draft pay although a single guess does not?
# 3. Why is the first call of a generation not counted in tokens per second?
#
# <details><summary>Answers</summary>
#
# 1. Five.
# 2. Where v jumps at the second row and is flat behind it.
# 3. It reads the prompt, which takes as long with speculation as without.
# </details>
