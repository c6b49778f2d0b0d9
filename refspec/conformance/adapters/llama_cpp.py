"""llama.cpp, through xllamacpp: its server's loop with a draft model and with n-gram drafts, at the sampled level.

The models are GGUF files of our own, a Llama whose attention and feed-forward are zero, so that the next token's row depends on
the last token alone: exactly a table. Needs `pip install xllamacpp`.
"""

import json
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xllamacpp

from refspec.conformance.adapter import Case, Dialect, Run, Skip
from refspec.conformance.adapters import require_no_ties
from refspec.decoding.lm import TableLM, Tokens

WIDTH = 32
LETTERS = "abcdefghijklmnop"  # token i is the letter i; behind them stand the three that the tokenizer needs
WARPS = ("top_k", "top_p", "min_p", "temperature")
NEVER = -1e4  # a logit whose softmax is 0 in float32


def write_gguf(path: Path, table: TableLM) -> None:
    """GGUF 3: a head, the settings, what tensors there are, and then their numbers, each at a multiple of 32 bytes."""
    size = table.vocab_size
    words = [*LETTERS[:size], "<unk>", "<s>", "</s>"]
    head = np.full((len(words), WIDTH), NEVER / WIDTH**0.5, np.float32)
    for token in range(size):
        row = table.probs((token,))[0]
        head[:size, token] = np.log(row, where=row > 0, out=np.full(size, NEVER)) / WIDTH**0.5  # the norm makes it sqrt(width)
    square, ones = np.zeros((WIDTH, WIDTH), np.float32), np.ones(WIDTH, np.float32)
    zero = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    tensors = {"token_embd": 100 * np.eye(len(words), WIDTH, dtype=np.float32), "output": head, "output_norm": ones}
    tensors |= {"blk.0.attn_norm": ones, "blk.0.ffn_norm": ones} | {f"blk.0.{name}": square for name in zero}
    counts = {"block_count": 1, "context_length": 128, "embedding_length": WIDTH, "feed_forward_length": WIDTH}
    counts |= {"attention.head_count": 1, "rope.dimension_count": WIDTH, "vocab_size": len(words)}
    settings: dict[str, Any] = {"general.architecture": "llama"} | {f"llama.{name}": n for name, n in counts.items()}
    settings |= {"llama.attention.layer_norm_rms_epsilon": 1e-6, "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": words}
    settings |= {"tokenizer.ggml.scores": [-float(i) for i in range(len(words))]}
    settings |= {"tokenizer.ggml.token_type": [1] * size + [2, 3, 3], "tokenizer.ggml.add_bos_token": False}
    settings |= {f"tokenizer.ggml.{name}_token_id": size + i for i, name in enumerate(("unknown", "bos", "eos"))}
    made = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(settings))
    made += b"".join(_string(name) + _value(value) for name, value in settings.items())
    start = 0
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        made += _string(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, start)
        start += -(-tensor.nbytes // 32) * 32
    made += bytes(-len(made) % 32)
    path.write_bytes(made + b"".join(tensor.tobytes() + bytes(-tensor.nbytes % 32) for tensor in tensors.values()))


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: Any, typed: bool = True) -> bytes:
    """A setting behind the number of its type: 7 bool, 8 string, 5 int32 (4 unsigned), 6 float32, 9 array."""
    if isinstance(value, list):
        first = _value(value[0])[:4] if not isinstance(value[0], int) else struct.pack("<I", 5)
        return struct.pack("<I", 9) + first + struct.pack("<Q", len(value)) + b"".join(_value(each, False) for each in value)
    kinds = {bool: (7, "<?"), str: (8, ""), int: (4, "<I"), float: (6, "<f")}
    number, form = kinds[type(value)]
    packed = _string(value) if isinstance(value, str) else struct.pack(form, value)
    return struct.pack("<I", number) * typed + packed


