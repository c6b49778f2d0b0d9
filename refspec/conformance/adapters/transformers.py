"""Hugging Face transformers: the whole of `generate`, with an assistant model, by early exit, and by prompt lookup.

The model that generates is a table with a real cache: a key is the token itself, so that a row is looked up under what the
cache says was read. Needs `pip install torch transformers`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
import transformers
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.generation.utils import _speculative_sampling
from transformers.modeling_outputs import CausalLMOutputWithPast

from refspec.arrays import Array
from refspec.conformance.adapter import ByGenerator, Case, Dialect, Run, Skip, Verdict, round_ended
from refspec.conformance.adapters import require_no_ties
from refspec.conformance.taped import TapedGenerator
from refspec.conformance.torch_draws import drawing_from
from refspec.decoding.lm import TableLM, Tokens

LAYERS = 2  # an early exit leaves after the first, with the draft's rows


class TableForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """A causal language model of transformers whose logits are the logs of a table's rows, in float32."""

    config_class = PretrainedConfig
    base_model_prefix = "base"
    main_input_name = "input_ids"

    def __init__(self, target: TableLM, draft: TableLM) -> None:
        options: dict[str, Any] = {"vocab_size": target.vocab_size, "num_hidden_layers": LAYERS, "is_decoder": True}
        super().__init__(PretrainedConfig(**options))
        self.unused = torch.nn.Parameter(torch.zeros(1))  # transformers asks the parameters for the device
        self.tables = (draft, target)
        self.read: list[int] = []  # how long the text was, drafted tokens included, at each call of all layers

    @property
    def base(self) -> "TableForCausalLM":
        return self

    def forward(
        self, input_ids: torch.Tensor, cache: Any = None, use_cache: bool = True, logits_to_keep: int = 0, **_: Any
    ) -> CausalLMOutputWithPast:
        layers = self.config.num_hidden_layers
        cache = DynamicCache() if cache is None else cache
        keys = input_ids[:, None, :, None].float()
        read, *_others = [cache.update(keys, keys, layer)[0] for layer in range(layers)]
        tokens = tuple(int(token) for token in read.flatten())
        if layers == LAYERS:
            self.read.append(len(tokens))
        rows = self.tables[layers - 1].probs(tokens, last=input_ids.shape[1])
        with np.errstate(divide="ignore"):  # a probability of 0 is a logit of -inf
            logits = torch.tensor(np.log(rows), dtype=torch.float32)
        return CausalLMOutputWithPast(logits=logits[None, -logits_to_keep:], cache=cache)


class _Rounds:
    """A streamer: how long each round's tokens are, and all of them together. The prompt comes first."""

    def __init__(self, ended: Callable[["_Rounds"], None]) -> None:
        self.lengths: list[int] = []
        self.tokens: Tokens = ()
        self._ended = ended

    def put(self, tokens: torch.Tensor) -> None:
        self.lengths.append(tokens.numel())
        self.tokens += tuple(tokens.flatten().tolist())
        if len(self.lengths) > 1:
            self._ended(self)

    def end(self) -> None: ...


@lru_cache(maxsize=64)
def _model(target: TableLM, draft: TableLM) -> TableForCausalLM:
    model = TableForCausalLM(target, draft)
    model.train(False)
    return model


