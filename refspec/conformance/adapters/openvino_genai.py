"""OpenVINO GenAI: its pipeline with a draft model or prompt lookup, at the sampled level. Needs `pip install openvino-genai`.

It runs the fixtures, which `openvino_ir.py` has put into its own files; everything in float32, its cache too.
"""

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import openvino
import openvino_genai

from refspec.conformance.adapter import Case, Dialect, Run, Skip
from refspec.conformance.fixtures import FOLDER
from refspec.conformance.openvino_ir import IR, NAMES, NO_TOKEN

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": 1}


class Pipeline:
    """Its `LLMPipeline`. lookup: drafts by prompt lookup, and not by the draft model."""

    def __init__(self, name: str, lookup: bool = False, prefix_caching: bool = False) -> None:
        self._lookup, self._prefix_caching = lookup, prefix_caching
        self._pipeline = lru_cache(maxsize=1)(self._made)
        self.dialect = Dialect(
            f"OpenVINO GenAI, {name}",
            version("openvino-genai"),
            seeds_in=True,
            tables=False,
            warps=("top_k", "temperature", "min_p", "top_p"),
            one_hot_q=lookup,
            kv_dtype="float32",
            stops=False,
        )

    def _made(self) -> Any:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching, scheduler.num_kv_blocks = self._prefix_caching, 64
        with signal_stack_kept():
            drafts = {"prompt_lookup": True} if self._lookup else {}
            if not self._lookup:
                drafts["draft_model"] = openvino_genai.draft_model(IR / "draft", "CPU", **FLOAT32)
            return openvino_genai.LLMPipeline(IR / "target", "CPU", scheduler_config=scheduler, **drafts, **FLOAT32)

    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        if case.folders != tuple(FOLDER / name for name in NAMES):
            raise Skip("only the fixtures are there in its own format")
        if case.max_new_tokens < 3:
            raise Skip("it drafts from the second token on, all but the last, and so nothing here")
        if self._lookup and len(set(case.prompt)) == len(case.prompt):
            raise Skip("nothing in the prompt comes twice, and so lookup drafts next to nothing")
        prompt = openvino.Tensor(np.array([case.prompt], np.int64))
        return [_as_run(self._pipeline().generate(prompt, self._asked(case, seed))) for seed in seeds]

    def _asked(self, case: Case, seed: int) -> Any:
        asked = openvino_genai.GenerationConfig()
        asked.rng_seed, asked.max_new_tokens, asked.num_assistant_tokens = seed, case.max_new_tokens, case.gamma
        asked.ignore_eos, asked.eos_token_id, asked.stop_token_ids = True, NO_TOKEN, {NO_TOKEN}
        if self._lookup:
            asked.max_ngram_size = 3
        options = case.sampling
        asked.do_sample = options.temperature > 0
        if asked.do_sample:
            asked.temperature = options.temperature
            for name in ("top_k", "top_p", "min_p"):
                if (value := getattr(options, name)) is not None:
                    setattr(asked, name, value)
        return asked


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put back the stack that the thread takes signals on.

    Each model that OpenVINO compiles for a CPU gives the thread a new one, and frees it with the model. Of two models it can be
    in use still: then the next signal, Ctrl-C say, ends Python with a segmentation fault (docs/peers.md).
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), ctypes.create_string_buffer(24)  # a stack_t
    libc.sigaltstack(None, before)
    try:
        yield
    finally:
        libc.sigaltstack(before, None)


def _as_run(said: Any) -> Run:
    """Each pass of the target gives one token of its own, so that the others came from the draft.

    What it counts as offered leaves out the last round, and what it counts as accepted can be a token that was not; of lookup it
    counts neither.
    """
    (tokens,), counted = said.tokens, said.extended_perf_metrics
    accepted = len(tokens) - len(said.perf_metrics.raw_metrics.m_batch_sizes)
    return Run(tuple(tokens), max(accepted, counted.get_num_draft_tokens() if counted else 0), accepted)


draft = Pipeline("draft model")
draft_prefix_cached = Pipeline("draft model, prefix caching", prefix_caching=True)
lookup = Pipeline("prompt lookup", lookup=True)
