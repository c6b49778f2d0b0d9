"""Every family against Hugging Face transformers, on small random checkpoints that transformers itself saved.

Random means every parameter: transformers starts biases at 0, norms at 1 and Granite's multipliers at 1, where a
forgotten term would not show. That the comparison notices what it should is tested too: each tensor and each number of
`config.json` is disturbed in turn.

torch and transformers are imported inside the functions: they take seconds, and the ordinary run only collects this file.
"""

import json
from pathlib import Path
from typing import Any

import frozen
import numpy as np
import pytest
from folders import write_folder
from published import published

import refspec
from refspec.arrays import Array
from refspec.models.sampling import Sampling
from refspec.transformer.config import read_config

pytestmark = pytest.mark.peers

# float32 has 24 bits: 6e-8 of a logit of size 10, and some hundred roundings on the way.
FLOAT32 = 1e-4
# float64 has 53 bits: the same count of roundings, each 2e-16.
FLOAT64 = 1e-9
# transformers computes its RMS norms and rotary angles in float32 whatever the model's type is.
FLOAT32_INSIDE = 1e-5

TOKENS = tuple(int(token) for token in np.random.default_rng(1).integers(0, 97, 90))

GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 97,
    "n_positions": 160,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "layer_norm_epsilon": 1e-2,  # large, so that it shows; likewise below
}
BIGCODE = GPT2 | {"model_type": "gpt_bigcode"}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0},
}
# With heads of 16 the wavelengths are 6, 15 (kept), 35 (mixed), 84 and up (slowed down by 8).
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LLAMA3 = LLAMA | {"head_dim": 16, "rope_parameters": LLAMA3_ROPE}
QWEN3 = LLAMA | {"model_type": "qwen3", "head_dim": 10}
GRANITE = LLAMA | {
    "model_type": "granite",
    "embedding_multiplier": 7.0,
    "residual_multiplier": 0.3,
    "attention_multiplier": 0.2,  # 1 / sqrt(8) would be 0.35
    "logits_scaling": 0.7,
}
TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}

GPT2_CASES = {
    "gpt2-tied": GPT2 | TIED,
    "gpt2-untied": GPT2 | UNTIED,
    "gpt2-exact-gelu": GPT2 | {"activation_function": "gelu"},
    "gpt2-inner": GPT2 | {"n_inner": 40, "activation_function": "gelu_pytorch_tanh"},
}
BIGCODE_CASES = {
    "bigcode-one-key-head-tied": BIGCODE | TIED,
    "bigcode-one-key-head-untied": BIGCODE | UNTIED,
    "bigcode-all-heads": BIGCODE | {"multi_query": False},
    "bigcode-exact-gelu": BIGCODE | {"n_inner": 40, "activation_function": "gelu"},
}
GPT2_CASES |= BIGCODE_CASES
LLAMA_CASES = {
    "llama-grouped-tied": LLAMA | TIED,
    "llama-grouped-untied": LLAMA | UNTIED,
    "llama-all-heads": LLAMA | {"num_key_value_heads": 4},
    "llama-one-key-head": LLAMA | {"num_key_value_heads": 1},
    "llama-biases-tied": LLAMA | TIED | {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},  # granite-3b-code
    "llama-head-dim": LLAMA | {"head_dim": 6},
    "llama3-rope": LLAMA3,
    "qwen2-tied": LLAMA | TIED | {"model_type": "qwen2"},
    "qwen2-untied": LLAMA | UNTIED | {"model_type": "qwen2"},
    "qwen3-tied": QWEN3 | TIED,
    "qwen3-untied": QWEN3 | UNTIED,
    "qwen3-biases": QWEN3 | {"attention_bias": True},
    "granite-tied": GRANITE | TIED,
    "granite-untied": GRANITE | UNTIED,
    "granite-biases": GRANITE | {"attention_bias": True, "mlp_bias": True},
}
CASES = GPT2_CASES | LLAMA_CASES


@pytest.fixture(autouse=True)
def _peers() -> None:
    """Nothing here runs without both."""
    pytest.importorskip("torch", reason="torch is in the optional extra `peers`")
    pytest.importorskip("transformers", reason="transformers is in the optional extra `peers`")