@dataclass(frozen=True)
class Generate:
    """(case, generator) -> Run. how: "assistant", "early exit" or "lookup"."""

    how: str

    def __call__(self, case: Case, generator: Any) -> Run:
        require_no_ties(case)
        target, draft = _model(case.target, case.draft), _model(case.draft, case.draft)
        target.read.clear()
        before = self._before(case)

        def so_far(rounds: _Rounds) -> Run:
            length, drafted, accepted = rounds.lengths[0], 0, 0
            for read, new in zip(target.read, rounds.lengths[1:], strict=True):
                drafted, accepted, length = drafted + read - length, accepted + new - 1, length + new
            return Run(rounds.tokens[rounds.lengths[0] :], drafted, accepted)

        rounds = _Rounds(lambda rounds: round_ended(generator, so_far(rounds)))
        with drawing_from(generator), torch.no_grad():
            text = target.generate(
                torch.tensor([before + case.prompt]),
                attention_mask=torch.ones(1, len(before + case.prompt), dtype=torch.long),
                max_new_tokens=case.max_new_tokens,
                eos_token_id=list(case.stop) or None,
                pad_token_id=0,
                streamer=rounds,
                **_sampled(case),
                **self._drafted(case, draft),
            )
        return replace(so_far(rounds), tokens=tuple(text[0, len(before + case.prompt) :].tolist()))

    def _before(self, case: Case) -> Tokens:
        """What lookup finds its drafts in: the prompt's last token, and behind it those that end nothing."""
        if self.how != "lookup":
            return ()
        tokens = range(case.target.vocab_size)
        before = (case.prompt[-1], *(token for token in tokens if token not in case.stop))
        texts = [case.prompt + after for n in range(3) for after in product(tokens, repeat=n)]
        same = all((case.target.probs(before + text) == case.target.probs(text)).all() for text in texts)
        if case.repetition_penalty != 1 or not same:
            raise Skip("what is to be looked up would have to stand before the prompt, and this law depends on that")
        return before

    def _drafted(self, case: Case, draft: TableForCausalLM) -> Mapping[str, Any]:
        if self.how == "lookup":
            return {"prompt_lookup_num_tokens": case.gamma}
        drafter = draft if self.how == "assistant" else _model(case.target, case.draft)
        drafter.generation_config.num_assistant_tokens = case.gamma
        drafter.generation_config.num_assistant_tokens_schedule = "constant"
        drafter.generation_config.assistant_confidence_threshold = 0
        return {"assistant_model": draft} if self.how == "assistant" else {"assistant_early_exit": 1}


def _sampled(case: Case) -> Mapping[str, Any]:
    options, penalty = case.sampling, {"repetition_penalty": case.repetition_penalty} if case.repetition_penalty != 1 else {}
    if options.temperature == 0:
        return {"do_sample": False} | penalty
    warps = {"temperature": options.temperature, "top_k": options.top_k or 0, "top_p": options.top_p, "min_p": options.min_p}
    return {"do_sample": True} | penalty | {name: value for name, value in warps.items() if value is not None}


def _engine(how: str, name: str, **more: Any) -> ByGenerator:
    return ByGenerator(
        Generate(how),
        dialect=Dialect(
            f"transformers, {name}",
            transformers.__version__,
            draws_intercepted=True,
            round_by_round=True,
            seeds_in=True,
            warps=("repetition_penalty", "temperature", "top_k", "top_p", "min_p"),
            top_k_ties=True,
            kv_dtype="float32",
            **more,
        ),
    )


assistant = _engine("assistant", "assistant model")
early_exit = _engine("early exit", "early exit")
lookup = _engine("lookup", "prompt lookup", one_hot_q=True)


@dataclass(frozen=True)
class _Rows:
    """Rows [1, n, v] where transformers expects logits: their softmax is they themselves, to the last bit."""

    rows: torch.Tensor

    def softmax(self, dim: int) -> torch.Tensor:
        return self.rows

    @property
    def shape(self) -> torch.Size:
        return self.rows.shape


class Rule:
    """The rule alone, `_speculative_sampling`, at the replay level: uniforms in, tokens out."""

    dialect = Dialect("transformers, _speculative_sampling", transformers.__version__, uniforms_in="rounds", kv_dtype="float32")

    def verify(self, tokens: Tokens, draft_probs: Array, target_probs: Array, accept: Sequence[float], pick: float) -> Verdict:
        q, p = (_Rows(torch.tensor(np.array(each)[None], dtype=torch.float32)) for each in (draft_probs, target_probs))
        with drawing_from(TapedGenerator([*accept, pick])):
            new, accepted = _speculative_sampling(torch.tensor([tokens]), q, len(tokens), p)
        return Verdict(int(accepted), int(new[0, -1]))


rule = Rule()
