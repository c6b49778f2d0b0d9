"""Ids, text and special tokens against transformers: tokenizers of each kind, and each pair of files."""

from pathlib import Path
from typing import Any

import pytest
from test_special_tokens import PAIRS, folder
from tokenizers_like import KINDS

from refspec.models.tokenizer import Tokenizer

pytestmark = pytest.mark.peers

TEXTS = (
    "",
    " ",
    "a",
    "abab is Paris. ab",
    "é\n\n..",
    "<s>a</s> <tool> b",
    "  ab  is",
    "\U0001f600 x",
    "ab<0x41>\ufffd",
    "a<im>b",
)


def theirs(path: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tokenizer(kind: str, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path)
    ours, peer = Tokenizer(path), theirs(path)
    for text in TEXTS:
        ids = peer(text).input_ids
        assert list(ours.encode(text)) == ids
        assert list(ours.encode(text, special=False)) == peer(text, add_special_tokens=False).input_ids
        assert ours.decode(ids) == peer.decode(ids, skip_special_tokens=True)
    assert ours.token_map == peer.get_vocab()


HELD = [pair for pair in PAIRS if pair[0] != "named with its flags"]  # which transformers refuses


@pytest.mark.parametrize("files", [pair[1] for pair in HELD], ids=[pair[0] for pair in HELD])
def test_each_pair_of_files(files: dict[str, Any], tmp_path: Path) -> None:
    ours, peer = Tokenizer(folder(tmp_path, **files)), theirs(tmp_path)
    for text in TEXTS:
        ids = peer(text).input_ids
        assert list(ours.encode(text)) == ids
        assert ours.decode(ids) == peer.decode(ids, skip_special_tokens=True)
    assert ours.token_map == peer.get_vocab()
    assert ours.names.get("eos_token") == peer.eos_token
    assert ours.special >= set(peer.all_special_tokens)
