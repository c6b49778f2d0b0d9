"""What a `config.json` means: published ones are read, and so is what changes nothing; anything else is refused by its name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from published import SIZES, published

import refspec
from refspec.errors import BadConfig, UnsupportedModel
from refspec.transformer.config import EXACT_GELU, TANH_GELU, GPT2Config, LlamaConfig, RopeScaling, read_config
from refspec.transformer.meaning import BEGINNINGS, BOOKKEEPING, ENDINGS, GENERATION, NEUTRAL, READ_WITH, equal

# Sizes only, of which no two are equal.
GPT2: dict[str, Any] = {"model_type": "gpt2", "vocab_size": 11, "n_positions": 7, "n_layer": 2, "n_embd": 24, "n_head": 3}
BIGCODE: dict[str, Any] = GPT2 | {"model_type": "gpt_bigcode"}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 11,
    "max_position_embeddings": 7,
    "num_hidden_layers": 2,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 5,
}


def read(folder: Path, config: dict[str, Any]) -> GPT2Config | LlamaConfig:
    (folder / "config.json").write_text(json.dumps(config))
    return read_config(folder)


@pytest.mark.parametrize("family", ["gpt2", "gpt_bigcode"])
def test_the_defaults_of_gpt2(family: str, tmp_path: Path) -> None:
    """Those of transformers, which a configuration relies on by leaving them out (`pytest -m peers` asks it)."""
    assert read(tmp_path, GPT2 | {"model_type": family}) == GPT2Config(
        model_type=family,
        vocab_size=11,
        context=7,
        layers=2,
        width=24,
        heads=3,
        kv_heads=3 if family == "gpt2" else 1,
        inner=96,
        norm_eps=1e-5,
        tied=True,
        exact_gelu=False,
    )


@pytest.mark.parametrize(
    ("family", "differs"),
    [
        ("llama", {}),
        ("qwen2", {"qkv_bias": True}),
        ("qwen3", {"head_width": 128, "attention_scale": 128**-0.5, "qk_norm": True}),
        ("granite", {"attention_scale": 1.0}),
    ],
)
def test_the_defaults_of_the_llama_family(family: str, differs: dict[str, Any], tmp_path: Path) -> None:
    defaults: dict[str, Any] = {
        "model_type": family,
        "vocab_size": 11,
        "context": 7,
        "layers": 2,
        "width": 24,
        "heads": 3,
        "kv_heads": 3,
        "head_width": 8,
        "inner": 5,
        "norm_eps": 1e-6,
        "tied": False,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "qkv_bias": False,
        "output_bias": False,
        "mlp_bias": False,
        "qk_norm": False,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_scale": 8**-0.5,
        "logits_divisor": 1.0,
    }
    assert read(tmp_path, LLAMA | {"model_type": family}) == LlamaConfig(**defaults | differs)


def test_heads_of_a_width_of_their_own_need_not_divide_the_width(tmp_path: Path) -> None:
    config = read(tmp_path, LLAMA | {"num_attention_heads": 5, "head_dim": 6})
    assert isinstance(config, LlamaConfig)
    assert (config.width, config.heads, config.kv_heads, config.head_width) == (24, 5, 5, 6)


@pytest.mark.parametrize(
    ("given", "theta"),
    [
        ({"rope_theta": 5.0}, 5.0),
        ({"rope_scaling": {"rope_type": "default"}, "rope_theta": 5.0}, 5.0),
        ({"rope_parameters": {"rope_theta": 6.0}}, 6.0),
        ({"rope_parameters": {"rope_theta": 6.0}, "rope_theta": 6}, 6.0),
    ],
    ids=str,
)
def test_where_the_base_of_the_frequencies_stands(given: dict[str, Any], theta: float, tmp_path: Path) -> None:
    config = read(tmp_path, LLAMA | given)
    assert isinstance(config, LlamaConfig)
    assert (config.rope_theta, config.rope_scaling) == (theta, None)


def test_every_number_of_a_rope_scaling_has_its_place(tmp_path: Path) -> None:
    numbers = {"factor": 8.0, "low_freq_factor": 2.0, "high_freq_factor": 3.0, "original_max_position_embeddings": 5}
    config = read(tmp_path, LLAMA | {"rope_scaling": {"type": "llama3", **numbers}})
    assert isinstance(config, LlamaConfig)
    assert config.rope_scaling == RopeScaling(factor=8.0, low_freq_factor=2.0, high_freq_factor=3.0, original_context=5)


# ---- what changes nothing, and what might

FALSY = [0, 0.0, "", False, [], {}]
# What JSON can say under a key; null apart, which says nothing.
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
FAMILIES = pytest.mark.parametrize(
    "family", [GPT2, BIGCODE, LLAMA, LLAMA | {"model_type": "qwen3"}], ids=["gpt2", "gpt_bigcode", "llama", "qwen3"]
)
TRAINERS = "unsloth_tiled_mlp _unsloth_buffers embedding_dropout image_token_id stop_token_ids peft_version".split()
READ = {*GPT2, *LLAMA, *SIZES} | set(
    """activation_function architectures attention_bias attention_multiplier embedding_multiplier head_dim hidden_act
    layer_norm_epsilon layer_types logits_scaling mlp_bias multi_query n_inner num_key_value_heads
    original_max_position_embeddings partial_rotary_factor residual_multiplier rms_norm_eps rope_parameters
    rope_scaling rope_theta sliding_window tie_word_embeddings""".split()
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For one configuration after another: a folder for each would take more time than all that is tested."""
    return tmp_path_factory.mktemp("config")


