"""Small tokenizers of the kinds that models come with, whose tokens join into text in different ways.

byte_level: as GPT-2, Llama 3 and Qwen. byte_fallback: as Llama 2, where a space is "▁", the first one of a text is dropped, and
a run of bytes that is no UTF-8 becomes a U+FFFD for each byte. metaspace: the same spaces by another decoder. words: whole words,
joined by spaces, and a comma that takes the space before it away.
"""

from pathlib import Path

from folders import write_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models

PIECES = ["▁", "▁▁", "▁is", "▁Paris", ".", ",", "a", "b", "▁a", "ab", "é", "▁é", "<", "0x41", "\ufffd"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(path: Path) -> Path:
    write_tokenizer(path, merges=[("a", "b"), ("ab", "a"), ("Ã", "©"), (".", "Ċ"), ("Ċ", "Ċ")])
    return path


def byte_fallback(path: Path) -> Path:
    fused = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return written(path, ["<s>", "</s>", *BYTES, *PIECES], decoders.Sequence(fused))


def metaspace(path: Path) -> Path:
    return written(path, ["<s>", "</s>", *BYTES, *PIECES], decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]))


def words(path: Path) -> Path:
    return written(path, ["<s>", "</s>", *PIECES, "##ly"], decoders.WordPiece())


def replaced(path: Path) -> Path:
    """Whose text may change far behind a token: nothing is final before the end."""
    return written(path, ["<s>", "</s>", *PIECES], decoders.Sequence([decoders.Fuse(), decoders.Replace("ab", "X")]))


KINDS = {each.__name__: each for each in (byte_level, byte_fallback, metaspace, words, replaced)}


def written(path: Path, vocabulary: list[str], decoder: decoders.Decoder) -> Path:
    library = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], byte_fallback=True))
    library.decoder = decoder
    library.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>")])
    library.add_tokens([AddedToken("<tool>", special=False)])
    path.mkdir(parents=True, exist_ok=True)
    library.save(str(path / "tokenizer.json"))
    return path