def random_model(config: dict[str, Any]) -> Any:
    """A transformers model whose parameters are all random: matrices that keep sizes near 1, norms around 1, biases around 0."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.15 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + noise if parameter.ndim == 1 and name.endswith("weight") else noise)
    return model


def saved(config: dict[str, Any], folder: Path) -> Path:
    """The folder that transformers writes for a random model of this configuration."""
    random_model(config).save_pretrained(folder)
    return folder


def peer_logits(folder: Path, dtype: str = "float32", *, float64_inside: bool = False) -> Array:
    return frozen.peer_logits(folder, TOKENS, dtype, float64_inside=float64_inside)


def our_logits(folder: Path, dtype: str = "float32") -> Array:
    logits = refspec.load(folder, dtype=np.dtype(dtype)).logits(TOKENS)
    assert logits.dtype == dtype
    return logits


def distance(ours: Array, theirs: Array) -> float:
    assert ours.shape == theirs.shape == (len(TOKENS), 97)
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("case", CASES)
def test_float32(case: str, tmp_path: Path) -> None:
    folder = saved(CASES[case], tmp_path)
    difference = distance(our_logits(folder), peer_logits(folder))
    assert difference < FLOAT32


@pytest.mark.parametrize("case", GPT2_CASES)
def test_float64_gpt2(case: str, tmp_path: Path) -> None:
    folder = saved(GPT2_CASES[case], tmp_path)
    difference = distance(our_logits(folder, "float64"), peer_logits(folder, "float64"))
    assert difference < FLOAT64


@pytest.mark.parametrize("case", LLAMA_CASES)
def test_float64_llama(case: str, tmp_path: Path) -> None:
    folder = saved(LLAMA_CASES[case], tmp_path)
    difference = distance(our_logits(folder, "float64"), peer_logits(folder, "float64"))
    assert difference < FLOAT32_INSIDE


@pytest.mark.parametrize("case", LLAMA_CASES)
def test_float64_llama_with_float64_inside(case: str, tmp_path: Path) -> None:
    folder = saved(LLAMA_CASES[case], tmp_path)
    difference = distance(our_logits(folder, "float64"), peer_logits(folder, "float64", float64_inside=True))
    assert difference < FLOAT64


def test_the_frozen_logits_are_what_transformers_computes() -> None:
    """The file that the ordinary run compares with cannot drift: `python tests/frozen.py` writes these numbers."""
    today, frozen_before = frozen.regenerated(), frozen.frozen_logits()
    assert today.keys() == frozen_before.keys()
    for case, logits in today.items():
        # the same sums in another order, where torch has another release or processor; FLOAT64 of test_frozen.py
        assert np.abs(logits - frozen_before[case]).max() <= 1e-12, case


@pytest.mark.parametrize(("name", "config"), published().items(), ids=list(published()))
def test_a_published_configuration_means_what_transformers_takes_it_for(
    name: str, config: dict[str, Any], tmp_path: Path
) -> None:
    """Our reading decides which tensors there are, and transformers reads the same file and tensors."""
    # without what transformers 5 trips over: an answer as a tuple, and a quantization that is none
    folder = write_folder(
        tmp_path, {key: config[key] for key in config.keys() - {"return_dict", "quantization_config"}}, tokenizer=False
    )
    tokens = TOKENS[:60]
    difference = np.abs(refspec.load(folder).logits(tokens) - frozen.peer_logits(folder, tokens)).max()
    assert difference < FLOAT32


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "sharded": ("float32", {"max_shard_size": "20KB"}),
    "float16": ("float16", {}),
    "bfloat16": ("bfloat16", {}),
    "bfloat16 sharded": ("bfloat16", {"max_shard_size": "10KB"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "case",
    [
        "gpt2-tied",
        "gpt2-untied",
        "bigcode-one-key-head-tied",
        "llama-grouped-tied",
        "qwen2-untied",
        "qwen3-tied",
        "granite-untied",
    ],
)
def test_forms_of_a_checkpoint(case: str, form: str, tmp_path: Path) -> None:
    import torch

    dtype, options = FORMS[form]
    random_model(CASES[case]).to(getattr(torch, dtype)).save_pretrained(tmp_path, **options)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    assert ("sharded" in form) == (len(list(tmp_path.glob("*.safetensors"))) > 2)
    assert distance(our_logits(tmp_path), peer_logits(tmp_path)) < FLOAT32


def test_gpt2_as_the_original_files_have_it(tmp_path: Path) -> None:
    """gpt2 on the hub: no prefix before the names, and the causal mask saved beside each layer."""
    from safetensors.numpy import load_file, save_file

    saved(GPT2 | TIED, tmp_path / "new")
    expected = peer_logits(tmp_path / "new")
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "config.json").write_text((tmp_path / "new" / "config.json").read_text())
    tensors = load_file(tmp_path / "new" / "model.safetensors")
    renamed = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    masks = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 160, 160), np.float32)) for i in range(2)}
    save_file(renamed | masks, tmp_path / "original" / "model.safetensors", metadata={"format": "pt"})
    assert distance(peer_logits(tmp_path / "original"), expected) == 0  # transformers reads that layout too
    assert distance(our_logits(tmp_path / "original"), expected) < FLOAT32


@pytest.mark.parametrize("spelling", ["rope_type", "type"])
@pytest.mark.parametrize("rope", [LLAMA["rope_parameters"], LLAMA3_ROPE], ids=["plain", "llama3"])
def test_configuration_of_transformers_4(rope: dict[str, Any], spelling: str, tmp_path: Path) -> None:
    """Base and scaling as two keys, the type under either name, and `torch_dtype`."""
    saved(LLAMA3 | {"rope_parameters": rope}, tmp_path)
    expected = peer_logits(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    scaling = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = scaling.pop("rope_theta")
    scaling[spelling] = scaling.pop("rope_type")
    config["rope_scaling"] = scaling if len(scaling) > 1 else None
    path.write_text(json.dumps(config))
    assert distance(peer_logits(tmp_path), expected) == 0
    assert distance(our_logits(tmp_path), expected) < FLOAT32


@pytest.mark.parametrize("family", ["gpt2", "gpt_bigcode", "llama", "qwen2", "qwen3", "granite"])
def test_what_a_configuration_leaves_out_is_what_transformers_takes_it_for(family: str, tmp_path: Path) -> None:
    """The sizes alone, and with every other key that refspec reads as transformers dumps it: the same configuration."""
    from transformers import AutoConfig

    sizes = """vocab_size n_positions n_embd n_layer n_head hidden_size intermediate_size num_hidden_layers
    num_attention_heads max_position_embeddings""".split()
    if family.startswith("qwen"):
        sizes.append("num_key_value_heads")  # 32 there, whatever the heads are: weights of another shape would be refused here
    given = {key: value for key, value in (GPT2 if family.startswith("gpt") else LLAMA).items() if key in sizes}
    given["model_type"] = family
    others = """n_inner multi_query num_key_value_heads head_dim tie_word_embeddings rope_parameters hidden_act
    activation_function sliding_window use_sliding_window""".split()
    if family != "qwen2":  # whose biases are no choice
        others += ["attention_bias", "mlp_bias"]
    dumped = {key: value for key, value in AutoConfig.for_model(**given).to_dict().items() if key in {*others, *NUMBERS}}

    (tmp_path / "config.json").write_text(json.dumps(given))
    ours = read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(dumped | given))
    assert len(dumped) > 3
    assert read_config(tmp_path) == ours


# Between them these have every kind of tensor and number.
CONTROLS = [
    "gpt2-untied",
    "bigcode-one-key-head-untied",
    "bigcode-all-heads",
    "llama-biases-tied",
    "llama3-rope",
    "qwen2-untied",
    "qwen3-biases",
    "granite-biases",
]


@pytest.mark.parametrize("case", CONTROLS)
def test_any_disturbed_tensor_would_be_noticed(case: str, tmp_path: Path) -> None:
    """Negative control: 10 % of noise in any one tensor that transformers saved moves our logits well past the tolerance."""
    from safetensors.numpy import load_file, save_file

    folder = saved(CASES[case], tmp_path)
    expected = peer_logits(folder)
    tensors = load_file(folder / "model.safetensors")
    random = np.random.default_rng(0)
    for name, tensor in tensors.items():
        noise = 1 + 0.1 * random.standard_normal(tensor.shape, dtype=np.float32)
        save_file(tensors | {name: tensor * noise}, folder / "model.safetensors")
        assert distance(our_logits(folder), expected) > 10 * FLOAT32, name


# The real numbers of config.json that the mathematics reads; the rest is sizes, which tensors are checked against.
NUMBERS = set(
    """layer_norm_epsilon rms_norm_eps rope_theta factor low_freq_factor high_freq_factor embedding_multiplier
    residual_multiplier attention_multiplier logits_scaling""".split()
)


@pytest.mark.parametrize("case", CONTROLS)
def test_any_disturbed_number_of_the_configuration_would_be_noticed(case: str, tmp_path: Path) -> None:
    """Negative control: a tenth more in any one of them moves our logits well past the tolerance."""
    folder = saved(CASES[case], tmp_path)
    path, expected = folder / "config.json", peer_logits(folder)
    config = json.loads(path.read_text())
    disturbed = set()
    for where in (config, config.get("rope_parameters", {})):
        for key in NUMBERS & where.keys():
            value = where[key]
            where[key] = 1.1 * value
            path.write_text(json.dumps(config))
            assert distance(our_logits(folder), expected) > 10 * FLOAT32, key
            where[key] = value
            disturbed.add(key)
    assert disturbed == NUMBERS & (CASES[case] | CASES[case].get("rope_parameters", {})).keys()  # each one that we set


# ---- warps (N8)

WARPS = [
    Sampling(temperature=0.7),
    Sampling(temperature=1.3, top_k=1),
    Sampling(top_k=20),
    Sampling(top_k=500),
    Sampling(top_p=0.9),
    Sampling(top_p=0.05),
    Sampling(min_p=0.1),
    Sampling(temperature=0.6, top_k=12, top_p=0.8),
    Sampling(temperature=2.0, top_k=30, top_p=0.9, min_p=0.3),
    Sampling(temperature=0.9, top_p=0.7, min_p=0.05),
]


def peer_warp(logits: Array, warp: Sampling) -> Array:
    """transformers' processors in the order of N8, on logits [n, v]."""
    import torch
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = TemperatureLogitsWarper(warp.temperature)(None, torch.from_numpy(logits))
    if warp.top_k is not None:
        scores = TopKLogitsWarper(warp.top_k)(None, scores)
    if warp.top_p is not None:
        scores = TopPLogitsWarper(warp.top_p)(None, scores)
    if warp.min_p is not None:
        scores = MinPLogitsWarper(warp.min_p)(None, scores)
    probs: Array = scores.softmax(-1).numpy()
    return probs