@FAMILIES
@given(data=st.data())
@settings(max_examples=50)
def test_generation_and_bookkeeping_change_nothing_whatever_they_say(
    family: dict[str, Any], place: Path, data: st.DataObject
) -> None:
    names = st.sampled_from(sorted(GENERATION | BOOKKEEPING - family.keys()) + TRAINERS)
    more = data.draw(st.dictionaries(names, VALUES | st.none(), min_size=1, max_size=8))
    assert read(place, more | family) == read(place, family)


@FAMILIES
@given(data=st.data())
@settings(max_examples=50)
def test_every_unknown_key_is_named_in_one_message(family: dict[str, Any], place: Path, data: st.DataObject) -> None:
    """Whatever it holds: zero of something is a choice as well. Only null says nothing."""
    names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=20).filter(
        lambda name: (
            name not in READ | GENERATION | BOOKKEEPING | NEUTRAL.keys() | READ_WITH.keys()
            and not name.endswith(ENDINGS)
            and not name.startswith(BEGINNINGS)
        )
    )
    more = data.draw(st.dictionaries(names, VALUES, min_size=1, max_size=3))
    with pytest.raises(UnsupportedModel, match="which refspec does not know") as caught:
        read(place, family | more)
    assert all(name in str(caught.value) for name in more)
    assert read(place, family | dict.fromkeys(more)) == read(place, family)


FOREIGN = pytest.mark.parametrize("key", sorted(NEUTRAL.keys() - {"mlp_bias", "partial_rotary_factor"}))  # some read these


@FAMILIES
@FOREIGN
def test_what_another_architecture_adds_may_be_off(family: dict[str, Any], key: str, place: Path) -> None:
    assert read(place, family | {key: NEUTRAL[key]}) == read(place, family | {key: None}) == read(place, family)


@FAMILIES
@FOREIGN
@given(value=VALUES)
@settings(max_examples=20)
def test_what_another_architecture_adds_must_be_off(family: dict[str, Any], key: str, place: Path, value: Any) -> None:
    if not equal(value, NEUTRAL[key]):
        with pytest.raises(UnsupportedModel, match=key):
            read(place, family | {key: value})


