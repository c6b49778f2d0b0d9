"""`tokenizer.json` and `tokenizer_config.json` rebuilt from the metadata of a GGUF file.

GGUF keeps the vocabulary, the merges and a type for each token, and names the way text is cut before merging. The one
way known here is `smollm`: every digit stands alone, then GPT-2's byte-level split. The digits must be cut first: in
"a  1" the two spaces are then one word; GPT-2's pattern alone would tie the second one to the digit.
"""

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from refspec.errors import BadTokenizer

CONTROL, USER_DEFINED = 3, 4  # token types, as llama.cpp numbers them


def tokenizer_files(metadata: dict[str, Any]) -> dict[str, Any]:
    """File name -> content (text, or something for JSON)."""
    kind = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise BadTokenizer(f"the GGUF file has a tokenizer of kind {kind}; only ('gpt2', 'smollm') can be converted")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    return {
        "tokenizer.json": byte_level_bpe(tokens, metadata["tokenizer.ggml.merges"], metadata["tokenizer.ggml.token_type"]).to_str(
            pretty=True
        ),
        "tokenizer_config.json": _tokenizer_config(metadata, tokens),
    }


def byte_level_bpe(tokens: list[str], merges: list[str], types: list[int]) -> Tokenizer:
    """The tokenizer itself. Control tokens are special; user-defined ones are matched whole but are ordinary text."""
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, types, strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])
    return tokenizer


def _tokenizer_config(metadata: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # not GPT2Tokenizer: that one would put its own split in place
        "add_bos_token": metadata.get("tokenizer.ggml.add_bos_token", False),
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"],
    }
    for ours, theirs in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items():
        index = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        if index is not None:
            config[f"{ours}_token"] = tokens[index]
    if template := metadata.get("tokenizer.chat_template"):
        config["chat_template"] = template
    return config
