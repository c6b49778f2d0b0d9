"""A text becomes training data: a fixed split, a byte-level BPE vocabulary, windows of tokens, and a floor to beat.

The split is nanoGPT's: the last tenth is held out. Vocabulary and trigram are made from the first nine tenths only.
"""

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from refspec.errors import BadArgument
from refspec.files import MIB, read_text

LARGEST = 512 * MIB  # bytes of a corpus, which takes many times that as tokens
END = "<|endoftext|>"
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """Token ids of both parts, each starting with the end token, and how many bytes the held-out part has."""

    train: Ids
    held_out: Ids
    held_out_bytes: int

    def bits_per_byte(self, nats_per_token: float) -> float:
        """Every held-out token but the leading end token is predicted once, and together they are the bytes."""
        return nats_per_token * (len(self.held_out) - 1) / self.held_out_bytes / math.log(2)

    def must_hold(self, length: int) -> None:
        """Raise unless there are windows of this length to predict. Training cuts at a random offset, so it needs two."""
        have, need = (len(self.train) - 1, len(self.held_out) - 1), (2 * length, length)
        if have[0] < need[0] or have[1] < need[1]:
            raise BadArgument(
                f"the corpus has {have[0]} training and {have[1]} held-out tokens; windows of {length} need {need[0]} and "
                f"{need[1]}: give a longer text, or ask for shorter windows"
            )


def read_split(path: Path) -> tuple[str, str]:
    """The first nine tenths of the characters, and the last."""
    text = read_text(path, LARGEST, BadArgument)
    if not text:
        raise BadArgument(f"the corpus {path} is empty; give a text")
    cut = int(len(text) * 0.9)
    return text[:cut], text[cut:]


def train_tokenizer(text: str, vocab: int) -> Tokenizer:
    """Byte-level BPE: all 256 bytes are tokens, so any UTF-8 text survives the round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, special_tokens=[END], show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def encode(split: tuple[str, str], tokenizer: Tokenizer) -> Corpus:
    end = tokenizer.token_to_id(END)
    # `or 0`: a vocabulary without that end token still needs something to precede the first token
    ids = [np.array([end or 0, *tokenizer.encode(part).ids], dtype=np.int64) for part in split]
    return Corpus(ids[0], ids[1], len(split[1].encode()))


def training_batch(ids: Ids, step: int, *, batch: int, context: int, seed: int) -> Ids:
    """[batch, context + 1] for one step: a function of (seed, step) alone, so a resumed run needs no data state.

    Each epoch cuts the text at a new random offset and visits the windows in a new order, every window once.
    """
    windows = (len(ids) - 1 - context) // context
    starts = []
    for index in range(step * batch, (step + 1) * batch):
        order, offset = _epoch(windows, context, seed, index // windows)
        starts.append(offset + context * int(order[index % windows]))
    return np.stack([ids[start : start + context + 1] for start in starts])


@lru_cache(maxsize=2)
def _epoch(windows: int, context: int, seed: int, epoch: int) -> tuple[Ids, int]:
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(windows), int(rng.integers(context))


def trigram_loss(train: Ids, held_out: Ids, *, discount: float = 0.75) -> float:
    """Held-out nats a token of an interpolated trigram with absolute discounting (Ney, Essen and Kneser, 1994).

    Each order gives up `discount` a distinct continuation, and spreads it by the order below; below the unigram
    is the uniform law. Good enough to be the floor that a neural model must beat.
    """
    vocab = int(max(train.max(), held_out.max())) + 1
    sequence, total = held_out.tolist(), 0.0
    counts: list[Counter[tuple[int, ...]]] = [_ngrams(train, order) for order in (1, 2, 3)]
    seen: list[Counter[tuple[int, ...]]] = []  # by context: how often it occurred, and with how many continuations
    kinds: list[Counter[tuple[int, ...]]] = []
    for table in counts:
        seen.append(Counter())
        kinds.append(Counter())
        for gram, count in table.items():
            seen[-1][gram[:-1]] += count
            kinds[-1][gram[:-1]] += 1
    for position in range(1, len(sequence)):
        probability = 1 / vocab
        for order in range(min(3, position + 1)):
            context, gram = tuple(sequence[position - order : position]), tuple(sequence[position - order : position + 1])
            if context in seen[order]:
                kept = max(counts[order][gram] - discount, 0.0)
                probability = (kept + discount * kinds[order][context] * probability) / seen[order][context]
        total -= math.log(probability)
    return total / (len(sequence) - 1)


def _ngrams(ids: Ids, order: int) -> Counter[tuple[int, ...]]:
    sequence = ids.tolist()
    return Counter(zip(*(sequence[start:] for start in range(order)), strict=False))