@pytest.mark.parametrize("value", FALSY, ids=repr)
@pytest.mark.parametrize("family", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_an_unknown_key_is_refused_whatever_it_holds(family: dict[str, Any], value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"first_k_dense_replace is .*, which refspec does not know"):
        read(tmp_path, family | {"first_k_dense_replace": value})


def test_true_is_not_one_and_zero_is_not_false(tmp_path: Path) -> None:
    for key, value in (("num_experts", False), ("use_mrope", 0), ("scale_attn_weights", 1), ("partial_rotary_factor", True)):
        with pytest.raises((UnsupportedModel, BadConfig), match=key):
            read(tmp_path, LLAMA | {key: value})
    assert read(tmp_path, LLAMA | {"partial_rotary_factor": 1}) == read(tmp_path, LLAMA)


@pytest.mark.parametrize("value", [*FALSY, 4096], ids=repr)
def test_a_window_means_something_unless_its_switch_is_off(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"sliding_window is "):
        read(tmp_path, LLAMA | {"sliding_window": value})
    assert read(tmp_path, LLAMA | {"sliding_window": value, "use_sliding_window": False}) == read(tmp_path, LLAMA)


def test_the_experts_of_a_model_without_any_are_not_read(tmp_path: Path) -> None:
    experts = {"num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": True}
    assert read(tmp_path, LLAMA | experts | {"num_experts": 0}) == read(tmp_path, LLAMA)
    with pytest.raises(UnsupportedModel, match=r"num_experts is 128; .*moe_intermediate_size is 768, norm_topk_prob is True"):
        read(tmp_path, LLAMA | experts | {"num_experts": 128})


def test_a_message_about_a_thousand_keys_stays_one_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"key_000, key_001, .* and \d+ more keys, which refspec does not know") as caught:
        read(tmp_path, LLAMA | {f"key_{i:03}": 1 for i in range(1000)} | {"k" * 5000: "v" * 5000})
    assert len(str(caught.value)) - len(str(tmp_path)) < 400
    with pytest.raises(UnsupportedModel, match=r"a is 1, b is 'x', which refspec does not know"):
        read(tmp_path, LLAMA | {"b": "x", "a": 1})
    with pytest.raises(UnsupportedModel, match=r": five, four, one, three, two, which refspec does not know"):
        read(tmp_path, LLAMA | dict.fromkeys(("one", "two", "three", "four", "five"), "x" * 500))


USUAL = {"gpt2": {"activation_function": "gelu_new"}, "llama": {"hidden_act": "silu"}}


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_what_must_have_one_value_may_say_it_and_no_other(tmp_path: Path, config: dict[str, Any]) -> None:
    for key, value in USUAL[config["model_type"]].items():
        assert read(tmp_path, {**config, key: value}) == read(tmp_path, config)
        with pytest.raises(UnsupportedModel, match=key):
            read(tmp_path, {**config, key: "relu"})


@pytest.mark.parametrize("family", [GPT2, BIGCODE], ids=["gpt2", "gpt_bigcode"])
def test_the_names_of_two_functions(family: dict[str, Any], tmp_path: Path) -> None:
    for name in TANH_GELU:
        assert read(tmp_path, family | {"activation_function": name}) == read(tmp_path, family)
    for name in EXACT_GELU:
        assert read(tmp_path, family | {"activation_function": name}) == replace(read(tmp_path, family), exact_gelu=True)


@pytest.mark.parametrize(("multi_query", "groups"), [(True, 1), (False, 3)])
def test_key_heads_are_said_by_one_switch(multi_query: bool, groups: int, tmp_path: Path) -> None:
    """transformers 5 writes their number as well, and goes by the switch whatever that number is."""
    config = BIGCODE | {"multi_query": multi_query}
    assert read(tmp_path, config) == read(tmp_path, config | {"num_key_value_heads": groups})
    assert read(tmp_path, config) == replace(read(tmp_path, BIGCODE), kv_heads=groups)
    for other in {1, 2, 3} - {groups}:
        with pytest.raises(BadConfig, match=f"num_key_value_heads is {other} where multi_query says {groups}"):
            read(tmp_path, config | {"num_key_value_heads": other})


@pytest.mark.parametrize(
    ("config", "other"),
    [(GPT2, "LlamaForCausalLM"), (LLAMA, "MistralForCausalLM"), (LLAMA, "LlamaForCausalLMEagle3"), (LLAMA, "Qwen2ForCausalLM")],
    ids=lambda each: each if isinstance(each, str) else each["model_type"],
)
def test_a_class_of_another_name_is_another_model(config: dict[str, Any], other: str, tmp_path: Path) -> None:
    for ours in ("GPT2LMHeadModel", "GPT2Model") if config is GPT2 else ("LlamaForCausalLM", "LLaMAForCausalLM"):
        assert read(tmp_path, config | {"architectures": [ours]}) == read(tmp_path, config | {"architectures": None})
    with pytest.raises(UnsupportedModel, match=f"architectures is .*{other}"):
        read(tmp_path, config | {"architectures": [other]})


# ---- keys that contradict each other

