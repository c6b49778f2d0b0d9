"""What a `config.json` means that leaves something out, or says something falsy that is not nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from refspec.errors import UnsupportedModel
from refspec.transformer.config import GPT2Config, LlamaConfig, RopeScaling, read_config
from refspec.transformer.keys import HARMLESS, HARMLESS_WHEN_OFF

# Sizes only, of which no two are equal.
GPT2: dict[str, Any] = {"model_type": "gpt2", "vocab_size": 11, "n_positions": 7, "n_layer": 2, "n_embd": 24, "n_head": 3}
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


def test_the_defaults_of_gpt2(tmp_path: Path) -> None:
    """Those of transformers, which a configuration relies on by leaving them out (`pytest -m peers` asks it)."""
    assert read(tmp_path, GPT2) == GPT2Config(
        model_type="gpt2",
        vocab_size=11,
        context=7,
        layers=2,
        width=24,
        heads=3,
        inner=96,
        norm_eps=1e-5,
        tied=True,
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
        ({"rope_parameters": {"rope_theta": 6.0}, "rope_theta": 5.0}, 6.0),  # what is inside is said of this rope
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


FALSY = [0, 0.0, "", False, [], {}]


@pytest.mark.parametrize("value", FALSY, ids=repr)
@pytest.mark.parametrize("family", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_an_unknown_key_is_refused_whatever_it_holds(family: dict[str, Any], value: Any, tmp_path: Path) -> None:
    """Zero of something is a choice as well; only null says nothing."""
    with pytest.raises(UnsupportedModel, match=r"first_k_dense_replace is .*, which refspec does not know"):
        read(tmp_path, family | {"first_k_dense_replace": value})
    assert read(tmp_path, family | {"first_k_dense_replace": None}) == read(tmp_path, family)


@pytest.mark.parametrize("value", [each for each in FALSY if each is not False], ids=repr)
def test_a_switch_is_off_only_where_it_says_false(value: Any, tmp_path: Path) -> None:
    for key in HARMLESS_WHEN_OFF - HARMLESS:
        assert read(tmp_path, LLAMA | {key: False}) == read(tmp_path, LLAMA)
        for given in (value, True):
            with pytest.raises(UnsupportedModel, match=rf"{key} is .*, which refspec does not know"):
                read(tmp_path, LLAMA | {key: given})


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_a_window_of_nothing_is_still_a_window(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"sliding_window is .*; refspec implements None"):
        read(tmp_path, LLAMA | {"sliding_window": value})


USUAL = {
    "gpt2": {
        "add_cross_attention": False,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "is_causal": True,
    },
    "llama": {"hidden_act": "silu", "rope_interleaved": False, "use_sliding_window": False, "is_causal": True},
}


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_what_must_have_one_value_may_say_it_and_no_other(tmp_path: Path, config: dict[str, Any]) -> None:
    for key, value in USUAL[config["model_type"]].items():
        assert read(tmp_path, {**config, key: value}) == read(tmp_path, config)
        with pytest.raises(UnsupportedModel, match=key):
            read(tmp_path, {**config, key: "gelu" if isinstance(value, str) else not value})