@lru_cache(maxsize=8)
def _server(target: TableLM, draft: TableLM, gamma: int, kind: str) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="refspec-"))
    for name, table in (("target", target), ("draft", draft)):
        write_gguf(folder / f"{name}.gguf", table)
    options = xllamacpp.CommonParams()
    options.model.path = str(folder / "target.gguf")
    options.n_ctx, options.n_parallel, options.warmup, options.verbosity, options.cpuparams.n_threads = 128, 1, False, -1, 1
    speculative, kinds = options.speculative, xllamacpp.common_speculative_type
    speculative.types = [getattr(kinds, f"COMMON_SPECULATIVE_TYPE_{kind.removeprefix('PROBABILISTIC_')}")]
    if kind.endswith("DRAFT_SIMPLE"):
        drafter = speculative.draft
        drafter.mparams.path, drafter.n_max, drafter.n_min, drafter.p_min = str(folder / "draft.gguf"), gamma, 0, 0.0
        drafter.probabilistic = kind != "DRAFT_SIMPLE"
    elif kind in ("NGRAM_SIMPLE", "NGRAM_MAP_K"):  # after one token that stood before, what followed it
        ngrams = speculative.ngram_simple if kind == "NGRAM_SIMPLE" else speculative.ngram_map_k
        ngrams.size_n, ngrams.size_m, ngrams.min_hits = 1, gamma, 1
    return xllamacpp.Server(options)


class Server:
    """llama.cpp's server. kind: how it drafts, in its own word, with PROBABILISTIC_ before it where a draft model's rows count.

    An n-gram draft is found in what stands before the prompt: its last token, and every other.
    """

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self.dialect = Dialect(
            f"llama.cpp, {name}",
            version("xllamacpp"),
            seeds_in=True,
            kv_dtype="float32",
            warps=WARPS,
            stops=False,
            ties="open",
            one_hot_q=kind != "PROBABILISTIC_DRAFT_SIMPLE",
        )

    def sampled(self, case: Case, seeds: Sequence[int]) -> Sequence[Run]:
        if case.max_new_tokens < 3:
            raise Skip("it drafts from the second token on, all but the last, and so nothing here")
        require_no_ties(case, exactly_k=True)
        size = case.target.vocab_size
        before = [(), *((token,) for token in range(size))]
        if any(
            (table.probs((*text, t)) != table.probs((t,))).any()
            for table in (case.target, case.draft)
            for text in before
            for t in range(size)
        ):
            raise Skip("its rows go by more than the last token, and these models by that alone")
        server = _server(case.target, case.draft, case.gamma, self._kind)
        looked_up = (case.prompt[-1], *range(size)) if self._kind.startswith("NGRAM") else ()
        return [_as_run(server.handle_completions(_asked(case, looked_up, seed))) for seed in seeds]


def _asked(case: Case, before: Tokens, seed: int) -> Mapping[str, Any]:
    options = case.sampling
    return {
        "prompt": list(before + case.prompt),
        "n_predict": case.max_new_tokens,
        "seed": seed,
        "samplers": WARPS,
        "temperature": options.temperature,
        "top_k": options.top_k or 0,
        "top_p": 1.0 if options.top_p is None else options.top_p,
        "min_p": options.min_p or 0.0,
        "cache_prompt": False,
        "ignore_eos": True,
    }


def _as_run(said: Any) -> Run:
    answer = json.loads(said) if isinstance(said, (str, bytes)) else said
    tokens: Tokens = tuple(LETTERS.index(letter) for letter in answer["choices"][0]["text"])
    times = answer["timings"]
    return Run(tokens, times.get("draft_n", 0), times.get("draft_n_accepted", 0))


draft = Server("DRAFT_SIMPLE", "draft model")
probabilistic = Server("PROBABILISTIC_DRAFT_SIMPLE", "draft model, probabilistic")
ngram = Server("NGRAM_SIMPLE", "n-gram draft")
ngram_map = Server("NGRAM_MAP_K", "n-gram map draft")
plain = Server("NONE", "no draft")