TWICE: list[tuple[dict[str, Any], dict[str, Any], str]] = [  # what is said, what must not be said beside it, and of what
    ({"rope_theta": 5.0}, {"rope_parameters": {"rope_theta": 6.0}}, "rope_theta"),
    ({"rope_theta": 5}, {"rope_scaling": {"rope_type": "default", "rope_theta": 6.0}}, "rope_theta"),
    ({"rope_scaling": {"rope_theta": 5.0}}, {"rope_parameters": {"rope_theta": 6.0}}, "rope_theta"),
    ({"rope_scaling": {"type": "linear"}}, {"rope_parameters": {"rope_type": "default"}}, "rope_type"),
    ({"partial_rotary_factor": 1.0}, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ({"original_max_position_embeddings": 9}, {"rope_scaling": {"original_max_position_embeddings": 8}}, "original_max"),
    ({"layer_types": ["full_attention"] * 3}, {"num_hidden_layers": 2}, "layer_types"),
    ({"n_embd": 24}, {"hidden_size": 32}, "n_embd"),
    ({"n_layer": 2}, {"num_hidden_layers": 3}, "n_layer"),
    ({"n_head": 3}, {"num_attention_heads": 4}, "n_head"),
    ({"n_positions": 7}, {"max_position_embeddings": 8}, "n_positions"),
]


@pytest.mark.parametrize(("one", "other", "what"), TWICE, ids=lambda each: each if isinstance(each, str) else "")
def test_two_keys_that_contradict_each_other(one: dict[str, Any], other: dict[str, Any], what: str, tmp_path: Path) -> None:
    family = GPT2 if what.startswith("n_") else LLAMA
    with pytest.raises(BadConfig, match=what):
        read(tmp_path, family | one | other)


def test_two_keys_that_agree(tmp_path: Path) -> None:
    both = {"rope_theta": 5, "rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}, "rope_scaling": {"type": "default"}}
    assert read(tmp_path, LLAMA | both) == read(tmp_path, LLAMA | {"rope_theta": 5.0})
    names = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    same = {name: GPT2[ours] for name, ours in names.items()}
    assert read(tmp_path, GPT2 | same) == read(tmp_path, GPT2)
    renamed = {key: value for key, value in GPT2.items() if key not in names.values()}
    assert read(tmp_path, renamed | same) == read(tmp_path, GPT2)


# ---- numbers

NUMBERS = ["rms_norm_eps", "rope_theta", "embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"]


@pytest.mark.parametrize("key", NUMBERS)
@given(value=st.floats(min_value=0, exclude_min=True, allow_infinity=False))
@example(value=1e39)  # infinite in float32
@example(value=1e-46)  # 0 in float32
@settings(max_examples=50)
def test_a_number_is_one_that_float32_holds(key: str, place: Path, value: float) -> None:
    held = float(np.finfo(np.float32).tiny) <= value <= float(np.finfo(np.float32).max)
    config = LLAMA | {"model_type": "granite", key: value}
    if held:
        assert 0 < np.float32(read(place, config).norm_eps) < np.inf
    else:
        with pytest.raises(BadConfig, match=f"{key} is .*float32 holds"):
            read(place, config)


# ---- published files


@pytest.mark.parametrize(("name", "config"), published().items(), ids=list(published()))
def test_a_published_configuration_loads(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    model = refspec.load(write_folder(tmp_path, config, tokenizer=False))
    assert np.isfinite(model.logits([1, 2, 3])).all()
    ours = model.config
    rope = config.get("rope_parameters") or config
    said = {
        "norm_eps": config.get("layer_norm_epsilon", config.get("rms_norm_eps")),
        "tied": config.get("tie_word_embeddings", config["model_type"].startswith("gpt")),
        "rope_theta": rope.get("rope_theta", 10000.0),
        "logits_divisor": config.get("logits_scaling", 1.0),
        "exact_gelu": config.get("activation_function") == "gelu",
        "output_bias": config.get("attention_bias", False),
    }
    assert all(getattr(ours, field) == value for field, value in said.items() if hasattr(ours, field))
    assert getattr(ours, "rope_scaling", None) is None or ours.rope_scaling.factor > 1
    assert ("llama3" in json.dumps(config)) == (getattr(ours, "rope_scaling", None) is not None)