def random_logits(size: int) -> Array:
    """Rows [200, size] without ties: normal float64 numbers, which also keeps sums off the thresholds."""
    logits = 3 * np.random.default_rng(size).standard_normal((200, size))
    assert all(len(set(row)) == size for row in logits.tolist())
    return logits


@pytest.mark.parametrize("size", [2, 50, 1000])
@pytest.mark.parametrize("warp", WARPS, ids=str)
def test_warps(warp: Sampling, size: int) -> None:
    logits = random_logits(size)
    ours, theirs = warp(logits), peer_warp(logits, warp)
    assert np.array_equal(ours > 0, theirs > 0)  # the same tokens are kept
    # Probabilities are at most 1; each step divides by a sum of up to 1000 float64 terms, in another order there.
    assert np.abs(ours - theirs).max() < 1e-13


def test_another_order_of_warps_would_be_noticed() -> None:
    """Negative control: top-p before top-k keeps other tokens on these very logits."""
    logits = random_logits(50)
    swapped = Sampling(top_k=12)(np.log(Sampling(temperature=0.6, top_p=0.8)(logits) + 1e-300))
    theirs = peer_warp(logits, Sampling(temperature=0.6, top_k=12, top_p=0.8))
    assert not np.array_equal(swapped > 1e-200, theirs > 0)
