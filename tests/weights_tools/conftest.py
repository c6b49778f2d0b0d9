"""A refspec home of its own for every test here, and a Llama in GGUF small enough to make on the spot."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WIDTH, HEADS, KEY_HEADS, HEAD_WIDTH, LAYERS, INNER = 64, 4, 2, 16, 2, 96
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"Ġab123xĊ", "ĠĠ", "Ġa", "ab", "23", "<tool>"]
TYPES = [3, 3, 3, *[1] * 12, 4]
MERGES = ["Ġ Ġ", "Ġ a", "a b", "2 3"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """No fast test touches the user's cache; the real weights are the one thing that is shared."""
    folder = tmp_path / "home"
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setenv("REFSPEC_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch on one core: small networks are slower on more, and the suite may share the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class TinyGguf:
    path: Path
    expected: dict[str, np.ndarray]  # by Hugging Face name, as it must come back


def llama_cpp_order(weight: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does, row by row: of each head, rows i and i + e/2 become neighbours 2i and 2i + 1."""
    stored, e = np.empty_like(weight), weight.shape[0] // heads
    for head in range(heads):
        for i in range(e // 2):
            stored[head * e + 2 * i] = weight[head * e + i]
            stored[head * e + 2 * i + 1] = weight[head * e + i + e // 2]
    return stored


@pytest.fixture
def make_gguf(tmp_path: Path) -> Any:
    """make_gguf(tied=True, **metadata): write a random tiny Llama in Q4_1, Q8_0 and F32; other metadata override."""
    gguf = pytest.importorskip("gguf", reason="gguf is in the optional extra `weights`")
    kinds = gguf.GGMLQuantizationType

    def make(*, tied: bool = True, pre: str = "smollm", extra: dict[str, int] | None = None) -> TinyGguf:
        path, random, expected = tmp_path / "tiny.gguf", np.random.default_rng(0), {}
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_vocab_size(len(TOKENS))
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(INNER)
        writer.add_block_count(LAYERS)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KEY_HEADS)
        writer.add_rope_dimension_count(HEAD_WIDTH)
        writer.add_context_length(128)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(100000.0)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(TOKENS)
        writer.add_token_types(TYPES)
        writer.add_token_merges(MERGES)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template(TEMPLATE)
        for key, value in (extra or {}).items():
            writer.add_uint32(key, value)

        def add(stored: str, name: str, shape: tuple[int, ...], kind: Any, heads: int | None = None) -> None:
            weight = random.standard_normal(shape, dtype=np.float32)
            if kind == kinds.F32:
                expected[name] = weight
                writer.add_tensor(stored, weight)
                return
            # rows are quantised one by one, so quantising and reordering rows commute
            expected[name] = gguf.dequantize(gguf.quants.quantize(weight, kind), kind)
            weight = weight if heads is None else llama_cpp_order(weight, heads)
            writer.add_tensor(stored, gguf.quants.quantize(weight, kind), raw_dtype=kind)

        add("token_embd.weight", "model.embed_tokens.weight", (len(TOKENS), WIDTH), kinds.Q8_0)
        for n in range(LAYERS):
            ours, theirs, keys = f"model.layers.{n}.", f"blk.{n}.", KEY_HEADS * HEAD_WIDTH
            add(f"{theirs}attn_norm.weight", f"{ours}input_layernorm.weight", (WIDTH,), kinds.F32)
            add(f"{theirs}attn_q.weight", f"{ours}self_attn.q_proj.weight", (WIDTH, WIDTH), kinds.Q4_1, HEADS)
            add(f"{theirs}attn_k.weight", f"{ours}self_attn.k_proj.weight", (keys, WIDTH), kinds.Q4_1, KEY_HEADS)
            add(f"{theirs}attn_v.weight", f"{ours}self_attn.v_proj.weight", (keys, WIDTH), kinds.Q4_1)
            add(f"{theirs}attn_output.weight", f"{ours}self_attn.o_proj.weight", (WIDTH, WIDTH), kinds.Q4_1)
            add(f"{theirs}ffn_norm.weight", f"{ours}post_attention_layernorm.weight", (WIDTH,), kinds.F32)
            add(f"{theirs}ffn_gate.weight", f"{ours}mlp.gate_proj.weight", (INNER, WIDTH), kinds.Q4_1)
            add(f"{theirs}ffn_up.weight", f"{ours}mlp.up_proj.weight", (INNER, WIDTH), kinds.Q4_1)
            add(f"{theirs}ffn_down.weight", f"{ours}mlp.down_proj.weight", (WIDTH, INNER), kinds.Q4_1)
        add("output_norm.weight", "model.norm.weight", (WIDTH,), kinds.F32)
        if not tied:
            add("output.weight", "lm_head.weight", (len(TOKENS), WIDTH), kinds.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return TinyGguf(path, expected)

    return make
