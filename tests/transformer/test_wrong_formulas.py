"""Negative control of `test_frozen.py`: each formula that people write wrong moves the logits of some case away from the file."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from frozen import CASES, TOKENS, frozen_logits, in_turn, write_frozen_folder
from mutants.planting import patched

import refspec

# A thousand times what test_frozen.py allows in float64, so that each of these is far outside of it.
NOTICED = 1e-9

OPS, LLAMA, GPT2, CONFIG, WEIGHTS = (f"refspec.transformer.{each}" for each in ("ops", "llama", "gpt2", "config", "weights"))
PACKED = "refspec.transformer.packed"
WRONG: dict[str, tuple[str, str, str]] = {
    # norms
    "eps outside the root of a layer norm": (
        OPS,
        "np.sqrt(variance + x.dtype.type(eps))",
        "(np.sqrt(variance) + x.dtype.type(eps))",
    ),
    "eps outside the root of an RMS norm": (
        OPS,
        "np.sqrt(mean_square + x.dtype.type(eps))",
        "(np.sqrt(mean_square) + x.dtype.type(eps))",
    ),
    "a layer norm without eps": (OPS, "variance + x.dtype.type(eps)", "variance"),
    "an RMS norm that subtracts the mean": (
        OPS,
        "mean_square = np.vecdot",
        "x = x - x.mean(axis=-1, keepdims=True)\n    mean_square = np.vecdot",
    ),
    "a variance over d - 1": (
        OPS,
        "np.vecdot(centred, centred)[..., None] / d",
        "np.vecdot(centred, centred)[..., None] / (d - 1)",
    ),
    "a norm's weight counted from 1": (
        OPS,
        "np.sqrt(mean_square + x.dtype.type(eps)) * weight",
        "np.sqrt(mean_square + x.dtype.type(eps)) * (1 + weight)",
    ),
    "the default eps for the last norm": (LLAMA, "self.norm, config.norm_eps", "self.norm, 1e-6"),
    "the default eps for query and key norms": (LLAMA, "layer.qk_norm, config.norm_eps", "layer.qk_norm, 1e-6"),
    "the norm of gpt2's MLP before its attention": (GPT2, "layer_norm(x, *layer.attention_norm", "layer_norm(x, *layer.mlp_norm"),
    "the norm of a Llama's MLP before its attention": (LLAMA, "rms_norm(x, layer.attention_norm", "rms_norm(x, layer.mlp_norm"),
    "no norm before the head": (
        LLAMA,
        "packed.keep(rms_norm(x[packed.needed], self.norm, config.norm_eps))",
        "packed.keep(x[packed.needed])",
    ),
    "norms after the sum, as in the first transformer": (
        GPT2,
        "x = x + affine(inner, layer.down)",
        "x = layer_norm(x + affine(inner, layer.down), *layer.mlp_norm, config.norm_eps)",
    ),
    "query and key norms swapped": (
        LLAMA,
        "[query] * config.heads + [key] * config.kv_heads",
        "[key] * config.heads + [query] * config.kv_heads",
    ),
    "query and key norms left out": (LLAMA, "if layer.qk_norm is not None", "if False"),
    "query and key norms after the rotation": (
        LLAMA,
        """rotated = rms_norm(rotated, layer.qk_norm, config.norm_eps)
            rotated = rotate(rotated, cos, sin)""",
        """rotated = rms_norm(rotate(rotated, cos, sin), layer.qk_norm, config.norm_eps)
            else:
                rotated = rotate(rotated, cos, sin)""",
    ),
    # activations
    "another constant in GELU": (OPS, "0.044715", "0.0447"),
    "the exact GELU, by its sigmoid form": (OPS, "x.dtype.type(0.5) * x * (1 + np.tanh(inner))", "x / (1 + np.exp(-1.702 * x))"),
    "sqrt(pi / 2) in GELU": (OPS, "np.sqrt(2 / np.pi)", "np.sqrt(np.pi / 2)"),
    "GELU for SiLU": (LLAMA, "silu(gate) * up", "(0.5 * gate * (1 + np.tanh(0.7978845608 * (gate + 0.044715 * gate**3)))) * up"),
    "a sigmoid for SiLU": (OPS, "gate *= half", "gate *= 0.5"),
    "gate and up swapped": (LLAMA, "silu(gate) * up", "silu(up) * gate"),
    # attention
    "no attention scale in gpt2": (GPT2, "attend, e**-0.5)", "attend, 1.0)"),
    "the attention scale of the whole width": (GPT2, "attend, e**-0.5)", "attend, config.width**-0.5)"),
    "a scale from width / heads, not from head_dim": (CONFIG, "head_width**-0.5", "(width // heads)**-0.5"),
    "granite's attention multiplier beside the usual scale": (
        CONFIG,
        'keys.number("attention_multiplier", 1.0) if',
        'keys.number("attention_multiplier", 1.0) * head_width**-0.5 if',
    ),
    "query heads dealt to key heads in turn": (
        LLAMA,
        "attend(i, rotated[:h], rotated",
        "attend(i, rotated[:h].reshape(h // g, g, len(x), -1).swapaxes(0, 1).reshape(h, len(x), -1), rotated",
    ),
    "values before keys in a stacked matrix": (
        LLAMA,
        '[f"{attn}.q_proj", f"{attn}.k_proj", f"{attn}.v_proj"]',
        '[f"{attn}.q_proj", f"{attn}.v_proj", f"{attn}.k_proj"]',
    ),
    "heads of queries, keys and values interleaved": (
        GPT2,
        "heads = split_heads(qkv, h + 2 * g)",
        "heads = split_heads(qkv, h + 2 * g).reshape(-1, 2 + h // g, len(x), e).swapaxes(0, 1).reshape(h + 2 * g, len(x), e)",
    ),
    "values before keys where they are shared": (
        GPT2,
        "heads[h : h + g], heads[h + g :]",
        "heads[h + g :], heads[h : h + g]",
    ),
    "GPT-BigCode's heads taken for GPT-2's": (GPT2, "and config.kv_heads == config.heads", "and False"),
    "keys, queries and values of a head": (GPT2, "by_head.swapaxes(-3, -2)", "by_head[..., [1, 0, 2], :].swapaxes(-3, -2)"),
    "one GELU for the other": (GPT2, "exact_gelu if config.exact_gelu else gelu", "gelu if config.exact_gelu else exact_gelu"),
    "the exact GELU without its square root": (OPS, "x * math.sqrt(0.5)", "x"),
    "heads merged in another order": (
        OPS,
        "x.transpose(1, 0, 2).reshape(x.shape[1], -1)",
        "x.transpose(1, 2, 0).reshape(x.shape[1], -1)",
    ),
    "a token that does not see itself": (
        OPS,
        "else np.tri(n, dtype=bool)",
        "else np.tri(n, k=-1, dtype=bool) | np.eye(n, 1, dtype=bool).T | (np.arange(n) == 0)",
    ),
    "a token that sees the next": (OPS, "else np.tri(n, dtype=bool)", "else np.tri(n, k=1, dtype=bool)"),
    "the last key of a block left out": (OPS, "m - n + rows.stop", "m - n + rows.stop - 1"),
    "the mask laid over the first keys": (OPS, "[..., m - mask.shape[1] :]", "[..., : mask.shape[1]]"),
    "a block that forgets the past": (OPS, "m - n + rows.stop", "rows.stop"),
    "a block that sees the next token": (OPS, "m - n + rows.stop", "m - n + rows.stop + 1"),
    "masked scores of 0": (OPS, "-np.inf, where=~mask", "0, where=~mask"),
    # positions
    "rotary pairs, not halves": (
        OPS,
        "first, second = halves(x)\n    rotated = np.concatenate([second, first], axis=-1)",
        "rotated = x.reshape(*x.shape[:-1], -1, 2)[..., ::-1].reshape(x.shape)",
    ),
    "rotation the other way for queries and keys alike": (
        LLAMA,
        "np.concatenate([-turns, turns])",
        "np.concatenate([turns, turns])",
    ),
    "values rotated as well": (
        LLAMA,
        "rotated, values = heads[: h + g], heads[h + g :]",
        "rotated, values = heads[: h + g], rotate(heads[h + g :], cos, sin)",
    ),
    "another exponent of the frequencies": (LLAMA, "2) / config.head_width)", "2) / (config.head_width - 2))"),
    "the default rope_theta": (LLAMA, "config.rope_theta ** -", "10000.0 ** -"),
    "rope scaling left out": (LLAMA, "if scaling is None:", "if True:"),
    "rope scaling inverted": (LLAMA, "kept + (1 - kept) / scaling.factor", "1 - kept + kept / scaling.factor"),
    "frequencies multiplied by the factor": (LLAMA, "(1 - kept) / scaling.factor", "(1 - kept) * scaling.factor"),
    "the factors of rope scaling swapped": (
        LLAMA,
        "kept = (turns - scaling.low_freq_factor)",
        "kept = (turns - scaling.high_freq_factor)",
    ),
    "no mixed zone": (LLAMA, "kept = np.clip(kept, 0, 1)", "kept = (kept > 0.5).astype(float)"),
    "wavelengths mixed and not frequencies": (
        LLAMA,
        "frequencies * (kept + (1 - kept) / scaling.factor)",
        "frequencies / (kept + (1 - kept) * scaling.factor)",
    ),
    "radians for turns": (LLAMA, "frequencies / (2 * np.pi)", "frequencies"),
    "learned positions from 1": (GPT2, "self.positions[packed.positions]", "self.positions[packed.positions + 1]"),
    "positions that forget the past": (PACKED, "np.arange(past, past + n)", "np.arange(n)"),
    # what is added, multiplied and divided
    "granite's embedding multiplier left out": (
        LLAMA,
        "self.embedding[packed.tokens] * self.dtype.type(config.embedding_multiplier)",
        "self.embedding[packed.tokens]",
    ),
    "the residual multiplier only after attention": (LLAMA, "layer.down(silu(gate) * up) * added", "layer.down(silu(gate) * up)"),
    "the residual multiplier only after the MLP": (
        LLAMA,
        "layer.output(merge_heads(attended)) * added",
        "layer.output(merge_heads(attended))",
    ),
    "the residual multiplied, not what is added": (
        LLAMA,
        "x = x + layer.output(merge_heads(attended)) * added",
        "x = x * added + layer.output(merge_heads(attended))",
    ),
    "the embedding for a head that is not tied": (
        WEIGHTS,
        "return embedding if tied else head",
        "return embedding",
    ),
    "logits multiplied by their divisor": (LLAMA, "logits /=", "logits *="),
    "biases left out": (LLAMA, "y if self.bias is None else y + self.bias", "y"),
    "biases left out of gpt2": (GPT2, "weight(x) + bias", "weight(x)"),
    "no residual around attention": (GPT2, "x = x + affine(merge_heads(attended)", "x = affine(merge_heads(attended)"),
    "an MLP beside attention, not after it": (
        LLAMA,
        "* added\n            gate, up = halves(layer.gate_up(rms_norm(x,",
        "* added\n            gate, up = halves(layer.gate_up(rms_norm(x - layer.output(merge_heads(attended)) * added,",
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("frozen")
    return {case: write_frozen_folder(root / case, case) for case in CASES}


def install(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str) -> None:
    """The wrong module's functions and classes, wherever refspec holds the right one's."""
    right, wrong = vars(importlib.import_module(module)), vars(patched(module, (old, new)))
    defined = {name: value for name, value in right.items() if getattr(value, "__module__", None) == module}
    for holder in [found for name, found in sys.modules.items() if name.startswith("refspec.")]:
        for name, value in defined.items():
            if vars(holder).get(name) is value:
                monkeypatch.setattr(holder, name, wrong[name])


def furthest(folder: Path, expected: np.ndarray) -> float:
    """From the file's logits, after a prefill of 20 and one of 110, a decoded token, and nine at once."""
    network = refspec.load(folder, dtype=np.float64).network
    cache = network.new_cache()
    logits = [network.forward(np.array(TOKENS[cache.length :][:n]), cache, last=n) for n in (20, 110, 1, 9)]
    return float(np.abs(in_turn(np.concatenate(logits)) - expected).max())


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_formula_is_noticed(what: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *WRONG[what])
    expected = frozen_logits()
    assert any(furthest(folder, expected[case]) > NOTICED for case, folder in folders.items())


def test_the_right_formulas_pass(folders: dict[str, Path]) -> None:
    expected = frozen_logits()
    assert max(furthest(folder, expected[case]) for case, folder in folders.items()) < NOTICED
