"""What hooks write from a transformers model agrees with ours, and a fault planted in that model is named where it is.

torch and transformers are imported inside the functions: they take seconds, and the ordinary run only collects this file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import BIGCODE, GPT2, LLAMA, write_folder

from refspec.errors import BadArgument
from refspec.models.activations import Comparison, compare
from refspec.models.torch_activations import record_activations

pytestmark = pytest.mark.peers

FAMILIES = {
    "gpt2": GPT2,
    "gpt2, exact gelu": {**GPT2, "activation_function": "gelu"},
    "bigcode": BIGCODE,
    "llama": LLAMA,
    "llama with biases": {**LLAMA, "attention_bias": True, "mlp_bias": True},
    "qwen2": {**LLAMA, "model_type": "qwen2"},
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 10},
    "granite": {**LLAMA, "model_type": "granite", "embedding_multiplier": 7.0, "residual_multiplier": 0.3},
}
TOKENS = [(7 * i * i + 3) % 256 for i in range(60)]


@pytest.fixture(autouse=True)
def _peers() -> None:
    pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    pytest.importorskip("transformers", reason="transformers is in the optional extra `peers`")


def compared(config: dict[str, Any], folder: Path, plant: Callable[[Any], None], dtype: str = "float32") -> Comparison:
    import torch
    from transformers import AutoModelForCausalLM

    write_folder(folder, config, tokenizer=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    with torch.no_grad():
        plant(model)
    record_activations(model, TOKENS, folder / "activations.safetensors")
    return compare(folder, folder / "activations.safetensors")


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_differs_nowhere(family: str, dtype: str, tmp_path: Path) -> None:
    found = compared(FAMILIES[family], tmp_path, lambda model: None, dtype)
    assert found.first is None, found.first
    assert (found.absent, found.unknown) == ((), ())
    assert found.type == dtype.replace("64", "32")
    # a tolerance that nothing comes near would hide what it should show
    assert dtype == "float64" or max(each.error / each.allowed for each in found.modules) > 0.1


def scaled_frequencies(model: Any) -> None:
    model.model.rotary_emb.inv_freq *= 0.98


def no_bias(model: Any) -> None:
    model.transformer.h[1].mlp.c_fc.bias.zero_()


def positions_from_1(model: Any) -> None:
    model.transformer.wpe.weight.copy_(model.transformer.wpe.weight.roll(-1, 0))


def swapped_heads(projection: Any) -> None:
    def swap(_: Any, given: Any) -> Any:
        first, second, *rest = given[0].split(8, dim=-1)
        import torch

        return (torch.cat([second, first, *rest], dim=-1),)

    projection.register_forward_pre_hook(swap)


def relu(mlp: Any, name: str) -> None:
    import torch

    setattr(mlp, name, torch.nn.ReLU().eval())


def no_epsilon(norm: Any, name: str) -> None:
    setattr(norm, name, 0.0)


PLANTED: dict[str, tuple[dict[str, Any], Callable[[Any], None], str]] = {
    "llama: rotary base": (LLAMA, scaled_frequencies, "rotary_emb.0"),
    "gpt2: missing bias": (GPT2, no_bias, "h.1.mlp.c_fc"),
    "gpt2: positions from 1": (GPT2, positions_from_1, "wpe"),
    "gpt2: heads swapped": (GPT2, lambda m: swapped_heads(m.transformer.h[1].attn.c_proj), "h.1.attn.c_proj.input"),
    "llama: heads swapped": (
        LLAMA,
        lambda m: swapped_heads(m.model.layers[1].self_attn.o_proj),
        "layers.1.self_attn.o_proj.input",
    ),
    "gpt2: another activation": (GPT2, lambda m: relu(m.transformer.h[1].mlp, "act"), "h.1.mlp.act"),
    "llama: another activation": (LLAMA, lambda m: relu(m.model.layers[1].mlp, "act_fn"), "layers.1.mlp.act_fn"),
    "gpt2: epsilon": (GPT2, lambda m: no_epsilon(m.transformer.h[1].ln_2, "eps"), "h.1.ln_2"),
    "llama: epsilon": (
        LLAMA,
        lambda m: no_epsilon(m.model.layers[1].post_attention_layernorm, "variance_epsilon"),
        "layers.1.post_attention_layernorm",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_fault_planted_in_transformers_is_named(what: str, tmp_path: Path) -> None:
    config, plant, module = PLANTED[what]
    found = compared(config, tmp_path, plant)
    assert found.first is not None
    assert found.first.name == module


# What one operation of 8 binary digits can show. An epsilon of 1e-5 it cannot.
IN_BFLOAT16 = {
    "gpt2: missing bias": PLANTED["gpt2: missing bias"],
    "gpt2: positions from 1": PLANTED["gpt2: positions from 1"],
    "gpt2: heads swapped": PLANTED["gpt2: heads swapped"],
    "llama: heads swapped": PLANTED["llama: heads swapped"],
    "gpt2: another activation": PLANTED["gpt2: another activation"],
    "llama: another activation": PLANTED["llama: another activation"],
    "llama: rotary base": (LLAMA, lambda m: m.model.rotary_emb.inv_freq.mul_(0.9), "rotary_emb.0"),
    "llama: epsilon": (
        LLAMA,
        lambda m: setattr(m.model.layers[1].post_attention_layernorm, "variance_epsilon", 0.1),
        "layers.1.post_attention_layernorm",
    ),
}


@pytest.mark.parametrize("what", IN_BFLOAT16)
def test_a_fault_that_bfloat16_can_show_is_named(what: str, tmp_path: Path) -> None:
    config, plant, module = IN_BFLOAT16[what]
    found = compared(config, tmp_path, plant, "bfloat16")
    assert found.first is not None
    assert (found.first.name, found.type) == (module, "bfloat16")


def test_a_long_text_and_a_large_base_raise_no_false_alarm(tmp_path: Path) -> None:
    """transformers raises the base in float32, by a logarithm: the angles of a text of a thousand tokens are off by as much."""
    import torch
    from transformers import AutoModelForCausalLM

    config = {**LLAMA, "head_dim": 64, "rope_theta": 5e5, "num_hidden_layers": 1, "max_position_embeddings": 1000}
    folder = write_folder(tmp_path / "model", config, tokenizer=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    record_activations(model, [i % 256 for i in range(1000)], tmp_path / "file")
    assert compare(folder, tmp_path / "file").first is None


def test_training_mode_is_refused(tmp_path: Path) -> None:
    import torch

    with pytest.raises(BadArgument, match=r"call model.eval\(\) first"):
        record_activations(torch.nn.Linear(2, 2), [1], tmp_path / "file")
    one_of_two = torch.nn.Sequential(torch.nn.Embedding(4, 4), torch.nn.Dropout(0.5)).eval()
    one_of_two[1].train()
    with pytest.raises(BadArgument, match=r"call model.eval\(\) first"):
        record_activations(one_of_two, [1], tmp_path / "file")


@pytest.mark.parametrize("tokens", [[], [[1, 2]], [1.5], "abc", [-1]])
def test_ids_that_are_none_are_refused(tokens: Any, tmp_path: Path) -> None:
    import torch

    with pytest.raises(BadArgument, match=r"give the ids of one text|token id -1 is not in the vocabulary"):
        record_activations(torch.nn.Embedding(4, 4).eval(), tokens, tmp_path / "file")
    with pytest.raises(BadArgument, match="give a PyTorch module"):
        record_activations(len, [1], tmp_path / "file")
