"""The keys of a `config.json`: each is taken once, checked as it is taken, and what is left over is refused."""

import sys
from pathlib import Path
from typing import Any

from refspec.errors import BadConfig, UnsupportedModel

LARGEST = 1 << 40  # no size of a model is near it, and float arithmetic on it is exact

HARMLESS = frozenset(
    """_attn_implementation _attn_implementation_autoset _name_or_path _num_labels architectures attention_dropout
    attn_pdrop bos_token_id chunk_size_feed_forward do_sample dtype embd_pdrop eos_token_id gradient_checkpointing id2label
    initializer_range is_llama_config label2id max_length max_window_layers model_type n_ctx n_special name_or_path
    output_attentions output_hidden_states output_past pad_token_id predict_special_tokens pretraining_tp problem_type
    reorder_and_upcast_attn resid_pdrop return_dict summary_activation summary_first_dropout summary_proj_to_labels
    summary_type summary_use_proj task_specific_params temperature tokenizer_class top_k top_p torch_dtype
    transformers.js_config transformers_version unk_token_id use_cache""".split()
)
# What full dumps of older transformers also carry: switches that change nothing while they are off.
HARMLESS_WHEN_OFF = frozenset(
    """add_cross_attention cross_attention_hidden_size is_decoder is_encoder_decoder output_scores remove_invalid_values
    return_dict_in_generate tf_legacy_loss tie_encoder_decoder torchscript use_bfloat16""".split()
)


class Keys:
    """The keys of a configuration, each to be taken once."""

    def __init__(self, path: Path, given: dict[str, Any]) -> None:
        self.path = path
        self.given = given
        self.left = set(given)

    def take(self, key: str, default: Any = None) -> Any:
        self.left.discard(key)
        value = self.given.get(key)
        return default if value is None else value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise BadConfig(f"{self.path}: {key} is {value!r}; a whole number from 1 to {LARGEST} is needed")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.take(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
            raise BadConfig(f"{self.path}: {key} is {value!r}; a finite number above 0 is needed")
        return float(value)

    def switch(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise BadConfig(f"{self.path}: {key} is {value!r}; true or false is needed")
        return value

    def typed(self, key: str, kind: type) -> Any:
        """A list or an object, empty where there is none."""
        value = self.take(key, kind())
        if not isinstance(value, kind):
            raise BadConfig(f"{self.path}: {key} is {value!r}; {'a list' if kind is list else 'an object'} is needed")
        return value

    def must_be(self, key: str, *allowed: Any) -> None:
        """Refuse any value but these; an absent key has the first."""
        if key in self.left and self.given[key] not in allowed:
            raise self.unsupported(key, self.given[key], " or ".join(map(repr, allowed)))
        self.left.discard(key)

    def divides(self, part: int, whole: int, part_name: str, whole_name: str) -> None:
        if whole % part:
            raise BadConfig(f"{self.path}: {whole_name} is {whole}, which {part_name} ({part}) does not divide")

    def unsupported(self, key: str, value: Any, allowed: str) -> UnsupportedModel:
        return UnsupportedModel(f"{self.path}: {key} is {value!r}; refspec implements {allowed}")

    def refuse_the_rest(self) -> None:
        inert = {key for key in self.left if self.given[key] is None}
        inert |= {key for key in self.left & HARMLESS_WHEN_OFF if self.given[key] is False}
        for key in sorted(self.left - HARMLESS - inert):
            raise UnsupportedModel(
                f"{self.path}: {key} is {self.given[key]!r}, which refspec does not know; "
                "remove the key only if it does not change the model's mathematics"
            )
